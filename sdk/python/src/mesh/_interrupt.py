"""Lets Ctrl-C end a call that waits for the network.

The HTTP library waits in native code, where Python can't deliver a signal to the main thread until the call is over.
So the main thread lets a helper thread wait, and itself waits where a signal reaches it. Other threads never get
signals and call directly.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "queue.SimpleQueue[tuple[bool, Any]]"]


class Helper:
    """One helper thread, made when the main thread first waits."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] | None = None

    def run(self, work: Callable[[], T], on_interrupt: Callable[[], None]) -> T:
        """Do the work and return its result, or raise what it raised.

        Args:
            work: what waits.
            on_interrupt: called when a signal ends the wait; lets the work come to its end as soon as it can.

        Raises:
            KeyboardInterrupt: or whatever else a signal handler raises.
        """
        if threading.current_thread() is not threading.main_thread():
            return work()
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._jobs,), name="mesh-wait", daemon=True).start()
        result: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._jobs.put((work, result))
        try:
            good, value = result.get()
        except BaseException:
            self._jobs.put(None)  # the helper may be busy for a while yet; the next call gets another one
            self._jobs = None
            on_interrupt()
            raise
        if good:
            return value  # type: ignore[no-any-return]
        raise value

    def stop(self) -> None:
        """End the helper thread once it has nothing to do; the next call would start another."""
        jobs, self._jobs = self._jobs, None
        if jobs is not None:
            jobs.put(None)


def _serve(jobs: "queue.SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        work, result = job
        try:
            result.put((True, work()))
        except BaseException as problem:  # noqa: BLE001 - handed to the thread that waits
            result.put((False, problem))
        del job, work, result  # keeps nothing of a call alive while it waits for the next one
