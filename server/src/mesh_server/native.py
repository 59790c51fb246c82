"""A clean exit beside the HTTP library's native threads.

Such a thread hands a result to the event loop and may still hold on to the interpreter for a moment when the program
has what it wanted and ends. Then CPython ends that thread in the middle of native code, and the process aborts
(python/cpython#124619). So a process that used the library waits a little at its end, before the interpreter does.
"""

import atexit
import time

_SETTLE_S = 0.03


def settle_at_exit() -> None:
    """Let the library's threads come to rest when this process ends. Calling it again changes nothing."""
    atexit.unregister(_settle)
    atexit.register(_settle)


def _settle() -> None:
    time.sleep(_SETTLE_S)
