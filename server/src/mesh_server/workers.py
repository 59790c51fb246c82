"""Several processes behind one set of sockets: the parent binds, starts workers, and serves nothing itself.

The parent forks before it has a thread, an event loop or a connection, so that a worker begins clean and a dead one is
replaced by a fork of the same clean parent. The first worker starts alone: what is wrong with the configuration is then
told once, by it. Workers notice by a pipe when their parent is gone, and end as on SIGTERM.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from mesh_server import telemetry
from mesh_server.errors import StartupError

#: A worker that lived shorter than this was not started well; the next one waits, longer each time.
SHORT_LIFE_S = 10.0
MOST_DELAY_S = 30.0
#: How often the parent looks whether a delay is over.
TICK_S = 0.1

_INTERRUPTED = 130
_log = telemetry.logger("mesh.workers")

#: Serves until it is told to stop; gets what tells that it serves now, the descriptor that ends with the parent, and
#: which of the workers it is: one that takes a dead one's place has its number.
Worker = Callable[[Callable[[], None], int, int], int]


def check(number: int, *, networked: bool) -> None:
    """Refuse more workers than the database and the system can have.

    Args:
        number: of workers.
        networked: whether the database is one that several processes share.

    Raises:
        StartupError: in one sentence.
    """
    if number == 1:
        return
    if not hasattr(os, "fork"):
        raise StartupError("On this system a server is one process: leave --workers and MESH_WORKERS at 1.")
    if not networked:
        raise StartupError(
            "SQLite belongs to one process: for more than one worker set MESH_DATABASE_URL to a PostgreSQL."
        )


class Workers:
    """Keeps a number of workers alive until it is told to stop.

    Args:
        number: how many.
        work: what each does.
        announce: called by the parent, when the first worker serves.
    """

    def __init__(self, number: int, work: Worker, announce: Callable[[], None]) -> None:
        self._number = number
        self._work = work
        self._announce = announce
        self._alive: dict[int, float] = {}  # process id → when it was started
        self._numbers: dict[int, int] = {}  # process id → which of the workers it is
        self._stopping = False
        self._interrupted = False
        self._delay = 0.0
        self._parent = os.getpid()
        # The writing end is never written to: it is closed by the parent's death.
        self._parent_lives, self._parent_holds = os.pipe()

    def run(self) -> int:
        """Start the workers, replace those that die, and return the exit status once all have ended."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if (failed := self._start_first()) is not None:
                return failed
            self._announce()
            while len(self._alive) < self._number and not self._stopping:
                self._start()
            self._watch()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._parent_holds)
            os.close(self._parent_lives)
        return _INTERRUPTED if self._interrupted else 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._parent:
            os._exit(0)  # in a worker that was forked just now and has not yet its own handlers
        self._stopping = True
        self._interrupted = self._interrupted or number == signal.SIGINT
        for pid in list(self._alive):
            _send(pid, signal.SIGTERM)  # the second one ends a worker's wait for its streams

    def _start_first(self) -> int | None:
        """Start one worker and wait until it serves; return its exit status if it never does."""
        reading, writing = os.pipe()
        pid = self._start(writing, reading)
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            if ready.read(1):
                return None
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        del self._alive[pid]
        if self._stopping:
            return _INTERRUPTED if self._interrupted else 0
        return status if status > 0 else 1  # it ended without having served, whatever it says

    def _start(self, tell: int | None = None, close: int | None = None) -> int:
        number = next(n for n in range(self._number) if n not in self._numbers.values())
        pid = os.fork()
        if pid == 0:
            _be_a_worker(self._work, self._parent_lives, number, (self._parent_holds, close), tell)
        self._alive[pid], self._numbers[pid] = time.monotonic(), number
        _log.info("worker started", worker=pid)
        if self._stopping:  # the signal came between the fork and the line above
            _send(pid, signal.SIGTERM)
        return pid

    def _watch(self) -> None:
        """Wait for workers to end; replace them unless the end was asked for."""
        due = 0.0
        while self._alive or not self._stopping:
            pid, status = os.waitpid(-1, os.WNOHANG) if self._alive else (0, 0)
            if pid:
                due = time.monotonic() + self._bury(pid, os.waitstatus_to_exitcode(status))
            elif not self._stopping and len(self._alive) < self._number and time.monotonic() >= due:
                self._start()
            else:
                time.sleep(TICK_S)

    def _bury(self, pid: int, status: int) -> float:
        """Note a worker's end and return the seconds until the next one may start."""
        lived = time.monotonic() - self._alive.pop(pid)
        del self._numbers[pid]
        if self._stopping:
            _log.info("worker ended", worker=pid, status=status)
            return 0.0
        self._delay = min(max(2 * self._delay, 0.5), MOST_DELAY_S) if lived < SHORT_LIFE_S else 0.0
        _log.error("worker died", worker=pid, status=status, lived_s=round(lived, 1), next_in_s=self._delay)
        return self._delay


def _be_a_worker(work: Worker, parent_lives: int, number: int, close: tuple[int | None, ...], tell: int | None) -> None:
    """Serve in the forked process; never returns."""
    status = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C on a terminal reaches the parent alone, which passes it on once
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        for descriptor in close:
            if descriptor is not None:
                os.close(descriptor)

        def ready() -> None:
            if tell is not None:
                os.write(tell, b"1")
                os.close(tell)

        status = work(ready, parent_lives, number)
    except BaseException as problem:  # noqa: BLE001 - what left here would run the parent's code a second time
        _log.error("worker failed", **telemetry.describe(problem))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended just now; the parent's wait tells
