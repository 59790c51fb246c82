"""The models on this machine: started on first use, watched, started again if they die, stopped with the server."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from mesh_server.chat.catalog.local_models import catalog
from mesh_server.chat.models import LocalSettings
from mesh_server.errors import LocalModelFailed, MeshError, ModelNotInstalled
from mesh_server.telemetry import logger

#: Seconds that loading the weights may take.
START_S = 120.0
#: Seconds that a process has to end after its stdin was closed.
_STOP_S = 5.0
#: Seconds for which a failed start is not tried again.
_FAILED_S = 2.0
#: Seconds for which the folder of weights is not looked at again.
_LISTED_S = 1.0
#: Calls that one process answers at the same time; more wait for their turn. They share one context.
_PARALLEL = 4
_DEFAULT_CONTEXT = 8192
_MOST_THREADS = 8

#: All that the model's process inherits: no key and no token of the server's.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH")

_log = logger("mesh.local_model")


class _Ready(msgspec.Struct):
    address: str


class LocalModels:
    """The models whose weights are here.

    One is in memory at a time, unless calls to several overlap.
    """

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._running: dict[str, _Child] = {}
        self._listed: tuple[float, list[str]] = (0.0, [])

    @property
    def default(self) -> str:
        """The name of the model in use, whether its weights are here or not."""
        return model_name(self._settings.model)

    def installed(self) -> list[str]:
        """Return the names of the models whose weights are here, the one in use first; a second old at the most."""
        if time.monotonic() < self._listed[0]:
            return self._listed[1]
        found = sorted(path.stem for path in self._settings.model_dir.glob("*.gguf"))
        if self._path(self.default).is_file() and self.default not in found:
            found.append(self.default)
        listed = sorted(found, key=lambda name: name != self.default)
        self._listed = time.monotonic() + _LISTED_S, listed
        return listed

    def share(self, name: str) -> int:
        """Return a call's part of the context, in tokens: as many calls as run at once fit into it together."""
        return _context(self._settings, name) // _PARALLEL

    def names(self) -> list[str]:
        """Return every name that is a local model's, the one in use first, even if its weights are not here."""
        return list(dict.fromkeys((self.default, *catalog())))

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[tuple[str, str]]:
        """Give address and key of the model's own server, which stays up for as long as the context lasts.

        Raises:
            ModelNotInstalled: if its weights are not here.
            LocalModelFailed: if it does not start.
        """
        path = self._path(name)
        if not path.is_file():
            raise ModelNotInstalled(f"The weights of {name} are not on this machine.")
        child = self._running.get(name)
        if child is None:
            child = self._running[name] = _Child(name, path, self._settings)
        child.users += 1
        try:
            if not child.up:
                await self._make_room(name)
            yield await child.ensure()
        finally:
            child.users -= 1

    async def close(self) -> None:
        """Stop every process."""
        children, self._running = list(self._running.values()), {}
        await asyncio.gather(*(child.stop() for child in children))

    async def _make_room(self, name: str) -> None:
        for other, child in list(self._running.items()):
            if other != name and not child.users:
                del self._running[other]
                await child.stop()

    def _path(self, name: str) -> Path:
        configured = Path(self._settings.model)
        if configured.suffix == ".gguf" and name == configured.stem:
            return configured.expanduser()
        return self._settings.model_dir / f"{name}.gguf"


def model_name(configured: str) -> str:
    """Return the name of a configured model: the catalog's, or that of its file without `.gguf`."""
    path = Path(configured)
    return path.stem if path.suffix == ".gguf" else configured


class _Child:
    """One model's process."""

    def __init__(self, name: str, path: Path, settings: LocalSettings) -> None:
        self.users = 0
        self._name = name
        self._path = path
        self._settings = settings
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._address: tuple[str, str] | None = None
        self._failed: tuple[float, MeshError] | None = None

    @property
    def up(self) -> bool:
        """Whether the process is there and has loaded its weights."""
        return self._process is not None and self._process.returncode is None and self._address is not None

    async def ensure(self) -> tuple[str, str]:
        """Return address and key of a process that is up, starting one if there is none."""
        async with self._lock:  # whoever comes while it starts waits for the same start
            if self.up and self._address is not None:
                return self._address
            if self._failed is not None and time.monotonic() - self._failed[0] < _FAILED_S:
                raise self._failed[1]
            if self._process is not None:
                _log.warning("the local model's process died", model=self._name, status=self._process.returncode)
            await self._end()
            try:
                self._address = await self._start()
            except MeshError as problem:
                self._failed = (time.monotonic(), problem)
                raise
            self._failed = None
            return self._address

    async def stop(self) -> None:
        """End the process."""
        async with self._lock:
            await self._end()

    async def _start(self) -> tuple[str, str]:
        key = secrets.token_urlsafe(32)
        self._process = process = await self._spawn()
        try:
            async with asyncio.timeout(START_S):
                address = await self._hand_over(process, key)
        except TimeoutError:
            await self._end()
            raise LocalModelFailed(f"The local model {self._name} did not load within {START_S:.0f} s.") from None
        except BaseException:
            await self._end()
            raise
        if address is None:
            status = await process.wait()
            await self._end()
            raise self._did_not_start(status)
        return f"{address}/v1", key

    async def _hand_over(self, process: Process, key: str) -> str | None:
        """Tell the process what to load, by its stdin: a command line can be read by everyone on the machine."""
        settings = {
            "path": str(self._path),
            "name": self._name,
            "api_key": key,
            "context": _context(self._settings, self._name),
            "parallel": _PARALLEL,
            "threads": self._settings.threads or _threads(),
        }
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was made without its pipes")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended already: the next line says so
            process.stdin.write(msgspec.json.encode(settings) + b"\n")
            await process.stdin.drain()
        line = await process.stdout.readline()
        return msgspec.json.decode(line, type=_Ready).address if line else None

    async def _spawn(self) -> Process:
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["OMP_WAIT_POLICY"] = "passive"  # spinning threads would collapse on a busy machine
        apart = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if os.name == "nt"
            else {"start_new_session": True}  # Ctrl-C is for the server, which lets running answers end
        )
        log = self._open_log()
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "mesh_server.chat.upstream.local_worker",
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env=environment,
                **apart,
            )
        finally:
            os.close(log)

    def _open_log(self) -> int:
        """Open the log anew: it is about the process that runs, and does not grow over many."""
        file = self._settings.log_file
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def _did_not_start(self, status: int) -> LocalModelFailed:
        if status == 3:
            return LocalModelFailed(
                "This server was installed without what runs local models.",
                advice=('Install it: `pip install "mesh-server[local]"`.',),
            )
        return LocalModelFailed(
            f"The local model {self._name} did not load: its file is damaged or no GGUF model, or memory ran out."
        )

    async def _end(self) -> None:
        process, self._process, self._address = self._process, None, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _context(settings: LocalSettings, name: str) -> int:
    """Return the tokens of a model's context, for all calls that it answers at once."""
    known = catalog().get(name)
    return settings.context or (known.context if known else _DEFAULT_CONTEXT)


def _threads() -> int:
    """Return how many threads to use: about one for each physical core that this process may run on."""
    counted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(counted if counted <= 4 else counted // 2, _MOST_THREADS))
