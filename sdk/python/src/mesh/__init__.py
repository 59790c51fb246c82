"""Mesh: one login for every AI model, and no API key in anyone's code.

    import mesh
    print(mesh.chat("Hello, world!"))

Importing this costs next to nothing: every name is loaded when it is first used.
"""

__version__ = "2.0.0"

TYPE_CHECKING = False  # typing.TYPE_CHECKING without the import; type checkers know the name
if TYPE_CHECKING:
    from typing import Any

    from mesh._module import (
        chat,
        delete_key,
        get_key,
        list_keys,
        restore_key,
        store_key,
        store_key_zkp,
        verify_key,
    )
    from mesh._stream import AsyncStream, Stream
    from mesh.async_client import AsyncMeshClient
    from mesh.auto_refresh_client import AutoRefreshMeshClient
    from mesh.client import MeshClient
    from mesh.errors import (
        AuthenticationError,
        ConfigurationError,
        ConflictError,
        ConnectionFailed,
        DeadlineExceeded,
        InvalidRequest,
        LoginFailed,
        MeshError,
        NotFoundError,
        PermissionDenied,
        ProviderError,
        RateLimited,
        ServerError,
        SessionEnded,
        StreamTruncated,
    )
    from mesh.keys.zkp import Ksf
    from mesh.results import ChatChunk, ChatResult, DeletedKey, EnrolledKey, Result, StoredKey, Usage, VerifiedKey

_HOME = {
    "MeshClient": "client",
    "AsyncMeshClient": "async_client",
    "AutoRefreshMeshClient": "auto_refresh_client",
    "Stream": "_stream",
    "AsyncStream": "_stream",
    "Result": "results",
    "ChatResult": "results",
    "ChatChunk": "results",
    "Usage": "results",
    "StoredKey": "results",
    "DeletedKey": "results",
    "EnrolledKey": "results",
    "VerifiedKey": "results",
    "Ksf": "keys.zkp",
    "MeshError": "errors",
    "AuthenticationError": "errors",
    "LoginFailed": "errors",
    "SessionEnded": "errors",
    "PermissionDenied": "errors",
    "InvalidRequest": "errors",
    "NotFoundError": "errors",
    "ConflictError": "errors",
    "RateLimited": "errors",
    "ProviderError": "errors",
    "ServerError": "errors",
    "ConnectionFailed": "errors",
    "DeadlineExceeded": "errors",
    "StreamTruncated": "errors",
    "ConfigurationError": "errors",
    "chat": "_module",
    "store_key": "_module",
    "get_key": "_module",
    "list_keys": "_module",
    "delete_key": "_module",
    "restore_key": "_module",
    "store_key_zkp": "_module",
    "verify_key": "_module",
}

__all__ = [
    "AsyncMeshClient",
    "AsyncStream",
    "AuthenticationError",
    "AutoRefreshMeshClient",
    "ChatChunk",
    "ChatResult",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailed",
    "DeadlineExceeded",
    "DeletedKey",
    "EnrolledKey",
    "InvalidRequest",
    "Ksf",
    "LoginFailed",
    "MeshClient",
    "MeshError",
    "NotFoundError",
    "PermissionDenied",
    "ProviderError",
    "RateLimited",
    "Result",
    "ServerError",
    "SessionEnded",
    "StoredKey",
    "Stream",
    "StreamTruncated",
    "Usage",
    "VerifiedKey",
    "__version__",
    "chat",
    "delete_key",
    "get_key",
    "list_keys",
    "restore_key",
    "store_key",
    "store_key_zkp",
    "verify_key",
]


def __getattr__(name: str) -> "Any":
    """Load a public name when it is first used (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'mesh' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - the first use pays, not the import

    value = getattr(import_module(f"mesh.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return __all__
