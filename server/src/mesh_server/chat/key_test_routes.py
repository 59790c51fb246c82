"""HTTP endpoint that asks a provider whether a stored key works."""

from typing import Literal

import msgspec

from mesh_server.asgi import Endpoint, Request, Send, send_json
from mesh_server.chat.key_tests import KeyTests
from mesh_server.vault import shapes

Verdict = Literal["works", "refused", "unknown"]


class KeyTest(msgspec.Struct):
    """What a provider says of a key: `unknown` where it answers without a key, too."""

    name: str
    provider: str
    result: Verdict
    message: str
    models: int
    success: bool = True


class AskOfKey(msgspec.Struct, forbid_unknown_fields=True):
    """Which provider to ask; by default the one whose keys have this name."""

    provider: str | None = None


_test_key = msgspec.json.Decoder(AskOfKey)


def endpoints(key_tests: KeyTests) -> list[Endpoint]:
    """Return what this serves."""

    async def test(request: Request, send: Send) -> None:
        """Ask the provider about a key."""
        query = request.parameters("owner")
        body = await request.json(_test_key)
        found = await key_tests.test(
            request.principal,
            request.path_params["name"],
            provider=body.provider,
            owner=shapes.account_id(query.get("owner"), "owner"),
        )
        await send_json(send, KeyTest(found.name, found.provider, found.result, found.message, found.models))

    return [
        Endpoint(
            method="POST",
            path="/api/v1/keys/{name}/test",
            handler=test,
            summary="Ask the provider whether a stored key works",
            access="chat",
            body=AskOfKey,
            answer=KeyTest,
            parameters=(shapes.OWNER,),
            errors=(
                *("key_not_found", "grant_insufficient", "provider_not_found", "provider_rejected", "model_not_found"),
                *("provider_rate_limited", "provider_quota_exceeded", "provider_failed", "provider_unavailable"),
                *("provider_timeout", "server_overloaded", "vault_damaged", "storage_read_only"),
            ),
        )
    ]
