"""Lets Ctrl-C end a call that waits for the network.

The HTTP library waits in native code, where Python can't deliver a signal to the main thread until the call is over.
So the main thread lets a helper thread wait, and itself waits where a signal reaches it. Other threads never get
signals and call directly.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

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
        except BaseException:  # Ctrl-C, or whatever a signal handler raises
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


#: Pieces that wait for their reader before the next one is fetched, and those at which fetching goes on.
_MOST, _FEW = 64, 16
#: Seconds that a reader who has taken all there was looks away: waiting for each piece would wake him for each, and
#: where pieces come close together that costs more than all the rest (ADR 127).
_PAUSE_S = 20e-6


class Pump(Generic[T]):
    """Yields what an iterator yields that waits in native code; a thread of its own fetches a few ahead.

    Handing each piece over on demand would cost two changes of threads a piece; so it costs none while pieces wait.

    Args:
        pieces: makes the iterator; it is used in the other thread only.
        on_interrupt: called when the reader stops early; lets the iterator come to its end as soon as it can.
    """

    def __init__(self, pieces: Callable[[], Iterator[T]], on_interrupt: Callable[[], None]) -> None:
        self._pieces = pieces
        self._on_interrupt = on_interrupt
        self._fetched: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._room = threading.Event()
        self._room.set()

    def __iter__(self) -> Iterator[T]:
        fetched, room = self._fetched, self._room
        threading.Thread(target=self._fetch, name="mesh-stream", daemon=True).start()
        try:
            while True:
                more, value = fetched.get()
                if not more:
                    _end(value)
                    return
                yield value
                waiting = fetched.qsize()
                if waiting <= _FEW and not room.is_set():
                    room.set()
                if not waiting:
                    time.sleep(_PAUSE_S)
        except BaseException:  # Ctrl-C, as above, or the reader that has enough (GeneratorExit)
            self._on_interrupt()
            raise
        finally:
            room.set()

    def stop(self) -> None:
        """Let the reader see the end now, whatever the other thread waits for."""
        self._fetched.put((False, None))
        self._room.set()

    def _fetch(self) -> None:
        fetched, room = self._fetched, self._room
        try:
            for piece in self._pieces():
                fetched.put((True, piece))
                if fetched.qsize() >= _MOST:
                    room.clear()
                    if fetched.qsize() >= _MOST:  # the reader may just have emptied it
                        room.wait()
            fetched.put((False, None))
        except BaseException as problem:  # noqa: BLE001 - handed to the thread that reads
            fetched.put((False, problem))


def _end(problem: BaseException | None) -> None:
    if problem is not None:
        raise problem
