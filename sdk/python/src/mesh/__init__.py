"""Mesh: one login for every AI model, and no API key in anyone's code.

    import mesh
    print(mesh.chat("Hello, world!"))

Importing this costs next to nothing: every name is loaded when it is first used.
"""

__version__ = "2.0.0"

TYPE_CHECKING = False  # typing.TYPE_CHECKING without the import; type checkers know the name
if TYPE_CHECKING:
    from mesh._chat.conversation import AsyncConversation, Conversation
    from mesh._chat.media import file, image
    from mesh._chat.tools import Tool, ToolCall, ToolResult, tool
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
    from mesh.async_auto_refresh_client import AsyncAutoRefreshMeshClient
    from mesh.async_client import AsyncMeshClient
    from mesh.auto_refresh_client import AutoRefreshMeshClient
    from mesh.client import MeshClient
    from mesh.errors import (
        AuthenticationError,
        BudgetExceeded,
        ConfigurationError,
        ConflictError,
        ConnectionFailed,
        DeadlineExceeded,
        InvalidRequest,
        LoginFailed,
        MeshError,
        NotFoundError,
        OutcomeUnknown,
        OutputInvalid,
        PermissionDenied,
        ProviderError,
        QuotaExceeded,
        RateLimited,
        RequestInProgress,
        ServerError,
        SessionEnded,
        StreamTruncated,
    )
    from mesh.events import (
        EndEvent,
        Event,
        TextEvent,
        ThinkingEvent,
        ToolCallEvent,
        ToolResultEvent,
        UsageEvent,
    )
    from mesh.keys.cache import StaleBytes, StaleText
    from mesh.keys.zkp import Ksf
    from mesh.results import (
        ChatChunk,
        ChatResult,
        DeletedKey,
        EnrolledKey,
        Grant,
        KeyInfo,
        KeyTest,
        KeyVersion,
        Member,
        ModelList,
        ParsedResult,
        Result,
        StoredKey,
        Usage,
        VerifiedKey,
    )
    from mesh.usage import Budget, BudgetLimit, UsageCounts, UsageReport, UsageRow

else:  # a type checker takes it for a promise that every name is there

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used (PEP 562)."""
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module 'mesh' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - the first use pays, not the import

        value = getattr(import_module(f"mesh.{home}"), name)
        globals()[name] = value
        return value


_HOME = {
    "MeshClient": "client",
    "AsyncMeshClient": "async_client",
    "AutoRefreshMeshClient": "auto_refresh_client",
    "AsyncAutoRefreshMeshClient": "async_auto_refresh_client",
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
    "Grant": "results",
    "KeyInfo": "results",
    "KeyTest": "results",
    "KeyVersion": "results",
    "StaleText": "keys.cache",
    "StaleBytes": "keys.cache",
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
    "BudgetExceeded": "errors",
    "QuotaExceeded": "errors",
    "RequestInProgress": "errors",
    "OutcomeUnknown": "errors",
    "ConnectionFailed": "errors",
    "DeadlineExceeded": "errors",
    "StreamTruncated": "errors",
    "ConfigurationError": "errors",
    "AsyncConversation": "_chat.conversation",
    "Conversation": "_chat.conversation",
    "Tool": "_chat.tools",
    "ToolCall": "_chat.tools",
    "ToolResult": "_chat.tools",
    "tool": "_chat.tools",
    "image": "_chat.media",
    "file": "_chat.media",
    "Member": "results",
    "ParsedResult": "results",
    "ModelList": "results",
    "Budget": "usage",
    "BudgetLimit": "usage",
    "UsageCounts": "usage",
    "UsageReport": "usage",
    "UsageRow": "usage",
    "OutputInvalid": "errors",
    "Event": "events",
    "TextEvent": "events",
    "ThinkingEvent": "events",
    "ToolCallEvent": "events",
    "ToolResultEvent": "events",
    "UsageEvent": "events",
    "EndEvent": "events",
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
    "AsyncAutoRefreshMeshClient",
    "AsyncConversation",
    "AsyncMeshClient",
    "AsyncStream",
    "AuthenticationError",
    "AutoRefreshMeshClient",
    "Budget",
    "BudgetExceeded",
    "BudgetLimit",
    "ChatChunk",
    "ChatResult",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailed",
    "Conversation",
    "DeadlineExceeded",
    "DeletedKey",
    "EndEvent",
    "EnrolledKey",
    "Event",
    "Grant",
    "InvalidRequest",
    "KeyInfo",
    "KeyTest",
    "KeyVersion",
    "Ksf",
    "LoginFailed",
    "Member",
    "MeshClient",
    "MeshError",
    "ModelList",
    "NotFoundError",
    "OutcomeUnknown",
    "OutputInvalid",
    "ParsedResult",
    "PermissionDenied",
    "ProviderError",
    "QuotaExceeded",
    "RateLimited",
    "RequestInProgress",
    "Result",
    "ServerError",
    "SessionEnded",
    "StaleBytes",
    "StaleText",
    "StoredKey",
    "Stream",
    "StreamTruncated",
    "TextEvent",
    "ThinkingEvent",
    "Tool",
    "ToolCall",
    "ToolCallEvent",
    "ToolResult",
    "ToolResultEvent",
    "Usage",
    "UsageCounts",
    "UsageEvent",
    "UsageReport",
    "UsageRow",
    "VerifiedKey",
    "__version__",
    "chat",
    "delete_key",
    "file",
    "get_key",
    "image",
    "list_keys",
    "restore_key",
    "store_key",
    "store_key_zkp",
    "tool",
    "verify_key",
]


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return __all__
