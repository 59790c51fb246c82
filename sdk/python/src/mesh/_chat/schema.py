"""JSON Schemas of Python types, and values of those types from JSON; pydantic is used where the caller did."""

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type; what it refers to is in its own `$defs`.

    Args:
        kind: whatever msgspec knows, or a pydantic model, or a type made of them.

    Raises:
        TypeError: if JSON has no words for it.
    """
    if _is_pydantic(kind):
        return _hoisted(kind.model_json_schema(), {})
    (schema,), parts = msgspec.json.schema_components([kind], schema_hook=_schema_hook, ref_template="#/$defs/{name}")
    definitions: dict[str, Any] = dict(parts)
    return _hoisted(schema, definitions)


def convert(kind: type[T], content: bytes | str, *, strict: bool = True) -> T:
    """Return the value that JSON means.

    Args:
        kind: of the value.
        content: JSON.
        strict: refuse "5" where a number is meant.

    Raises:
        ValueError: saying what does not fit, and where.
    """
    if _is_pydantic(kind):
        made: T = kind.model_validate_json(content)  # type: ignore[attr-defined]
        return made
    try:
        return msgspec.json.decode(content, type=kind, strict=strict, dec_hook=_decode_hook)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def encode(value: Any) -> str:
    """Return a value as JSON.

    Raises:
        TypeError: if JSON has no word for it.
    """
    return msgspec.json.encode(value, enc_hook=_encode_hook).decode()


def strict(schema: dict[str, Any]) -> bool:
    """Make every object of a schema closed and complete, as strict structured output wants it.

    Returns:
        Whether that can be said of it: an object with arbitrary names is never closed.
    """
    good = True
    if "$ref" in schema:  # strict schemas have nothing beside a reference
        for name in schema.keys() - {"$ref", "$defs"}:
            del schema[name]
    if schema.get("type") == "object":
        properties = schema.get("properties")
        if properties is None:
            return False
        schema["additionalProperties"] = False
        schema["required"] = list(properties)
    schema.pop("default", None)
    for name, part in schema.items():
        if name in {"properties", "$defs"}:
            good = min([strict(inner) for inner in part.values()], default=True) and good
        elif name in {"items", "not"} and isinstance(part, dict):
            good = strict(part) and good
        elif name in {"anyOf", "oneOf", "allOf", "prefixItems"}:
            good = min([strict(inner) for inner in part], default=True) and good
    return good


def _is_pydantic(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def _schema_hook(kind: type) -> dict[str, Any]:
    if _is_pydantic(kind):
        schema: dict[str, Any] = kind.model_json_schema()  # type: ignore[attr-defined]
        return schema
    raise TypeError(f"{kind.__name__} has no JSON Schema")


def _decode_hook(kind: type, value: Any) -> Any:
    if _is_pydantic(kind):
        return kind.model_validate(value)  # type: ignore[attr-defined]
    return value


def _encode_hook(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def _hoisted(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose definitions stand at its root, which is not one of them unless it is recursive."""
    collected: dict[str, Any] = {}

    def lift(part: Any) -> Any:
        if isinstance(part, list):
            return [lift(inner) for inner in part]
        if not isinstance(part, dict):
            return part
        for name, inner in part.get("$defs", {}).items():
            collected[name] = lift(inner)
        return {name: lift(inner) for name, inner in part.items() if name != "$defs"}

    for name, part in definitions.items():
        collected[name] = lift(part)
    root: dict[str, Any] = lift(schema)
    reference = root.get("$ref", "")
    if reference.startswith("#/$defs/"):
        name = reference.removeprefix("#/$defs/")
        root = dict(collected[name])
        if not _refers(root, reference) and not any(
            _refers(part, reference) for other, part in collected.items() if other != name
        ):
            del collected[name]
    if collected:
        root["$defs"] = collected
    return root


def _refers(part: Any, reference: str) -> bool:
    if isinstance(part, dict):
        return part.get("$ref") == reference or any(_refers(inner, reference) for inner in part.values())
    return isinstance(part, list) and any(_refers(inner, reference) for inner in part)
