"""Structured logs to stderr, in which a secret that slipped into a message is masked.

The first defence is that no code hands a secret to a logger; masking what looks like one is the second.
"""

import asyncio
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

# Where rich is installed, structlog loads it for pictures of exceptions, of which there are none here (`describe`): it
# is 50 ms of each start, and 4 MB. All other modules get their loggers from here, so that this is the first import.
_without_rich = "rich" not in sys.modules
if _without_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # to importlib: there is none
import structlog  # noqa: E402
from structlog.typing import EventDict, WrappedLogger  # noqa: E402

if _without_rich:
    del sys.modules["rich"]

LogFormat = Literal["console", "json"]
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_threshold = 0  # everything, until it is configured

#: Tokens of Mesh, keys of the providers, JWTs, whatever follows an authentication scheme, and a URL's password.
_SECRET = re.compile(
    r"mesh_[A-Za-z0-9_-]{8,}"
    r"|\bsk-[A-Za-z0-9_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*"
    r"|(?i:\b(?:bearer|apikey)\s+)\S+"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
)


def mask(text: str) -> str:
    """Return the text with everything that looks like a credential replaced."""
    return _SECRET.sub("[masked]", text)


def _mask_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = mask(value)
    return event


class _ToStructlog(logging.Handler):
    """Hands the records of libraries on, so that there is one format and one place that masks."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, record.getMessage())


def logger(name: str) -> Any:
    """Return the logger of a part of the server: its methods are the levels, and take an event and its fields."""
    return structlog.get_logger(name)


def writes(level: str) -> bool:
    """Return whether lines of a level are written: asked where preparing one costs something."""
    return LEVELS[level] >= _threshold


class _Lines:
    """Lines of requests, written together for all that end in one turn of the event loop.

    There is one a request, and at thousands a second most of its cost would be the write, and the general way through
    the processors. Nothing in it needs masking: all of it is this server's own, the method is one that HTTP knows.
    """

    def __init__(self, log_format: LogFormat) -> None:
        self._line = _json_line if log_format == "json" else _console_line
        self._lines: list[str] = []

    def add(self, level: str, fields: dict[str, Any]) -> None:
        """Take a line."""
        self._lines.append(self._line(level, fields))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self.write)

    def write(self) -> None:
        """Write what was taken."""
        lines, self._lines = self._lines, []
        sys.stderr.write("".join(lines))
        sys.stderr.flush()


def _json_line(level: str, fields: dict[str, Any]) -> str:
    fields.update(event="request", level=level, timestamp=datetime.now(UTC))
    return _encoder.encode(fields).decode() + "\n"


def _console_line(level: str, fields: dict[str, Any]) -> str:
    """Return the line as structlog's renderer writes it where there are no colours."""
    moment = datetime.now(UTC).isoformat()[:-6]
    return f"{moment}Z [{level:<9}] request {' '.join([f'{name}={value}' for name, value in fields.items()])}\n"


_encoder = msgspec.json.Encoder()
_lines: _Lines | None = None  # None: through structlog, as everything else, in colours for a person


def request_line(level: str, **fields: Any) -> None:
    """Log that a request was answered; one of the levels that `writes` allows.

    Args:
        level: one of `LEVELS`.
        fields: JSON values of this server's own making, in the order of their names; never a part of a path or a body.
    """
    if _lines is not None:
        _lines.add(level, fields)
    else:
        getattr(_requests, level)("request", **fields)


_requests = structlog.get_logger("mesh.request")


def configure(level: str, log_format: LogFormat) -> None:
    """Set up logging for this process.

    Args:
        level: one of `LEVELS`.
        log_format: `console` for a person, `json` for a collector: one object a line.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    global _threshold, _lines  # noqa: PLW0603 - one for the process, as structlog's configuration is
    _threshold = LEVELS[level]
    _lines = None if log_format == "console" and sys.stderr.isatty() else _Lines(log_format)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(logging.WARNING)


def describe(error: BaseException) -> dict[str, Any]:
    """Return an unexpected exception for a log line: its class, its masked message, and where it came from.

    The frames name files and lines only: a source line or a local variable may hold a secret.
    """
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {
        "exception": type(error).__name__,
        "reason": mask(str(error))[:500],
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        "cause": type(error.__cause__).__name__ if error.__cause__ else None,
    }
