"""Why a call to a provider brought no answer. No text of these holds what was sent, or where to."""

import errno
import os


class UpstreamFailure(Exception):
    """A call that brought no answer."""


class Unreachable(UpstreamFailure):
    """No connection could be made: nothing was sent."""


class Crowded(UpstreamFailure):
    """This server has no room for another connection: nothing was sent, and nothing is known of the provider."""


class Stalled(UpstreamFailure):
    """A connection was there, but nothing came for too long."""


class Broken(UpstreamFailure):
    """The connection ended in the middle, or what came is no HTTP or too much."""


def no_connection() -> Unreachable | Crowded:
    """Return why none could be made, where it was not refused a turn: it may be this process that has no room.

    The libraries' failures do not tell: one of several addresses, or of looking for them, may hide that there was no
    descriptor left for a socket.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as problem:
        if problem.errno in {errno.EMFILE, errno.ENFILE}:
            return Crowded("there is no descriptor left for a connection")
    return Unreachable("no connection could be made")
