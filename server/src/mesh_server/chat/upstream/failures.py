"""Why a call to a provider brought no answer. No text of these holds what was sent, or where to."""


class UpstreamFailure(Exception):
    """A call that brought no answer."""


class Unreachable(UpstreamFailure):
    """No connection could be made: nothing was sent."""


class Stalled(UpstreamFailure):
    """A connection was there, but nothing came for too long."""


class Broken(UpstreamFailure):
    """The connection ended in the middle, or what came is no HTTP or too much."""
