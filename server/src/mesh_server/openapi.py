"""The OpenAPI document, made from the same table of endpoints that serves the requests."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from mesh_protocol.codes import CODES
from mesh_server import __version__
from mesh_server.asgi import PUBLIC, Endpoint

_PARAMETER = re.compile(r"{(\w+)}")
_EVERYWHERE = ("invalid_request", "host_not_allowed", "internal_error")
_WITH_BODY = ("invalid_json", "body_too_large")
_WITH_TOKEN = (
    "token_missing",
    "token_invalid",
    "token_expired",
    "token_revoked",
    "token_malformed",
    "token_opaque",
    "token_algorithm",
    "token_signature",
    "token_wrong_issuer",
    "token_wrong_audience",
    "token_is_id_token",
    "token_not_yet_valid",
    "scope_missing",
    "issuer_unavailable",
    "account_not_found",
)


#: Before OpenAPI 3.2, which has `itemSchema`, the schema of an event stream is that of one event.
_STREAM_EVENT = {
    "description": "One server-sent event: each surface's documentation says what is in its data.",
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}


class ErrorContent(msgspec.Struct):
    """What went wrong."""

    code: str
    message: str
    type: str
    troubleshooting: list[str]
    details: dict[str, Any] | None = None


class ErrorAnswer(msgspec.Struct):
    """The body of every error of Mesh's own surface."""

    success: bool
    error: ErrorContent
    request_id: str


def document(endpoints: Sequence[Endpoint], *, server_url: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the endpoints."""
    endpoints = [endpoint for endpoint in endpoints if endpoint.listed]
    used = [found for one in endpoints for found in (one.body, one.answer, one.error_answer)]
    types = [found for found in used if found is not None]
    schemas, components = msgspec.json.schema_components(
        [*types, ErrorAnswer], ref_template="#/components/schemas/{name}"
    )
    known = dict(zip(map(id, types), schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mesh",
            "version": __version__,
            "summary": "One login for every AI model: vault, proofs and gateway.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server_url}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A login's access token, or an API token, `mesh_…`.",
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(endpoint: Endpoint, known: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "parameters": _parameters(endpoint),
        "responses": {str(endpoint.status): _answer(endpoint, known), **_errors(endpoint, known)},
        "security": [] if endpoint.access == PUBLIC else [{"bearer": []}, {"apiKey": []}],
    }
    if endpoint.deprecated:
        operation["deprecated"] = True
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": known[id(endpoint.body)]}},
        }
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.sub(r"\W+", "_", endpoint.path).strip("_")
    return f"{endpoint.method.lower()}_{words}"


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    found += [
        {
            "name": parameter.name,
            "in": parameter.location,
            "required": False,
            "description": parameter.description,
            "schema": msgspec.json.schema(parameter.schema),
        }
        for parameter in endpoint.parameters
    ]
    if endpoint.access != PUBLIC:
        found.append(
            {
                "name": "Mesh-Act-As",
                "in": "header",
                "required": False,
                "description": "The account to act for; asks for the scope `act-as`.",
                "schema": {"type": "string"},
            }
        )
    return found


def _answer(endpoint: Endpoint, known: dict[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.answer is not None:
        answer["content"] = {endpoint.content_type: {"schema": known[id(endpoint.answer)]}}
    if endpoint.streams:
        answer.setdefault("content", {})["text/event-stream"] = {"schema": _STREAM_EVENT}
    return answer


def _errors(endpoint: Endpoint, known: dict[int, Any]) -> dict[str, Any]:
    if endpoint.error_answer is not None:
        # A surface of another's making has its own statuses; what they mean is in its maker's documents.
        content = {"application/json": {"schema": known[id(endpoint.error_answer)]}}
        return {"default": {"description": "An error in this surface's own format", "content": content}}
    codes: Iterable[str] = (
        *endpoint.errors,
        *_EVERYWHERE,
        *(_WITH_BODY if endpoint.body is not None else ()),
        *(_WITH_TOKEN if endpoint.access != PUBLIC else ()),
    )
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        status = CODES[code].status or 500
        by_status.setdefault(endpoint.moved.get(status, status), []).append(code)
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in sorted(names)),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
        }
        for status, names in sorted(by_status.items())
    }
