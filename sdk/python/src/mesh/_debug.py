"""Log lines for `debug=True`: which call, what came of it, how long it took, and nothing that was said or stored."""

import sys
import time
from typing import Any

from mesh._requests import Request
from mesh._transport import Reply

NAME = "mesh"


def enable() -> None:
    """Let the logger `mesh` write to stderr; the root logger and everybody else's stay as they are."""
    import logging  # noqa: PLC0415 - only where somebody wants to see

    logger = logging.getLogger(NAME)
    logger.setLevel(logging.DEBUG)
    if not any(getattr(handler, "of_mesh", False) for handler in logger.handlers):
        handler: Any = logging.StreamHandler()
        handler.of_mesh = True
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


def note(request: Request, told: object, started: float) -> None:
    """Log one attempt. The path's pattern stands for the path, which may hold the name of a key."""
    logger = _listening()
    if logger is not None:
        outcome = f"{told.status} {told.headers.get('x-request-id', '-')}" if isinstance(told, Reply) else repr(told)
        spent = (time.monotonic() - started) * 1000
        logger.debug("%s %s -> %s in %.0f ms", request.method, request.route, outcome, spent)


def again(request: Request, seconds: float) -> None:
    """Log that a request is tried again, and when."""
    logger = _listening()
    if logger is not None:
        logger.debug("%s %s again in %.1f s", request.method, request.route, seconds)


def ran(name: str, error: str | None) -> None:
    """Log that a tool was run, without its arguments and without what came of it."""
    logger = _listening()
    if logger is not None:
        logger.debug("tool %s -> %s", name, "done" if error is None else "failed")


def _listening() -> Any:
    """Return the logger where somebody listens, else None."""
    logging: Any = sys.modules.get("logging")
    if logging is None:  # nobody can
        return None
    logger = logging.getLogger(NAME)
    return logger if logger.isEnabledFor(10) else None


def tell(text: str, *arguments: object) -> None:
    """Log at DEBUG, if somebody can be listening."""
    logging: Any = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger(NAME).debug(text, *arguments)


def warn(text: str, *arguments: object) -> None:
    """Log a warning; where a program has set up no logging, it goes to stderr."""
    import logging  # noqa: PLC0415 - seldom

    logging.getLogger(NAME).warning(text, *arguments)
