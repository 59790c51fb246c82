"""Structured logs to stderr, in which a secret that slipped into a message is masked.

The first defence is that no code hands a secret to a logger; masking what looks like one is the second.
"""

import logging
import re
import sys
import traceback
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

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


def writes(level: str) -> bool:
    """Return whether lines of a level are written: asked where preparing one costs something."""
    return LEVELS[level] >= _threshold


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
    global _threshold  # noqa: PLW0603 - one for the process, as structlog's configuration is
    _threshold = LEVELS[level]
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
