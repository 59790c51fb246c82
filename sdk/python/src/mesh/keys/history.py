"""The clients' methods for versions, sharing and tests of keys; what they do is in `mesh._operations`."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from mesh import _operations, _requests
from mesh._base import BaseClient
from mesh._plan import Plan
from mesh.results import Grant, KeyInfo, KeyTest, KeyVersion, Result, StoredKey

T = TypeVar("T")
R = TypeVar("R", bound=Result)


class HistoryMethods(BaseClient):
    """Those of `MeshClient`."""

    if TYPE_CHECKING:

        def _report(self, plan: Plan[T], kind: type[R]) -> T | R: ...

        def _run(self, plan: Plan[T]) -> T: ...

    def find_keys(
        self,
        user_id: str | None = None,
        *,
        prefix: str | None = None,
        tag: tuple[str, str] | None = None,
        owner: str | None = None,
    ) -> list[KeyInfo]:
        """Return what is known of your keys, in the order of their names; never a value.

        Args:
            user_id: a namespace inside your own account.
            prefix: only names that begin with it, literally.
            tag: only keys with this tag and value.
            owner: the account that shares keys with you; those are listed then.

        Raises:
            MeshError: if anything stands in the way.
        """
        return self._run(_operations.find_keys(self._found, user_id, prefix, tag, owner))

    def key_versions(self, key_name: str, user_id: str | None = None, *, owner: str | None = None) -> list[KeyVersion]:
        """Return a key's versions, without values.

        Raises:
            NotFoundError: if there is no such key.
            MeshError: if anything else stands in the way.
        """
        return self._run(_operations.key_versions(self._found, key_name, user_id, owner))

    def rollback_key(
        self, key_name: str, version: int, user_id: str | None = None, *, owner: str | None = None
    ) -> StoredKey:
        """Store the value of an earlier version as the newest one; expiry, tags and note stay.

        Returns:
            What is known of the key then, or the failure.
        """
        plan = _operations.rollback_key(self._found, key_name, version, user_id, owner=owner, cache=self._cache)
        return self._report(plan, StoredKey)

    def test_key(self, key_name: str, *, provider: str | None = None, owner: str | None = None) -> KeyTest:
        """Let the server ask a provider whether it takes a stored key. That costs nothing and reveals nothing.

        Args:
            key_name: of the key.
            provider: who is asked; default: the one whose keys have this name.
            owner: the account that shares the key with you for chat.

        Returns:
            `result`: `works`, `refused` or `unknown`; or the failure.
        """
        return self._report(_operations.test_key(self._found, key_name, provider, owner), KeyTest)

    def share_keys(
        self,
        pattern: str,
        grantee: str,
        actions: Sequence[str],
        *,
        user_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> Grant:
        """Let an account, or an API token, do something with keys of yours.

        Args:
            pattern: a name, or the beginning of names and `*`.
            grantee: the id of an account or of a token, in your tenant.
            actions: of `read`, `write`, `verify`, and `chat`: use for calls to a provider without reading.
            user_id: a namespace inside your own account.
            expires_at: when it ends by itself; with a time zone.

        Returns:
            The grant, or the failure.
        """
        request = _requests.share(pattern, grantee, actions, user_id=user_id, expires_at=expires_at)
        return self._report(_operations.share_keys(self._found, request), Grant)

    def unshare_keys(self, grant_id: str) -> Result:
        """Take a grant back, at once."""
        return self._report(_operations.unshare_keys(self._found, grant_id), Result)

    def list_grants(self, direction: str = "given") -> list[Grant]:
        """Return what you share (`given`), or what is shared with you (`received`), the oldest first.

        Raises:
            MeshError: if anything stands in the way.
        """
        return self._run(_operations.list_grants(self._found, direction))


class AsyncHistoryMethods(BaseClient):
    """Those of `AsyncMeshClient`."""

    if TYPE_CHECKING:

        async def _report(self, plan: Plan[T], kind: type[R]) -> T | R: ...

        async def _run(self, plan: Plan[T]) -> T: ...

    async def find_keys(
        self,
        user_id: str | None = None,
        *,
        prefix: str | None = None,
        tag: tuple[str, str] | None = None,
        owner: str | None = None,
    ) -> list[KeyInfo]:
        """Return what is known of your keys, in the order of their names; never a value.

        Args:
            user_id: a namespace inside your own account.
            prefix: only names that begin with it, literally.
            tag: only keys with this tag and value.
            owner: the account that shares keys with you; those are listed then.

        Raises:
            MeshError: if anything stands in the way.
        """
        return await self._run(_operations.find_keys(self._found, user_id, prefix, tag, owner))

    async def key_versions(
        self, key_name: str, user_id: str | None = None, *, owner: str | None = None
    ) -> list[KeyVersion]:
        """Return a key's versions, without values.

        Raises:
            NotFoundError: if there is no such key.
            MeshError: if anything else stands in the way.
        """
        return await self._run(_operations.key_versions(self._found, key_name, user_id, owner))

    async def rollback_key(
        self, key_name: str, version: int, user_id: str | None = None, *, owner: str | None = None
    ) -> StoredKey:
        """Store the value of an earlier version as the newest one; expiry, tags and note stay.

        Returns:
            What is known of the key then, or the failure.
        """
        plan = _operations.rollback_key(self._found, key_name, version, user_id, owner=owner, cache=self._cache)
        return await self._report(plan, StoredKey)

    async def test_key(self, key_name: str, *, provider: str | None = None, owner: str | None = None) -> KeyTest:
        """Let the server ask a provider whether it takes a stored key. That costs nothing and reveals nothing.

        Args:
            key_name: of the key.
            provider: who is asked; default: the one whose keys have this name.
            owner: the account that shares the key with you for chat.

        Returns:
            `result`: `works`, `refused` or `unknown`; or the failure.
        """
        return await self._report(_operations.test_key(self._found, key_name, provider, owner), KeyTest)

    async def share_keys(
        self,
        pattern: str,
        grantee: str,
        actions: Sequence[str],
        *,
        user_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> Grant:
        """Let an account, or an API token, do something with keys of yours.

        Args:
            pattern: a name, or the beginning of names and `*`.
            grantee: the id of an account or of a token, in your tenant.
            actions: of `read`, `write`, `verify`, and `chat`: use for calls to a provider without reading.
            user_id: a namespace inside your own account.
            expires_at: when it ends by itself; with a time zone.

        Returns:
            The grant, or the failure.
        """
        request = _requests.share(pattern, grantee, actions, user_id=user_id, expires_at=expires_at)
        return await self._report(_operations.share_keys(self._found, request), Grant)

    async def unshare_keys(self, grant_id: str) -> Result:
        """Take a grant back, at once."""
        return await self._report(_operations.unshare_keys(self._found, grant_id), Result)

    async def list_grants(self, direction: str = "given") -> list[Grant]:
        """Return what you share (`given`), or what is shared with you (`received`), the oldest first.

        Raises:
            MeshError: if anything stands in the way.
        """
        return await self._run(_operations.list_grants(self._found, direction))
