"""The clients' methods for proofs; what they do is in `mesh.keys.zkp`, which loads the arithmetic when it is needed."""

from typing import TYPE_CHECKING, Any, TypeVar

from mesh import _operations
from mesh._base import BaseClient
from mesh._plan import Plan
from mesh.results import EnrolledKey, Result, VerifiedKey

if TYPE_CHECKING:
    from mesh.keys.zkp import Ksf

T = TypeVar("T")
R = TypeVar("R", bound=Result)


class ProofMethods(BaseClient):
    """Those of `MeshClient`."""

    if TYPE_CHECKING:

        def _report(self, plan: Plan[T], kind: type[R]) -> T | R: ...

        def _run(self, plan: Plan[T]) -> T: ...

    def store_key_zkp(
        self,
        *positional: Any,
        user_id: str | None = None,
        key_name: str | None = None,
        key_value: str | bytes | None = None,
        ksf: "Ksf | None" = None,
        high_entropy: bool = False,
        overwrite: bool = False,
    ) -> EnrolledKey:
        """Enrol a value, so that `verify_key` can tell whether somebody has it. The value itself is not stored.

        Args:
            *positional: `(key_name, key_value)` or `(user_id, key_name, key_value)`, instead of those keywords: the two
                ways can't be mixed, since a secret could land in the wrong place.
            user_id: a namespace inside your own account.
            key_name: 1 to 256 bytes of UTF-8.
            key_value: text or bytes, exactly as it will be verified.
            ksf: what a guess at the value costs; default: Argon2id with 64 MiB, 3 passes, 4 lanes.
            high_entropy: the value has at least 128 random bits, so that nobody can guess it: no stretching is needed.
            overwrite: replace what is enrolled under this name.

        Returns:
            What is known of the record then, or the failure.

        Raises:
            TypeError, ValueError: if the call is wrong; never with the value in the message.
        """
        from mesh.keys import zkp  # noqa: PLC0415 - only a proof needs its arithmetic

        call = zkp.value_call(positional, user_id, key_name, key_value)
        chosen = zkp.chosen_ksf(ksf, high_entropy=high_entropy)
        plan = zkp.store(self._found, self._account, call, chosen, overwrite=overwrite)
        return self._report(plan, EnrolledKey)

    def verify_key(
        self,
        *positional: Any,
        user_id: str | None = None,
        key_name: str | None = None,
        key_value: str | bytes | None = None,
    ) -> VerifiedKey:
        """Prove that you have the value which is enrolled under a name, without revealing it.

        Of a wrong value nothing is sent but a blinded question that looks the same for every value.

        Args:
            *positional: `(key_name, key_value)` or `(user_id, key_name, key_value)`, instead of those keywords.
            user_id: a namespace inside your own account.
            key_name: of the enrolled value.
            key_value: text or bytes.

        Returns:
            `verified`; of a wrong value, or where nothing is enrolled, `success=True, verified=False`. Or the failure.

        Raises:
            TypeError, ValueError: if the call is wrong; never with the value in the message.
        """
        from mesh.keys import zkp  # noqa: PLC0415 - only a proof needs its arithmetic

        call = zkp.value_call(positional, user_id, key_name, key_value)
        return self._report(zkp.verify(self._found, self._account, call), VerifiedKey)

    def list_provable_keys(self, user_id: str | None = None) -> list[str]:
        """Return the names that `verify_key` can check, in their order.

        Args:
            user_id: a namespace inside your own account.

        Raises:
            MeshError: if anything stands in the way.
        """
        return self._run(_operations.list_provable_keys(self._found, user_id))


class AsyncProofMethods(BaseClient):
    """Those of `AsyncMeshClient`."""

    if TYPE_CHECKING:

        async def _report(self, plan: Plan[T], kind: type[R]) -> T | R: ...

        async def _run(self, plan: Plan[T]) -> T: ...

    async def store_key_zkp(
        self,
        *positional: Any,
        user_id: str | None = None,
        key_name: str | None = None,
        key_value: str | bytes | None = None,
        ksf: "Ksf | None" = None,
        high_entropy: bool = False,
        overwrite: bool = False,
    ) -> EnrolledKey:
        """Enrol a value, so that `verify_key` can tell whether somebody has it. The value itself is not stored.

        Args:
            *positional: `(key_name, key_value)` or `(user_id, key_name, key_value)`, instead of those keywords: the two
                ways can't be mixed, since a secret could land in the wrong place.
            user_id: a namespace inside your own account.
            key_name: 1 to 256 bytes of UTF-8.
            key_value: text or bytes, exactly as it will be verified.
            ksf: what a guess at the value costs; default: Argon2id with 64 MiB, 3 passes, 4 lanes.
            high_entropy: the value has at least 128 random bits, so that nobody can guess it: no stretching is needed.
            overwrite: replace what is enrolled under this name.

        Returns:
            What is known of the record then, or the failure.

        Raises:
            TypeError, ValueError: if the call is wrong; never with the value in the message.
        """
        from mesh.keys import zkp  # noqa: PLC0415 - only a proof needs its arithmetic

        call = zkp.value_call(positional, user_id, key_name, key_value)
        chosen = zkp.chosen_ksf(ksf, high_entropy=high_entropy)
        plan = zkp.store(self._found, self._account, call, chosen, overwrite=overwrite)
        return await self._report(plan, EnrolledKey)

    async def verify_key(
        self,
        *positional: Any,
        user_id: str | None = None,
        key_name: str | None = None,
        key_value: str | bytes | None = None,
    ) -> VerifiedKey:
        """Prove that you have the value which is enrolled under a name, without revealing it.

        Of a wrong value nothing is sent but a blinded question that looks the same for every value.

        Args:
            *positional: `(key_name, key_value)` or `(user_id, key_name, key_value)`, instead of those keywords.
            user_id: a namespace inside your own account.
            key_name: of the enrolled value.
            key_value: text or bytes.

        Returns:
            `verified`; of a wrong value, or where nothing is enrolled, `success=True, verified=False`. Or the failure.

        Raises:
            TypeError, ValueError: if the call is wrong; never with the value in the message.
        """
        from mesh.keys import zkp  # noqa: PLC0415 - only a proof needs its arithmetic

        call = zkp.value_call(positional, user_id, key_name, key_value)
        return await self._report(zkp.verify(self._found, self._account, call), VerifiedKey)

    async def list_provable_keys(self, user_id: str | None = None) -> list[str]:
        """Return the names that `verify_key` can check, in their order.

        Args:
            user_id: a namespace inside your own account.

        Raises:
            MeshError: if anything stands in the way.
        """
        return await self._run(_operations.list_provable_keys(self._found, user_id))
