"""A real `mesh-server dev` in a process of its own, with a real model, and the folders of a new user."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL_DIR = Path(os.environ.get("MESH_TEST_MODEL_DIR", ROOT / ".dev/models"))
MODEL = "smollm2-135m-instruct"
_INHERITED = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "SSL_CERT_FILE")


@dataclass
class Mesh:
    """One user's machine: folders, and the server that runs on it."""

    folder: Path
    environment: dict[str, str] = field(repr=False)
    process: subprocess.Popen | None = None

    @property
    def data_dir(self) -> Path:
        return Path(self.environment["MESH_DATA_DIR"])

    @property
    def config_dir(self) -> Path:
        return Path(self.environment["MESH_CONFIG_DIR"])

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def profile(self) -> dict[str, str]:
        return tomllib.loads((self.config_dir / "config.toml").read_text())["profiles"]["dev"]

    @property
    def url(self) -> str:
        return self.profile["server_url"]

    @property
    def token(self) -> str:
        return (self.config_dir / self.profile["token_file"]).read_text().strip()

    def command(self, *arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `mesh-server …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mesh_server.cli", *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str, port: int = 0) -> None:
        """Start `mesh-server dev` and wait until it says that it serves."""
        before = self.log.read_bytes().count(b"Serving on") if self.log.is_file() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mesh_server.cli", "dev", "--port", str(port), *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 60
        while self.log.read_bytes().count(b"Serving on") == before:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the server with a signal and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(45)
        self.process = None
        return status


def new_machine(folder: Path, **environment: str) -> Mesh:
    """Return a machine on which nothing has been set up."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return Mesh(
        folder,
        inherited
        | {
            "MESH_DATA_DIR": str(folder / "data"),
            "MESH_CONFIG_DIR": str(folder / "config"),
            "MESH_MODEL_DIR": str(MODEL_DIR),
            "MESH_LOCAL_MODEL": MODEL,
            "PYTHONUTF8": "1",
            "COLUMNS": "200",
        }
        | environment,
    )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Mesh]:
    """A machine of this test's own, without a server yet."""
    made = new_machine(tmp_path)
    yield made
    if made.process is not None:
        made.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def mesh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A server with the small local model that the tests share; nothing they do may depend on each other."""
    made = new_machine(tmp_path_factory.mktemp("shared"))
    made.start()
    yield made
    status = made.stop()
    assert status == 0, made.log.read_text()


@pytest.fixture
def as_user(mesh_server: Mesh, monkeypatch: pytest.MonkeyPatch) -> Mesh:
    """Make this process one of the user's: the SDK finds the profile and nothing else."""
    for name in list(os.environ):
        if re.match(r"MESH_|DEFAULT_|DEBUG|OPENAI_|ANTHROPIC_", name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_CONFIG_DIR", str(mesh_server.config_dir))
    return mesh_server


@dataclass
class Gateway:
    """A server, and the address of the providers that it speaks to."""

    mesh: Mesh
    providers: str

    @property
    def url(self) -> str:
        return self.mesh.url

    @property
    def token(self) -> str:
        return self.mesh.token


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server with a provider of every kind behind it."""
    from .gateway import llmock, serving

    with llmock() as providers, serving(tmp_path_factory.mktemp("gateway"), providers) as mesh:
        yield Gateway(mesh, providers)
