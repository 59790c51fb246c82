"""Keys as the published clients store and read them."""

from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.models import Principal
from mesh_server.asgi import Endpoint, Parameter, Request, Send, send_json
from mesh_server.errors import InvalidRequest, KeyNotFound
from mesh_server.vault.models import NewValue
from mesh_server.vault.service import Vault

_NO_STORE = (b"cache-control", b"no-store")
_USER_ID = Parameter(
    name="userId", description="A namespace inside your own account; its own id, or nothing, means none."
)
_KEY_NAME = Parameter(name="keyName", description="The key's name; one `<userId>_` before it is taken off.")


class StoreOldKey(Quiet, msgspec.Struct, rename="camel"):
    """A key to store. Members that are not named here are not looked at; an object as value is kept as its JSON."""

    key_name: str
    key_value: str | dict[str, Any]
    user_id: str | None = None


class OldKeyStored(msgspec.Struct, rename="camel"):
    """That it is kept, under its bare name."""

    key_name: str
    version: int
    success: bool = True


class OldKey(Quiet, msgspec.Struct, rename="camel"):
    """A key with its value."""

    key_name: str
    key_value: str
    success: bool = True


class OldKeyNames(msgspec.Struct):
    """The bare names of keys."""

    keys: list[str]
    success: bool = True


_store = msgspec.json.Decoder(StoreOldKey)


class LegacyKeys:
    """Handlers of the endpoints."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def store(self, request: Request, send: Send) -> None:
        """Store a value as the newest version of a key."""
        body = await request.json(_store)
        namespace, name = place_of(request.principal, body.user_id, body.key_name)
        text = body.key_value if isinstance(body.key_value, str) else msgspec.json.encode(body.key_value).decode()
        new = NewValue(value=text.encode(), is_text=True)
        record = await self._vault.put(request.principal, name, new, namespace=namespace)
        await send_json(send, OldKeyStored(record.name, record.version), headers=[_NO_STORE])

    async def read(self, request: Request, send: Send) -> None:
        """Answer a key with its value."""
        query = request.query()
        if "keyName" not in query:
            raise InvalidRequest("The parameter `keyName` is missing.")
        namespace, name = place_of(request.principal, query.get("userId"), query["keyName"])
        opened = await self._vault.get(request.principal, name, namespace=namespace)
        if not opened.is_text:
            raise KeyNotFound(
                f"The key {name!r} is no text, and these endpoints know no other.",
                advice=("Read it with GET /api/v1/keys/{name}.",),
            )
        await send_json(send, OldKey(name, opened.value.decode()), headers=[_NO_STORE])

    async def names(self, request: Request, send: Send) -> None:
        """Answer the names of all keys."""
        namespace = namespace_of(request.principal, request.query().get("userId"))
        names: list[str] = []
        cursor: str | None = None
        while True:
            records, cursor = await self._vault.list_keys(request.principal, namespace=namespace, cursor=cursor)
            names += [record.name for record in records]
            if cursor is None:
                break
        await send_json(send, OldKeyNames(names), headers=[_NO_STORE])

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        return [endpoint for prefix in ("/api/v1", "/v1/mesh") for endpoint in self._under(prefix)]

    def _under(self, prefix: str) -> list[Endpoint]:
        return [
            Endpoint(
                method="POST",
                path=f"{prefix}/storeKey",
                handler=self.store,
                summary="Store a key (published clients)",
                access="keys:write",
                body=StoreOldKey,
                answer=OldKeyStored,
                errors=("key_too_large", "vault_damaged", "storage_read_only"),
                deprecated=True,
            ),
            Endpoint(
                method="GET",
                path=f"{prefix}/getKey",
                handler=self.read,
                summary="Read a key with its value (published clients)",
                access="keys:read",
                answer=OldKey,
                parameters=(_USER_ID, _KEY_NAME),
                errors=("key_not_found", "vault_damaged", "storage_read_only"),
                deprecated=True,
            ),
            Endpoint(
                method="GET",
                path=f"{prefix}/listKeys",
                handler=self.names,
                summary="List the names of keys (published clients)",
                access="keys:read",
                answer=OldKeyNames,
                parameters=(_USER_ID,),
                errors=("vault_damaged",),
                deprecated=True,
            ),
        ]


def namespace_of(principal: Principal, user_id: str | None) -> str:
    """Return the namespace that a user's id means: it never leaves the caller's own account."""
    return "" if user_id in {None, "", principal.account_id} else str(user_id)


def place_of(principal: Principal, user_id: str | None, key_name: str) -> tuple[str, str]:
    """Return namespace and bare name of a key: one `<userId>_` before it is the client's own doing."""
    prefix = f"{user_id}_" if user_id else ""
    return namespace_of(principal, user_id), key_name.removeprefix(prefix)
