"""The asynchronous client: as `MeshClient`, awaited."""

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from mesh import _operations
from mesh._async_plan import adrive
from mesh._certificates import Verify
from mesh._chat.async_helpers import AsyncHelpers
from mesh._operations import KeyArguments
from mesh._plan import Plan
from mesh._transport import AsyncHTTPTransport, AsyncTransport
from mesh.errors import MeshError
from mesh.keys.history import AsyncHistoryMethods
from mesh.keys.methods import AsyncProofMethods
from mesh.results import DeletedKey, Result, StoredKey

T = TypeVar("T")
R = TypeVar("R", bound=Result)


class AsyncMeshClient(AsyncHelpers, AsyncProofMethods, AsyncHistoryMethods):
    """Talks to a Mesh server from asynchronous code.

    Methods whose result is a mapping report failure in it: `success`, `error`, `troubleshooting`, `code`. Methods with
    a plain result, and the iteration of a stream, raise a `MeshError`.

    Args:
        server_url: the server; default: MESH_API_URL, then the profile that `mesh-server dev` or a login left.
        auth_token: a token; default: MESH_AUTH_TOKEN, then the login stored for the server, then the profile's token.
        profile: a name in the profile file; default: MESH_PROFILE, then the file's own default.
        timeout: seconds for each call, over all tries; default: MESH_TIMEOUT, then 600 for a chat and 60 for the rest.
        max_retries: further tries of a call that surely was not executed; default: MESH_MAX_RETRIES, then 2.
        raise_on_error: raise every failure instead of returning it.
        original_response: return the provider's own body from `chat`, unchanged.
        debug: log calls, without their content, to stderr; default: DEBUG.
        allow_insecure: accept http:// to other machines than this one.
        client_id, client_secret, audience, auth0_domain: how to log in, in place of what the server says; default:
            AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET, AUTH0_AUDIENCE, AUTH0_DOMAIN.
        auto_refresh: renew a stored login before it ends, and once when the server refuses it; default: AUTO_REFRESH,
            then true. A token that was given is never renewed.
        strict_models: fail where a model is retired, rather than let its successor answer.
        cache: keep the values that `get_key` reads, encrypted, on this machine for at most seven days; where the server
            can't be reached, `get_key` returns such a value as `StaleText` or `StaleBytes`, and a warning is logged.
        verify: a PEM file with certificates to trust beside the system's; False, with `allow_insecure`, checks none.
        transport: what sends requests; for tests and for other HTTP libraries.

    Raises:
        TypeError, ValueError: if an argument is wrong. What is wrong with the surroundings is told by the calls.
    """

    def __init__(
        self,
        server_url: str | None = None,
        auth_token: str | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        raise_on_error: bool = False,
        original_response: bool = False,
        debug: bool | None = None,
        allow_insecure: bool = False,
        client_id: str | None = None,
        client_secret: str | None = None,
        audience: str | None = None,
        auth0_domain: str | None = None,
        auto_refresh: bool | None = None,
        strict_models: bool = False,
        cache: bool = False,
        verify: Verify = True,
        transport: AsyncTransport | None = None,
    ) -> None:
        if verify is False and not allow_insecure:
            raise ValueError("verify=False sends your login to whoever answers: it needs allow_insecure=True")
        super().__init__(
            server_url,
            auth_token,
            profile=profile,
            timeout=timeout,
            max_retries=max_retries,
            raise_on_error=raise_on_error,
            original_response=original_response,
            debug=debug,
            allow_insecure=allow_insecure,
            strict_models=strict_models,
            cache=cache,
            client_id=client_id,
            client_secret=client_secret,
            audience=audience,
            auth0_domain=auth0_domain,
            auto_refresh=auto_refresh,
        )
        self._transport: AsyncTransport = transport if transport is not None else AsyncHTTPTransport(verify)

    async def store_key(
        self,
        key_name: str,
        key_value: str | bytes,
        user_id: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        note: str | None = None,
        expires_at: datetime | None = None,
        if_rev: int | None = None,
        if_absent: bool = False,
        provable: bool = False,
        owner: str | None = None,
    ) -> StoredKey:
        """Store a value under a name, as a new version where the name is there.

        Args:
            key_name: 1 to 256 bytes of UTF-8.
            key_value: up to 64 KiB, text or bytes.
            user_id: a namespace inside your own account.
            tags: to find it by; None leaves those of the key.
            note: for people; None leaves that of the key.
            expires_at: when it stops to be; with a time zone.
            if_rev: only if the key is at this `rev`.
            if_absent: only if there is no such key.
            provable: enrol the value, too, so that `verify_key` can check it. Should that fail after the value was
                stored, the result is the failure, and its `details` say so: `stored`, `version` and `rev`.
            owner: the account that shares the key with you.

        Returns:
            What is known of the key then, or the failure.

        Raises:
            TypeError, ValueError: if the call is wrong; never with the value in the message.
        """
        arguments = KeyArguments(user_id, tags, note, expires_at, if_rev, if_absent, owner)
        if provable:
            if owner is not None:
                raise ValueError("only a key of your own can be provable: owner and provable exclude each other")
            from mesh.keys import zkp  # noqa: PLC0415 - only a proof needs its arithmetic

            plan = zkp.store_provable(self._found, self._account, key_name, key_value, arguments, self._cache)
            return await self._report(plan, StoredKey)
        plan = _operations.store_key(self._found, key_name, key_value, arguments, cache=self._cache)
        return await self._report(plan, StoredKey)

    async def get_key(
        self, key_name: str, user_id: str | None = None, *, owner: str | None = None, version: int | None = None
    ) -> str | bytes | None:
        """Return the value of a key: text or bytes, as it was stored; None where there is no such key.

        Args:
            key_name: of the key.
            user_id: a namespace inside the account that holds it.
            owner: the account that shares the key with you.
            version: an earlier one; default: the current one.

        Raises:
            MeshError: if anything else stands in the way.
        """
        plan = _operations.get_key(self._found, key_name, user_id, owner=owner, version=version, cache=self._cache)
        return await self._run(plan)

    async def list_keys(
        self,
        user_id: str | None = None,
        *,
        prefix: str | None = None,
        tag: tuple[str, str] | None = None,
        owner: str | None = None,
    ) -> list[str]:
        """Return the names of your keys, in their order.

        Args:
            user_id: a namespace inside your own account.
            prefix: only names that begin with it, literally.
            tag: only keys with this tag and value.
            owner: the account that shares keys with you; those are listed then.

        Raises:
            MeshError: if anything stands in the way.
        """
        return await self._run(_operations.list_keys(self._found, user_id, prefix, tag, owner))

    async def delete_key(self, key_name: str, user_id: str | None = None, *, owner: str | None = None) -> DeletedKey:
        """Delete a key; `restore_key` brings it back until the result's `restorable_until`."""
        plan = _operations.delete_key(self._found, key_name, user_id, owner=owner, cache=self._cache)
        return await self._report(plan, DeletedKey)

    async def restore_key(self, key_name: str, user_id: str | None = None, *, owner: str | None = None) -> StoredKey:
        """Take a deletion back."""
        return await self._report(_operations.restore_key(self._found, key_name, user_id, owner=owner), StoredKey)

    async def close(self) -> None:
        """Close the connections; closing twice is fine."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def _report(self, plan: Plan[T], kind: type[R]) -> T | R:
        """Follow a plan; a failure is the result, unless the client was told to raise."""
        try:
            return await self._run(plan)
        except MeshError as problem:
            if self._raise_on_error:
                raise
            return kind.failed(problem)

    async def _run(self, plan: Plan[T]) -> T:
        """Do what the plan asks for until it has its result."""
        return await adrive(plan, self._transport)
