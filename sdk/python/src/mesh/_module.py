"""The functions `mesh.chat`, `mesh.store_key`, …: the methods of one client that is made when it is first needed."""

import threading
from typing import TYPE_CHECKING, Any

from mesh.client import MeshClient
from mesh.results import EnrolledKey, VerifiedKey

_lock = threading.Lock()
_client: MeshClient | None = None


def _shared() -> MeshClient:
    """Return the one client; made anew where the last one had found no server or login."""
    global _client  # noqa: PLW0603 - the module's one client is what this module is
    with _lock:
        if _client is None or not _client.configured:
            if _client is not None:
                _client.close()
            _client = MeshClient()
        return _client


def store_key_zkp(
    key_name: str,
    key_value: str | bytes,
    user_id: str | None = None,
    *,
    ksf: "Ksf | None" = None,
    high_entropy: bool = False,
    overwrite: bool = False,
) -> EnrolledKey:
    """Enrol a value, so that `verify_key` can tell whether somebody has it: see `MeshClient.store_key_zkp`."""
    return _shared().store_key_zkp(
        key_name=key_name,
        key_value=key_value,
        user_id=user_id,
        ksf=ksf,
        high_entropy=high_entropy,
        overwrite=overwrite,
    )


def verify_key(key_name: str, key_value: str | bytes, user_id: str | None = None) -> VerifiedKey:
    """Prove that you have the value which is enrolled under a name: see `MeshClient.verify_key`."""
    return _shared().verify_key(key_name=key_name, key_value=key_value, user_id=user_id)


for _function in (store_key_zkp, verify_key):
    _function.__module__ = "mesh"


if TYPE_CHECKING:
    from mesh.keys.zkp import Ksf

    _typed = MeshClient()
    chat = _typed.chat
    store_key = _typed.store_key
    get_key = _typed.get_key
    list_keys = _typed.list_keys
    delete_key = _typed.delete_key
    restore_key = _typed.restore_key
else:
    from functools import wraps

    def _as_function(name: str) -> Any:
        method = getattr(MeshClient, name)

        @wraps(method)
        def function(*arguments: Any, **named: Any) -> Any:
            return getattr(_shared(), name)(*arguments, **named)

        import inspect  # noqa: PLC0415 - what help() shows has no `self`

        signature = inspect.signature(method)
        function.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        function.__module__ = "mesh"
        return function

    chat = _as_function("chat")
    store_key = _as_function("store_key")
    get_key = _as_function("get_key")
    list_keys = _as_function("list_keys")
    delete_key = _as_function("delete_key")
    restore_key = _as_function("restore_key")
