"""The clients that are on PyPI already: installed once each, and run as their users do, in a home of their own."""

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BETA, SDK = "mesh-beta", "mesh-sdk"
#: Looked at now: the tests take the variable away from what they run.
IN_CI = os.environ.get("CI") == "true"
#: A login of theirs that can't succeed waits for a browser, five minutes long.
PATIENCE_S = 120


def python_of(package: str) -> Path:
    """Return the interpreter of an environment that has a client as PyPI has it; made on first use."""
    pins = HERE / f"{package}.txt"
    state = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = Path(os.environ.get("MESH_TEST_PUBLISHED_DIR", ROOT / ".dev/published")) / f"{package}-{state}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "complete").is_file():
        _install(folder, python, pins)
        (folder / "complete").touch()
    return python


def _install(folder: Path, python: Path, pins: Path) -> None:
    uv = next(iter(sorted((ROOT / ".dev").glob("uv-*/uv*"))), None) or shutil.which("uv")
    if uv is None:
        _absent("there is no uv: run the tests by ./dev test")
    environment = dict(os.environ)
    certificates = ssl.get_default_verify_paths()
    if certificates.cafile or (certificates.capath and any(Path(certificates.capath).iterdir())):
        environment.setdefault("UV_SYSTEM_CERTS", "true")  # as ./dev does: a company's proxy may sign with its own
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder],
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--no-deps", "-r", pins],
    ):
        line = [str(part) for part in command]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode:
            _absent(f"{pins.stem} can't be installed: {done.stderr[-500:]}")


def _absent(why: str) -> None:
    if IN_CI:
        pytest.fail(why)
    pytest.skip(why)


@dataclass
class Published:
    """One person with a published client: a home, an environment, and what the client keeps there."""

    python: Path
    folder: Path
    url: str
    token: str | None = None
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def variables(self) -> dict[str, str]:
        """Return the variables of its process: nothing of this one's, so that nothing of its user's is touched."""
        inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
        places = ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
        return {
            **inherited,
            **dict.fromkeys(places, str(self.home)),
            "MESH_API_URL": self.url,
            "MESH_HEADLESS": "true",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "BROWSER": "true",
            "PYTHONUTF8": "1",
            **self.environment,
        }

    def log_in(self, **token: object) -> None:
        """Put a token where each of the clients looks for one."""
        stored = json.dumps({"access_token": self.token, "expires_at": 4_000_000_000, **token})
        for file in (self.home / ".mesh/token.json", self.folder / ".mesh_token.json"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(stored)

    def stored(self) -> dict:
        """Return the login that it keeps."""
        files = (self.home / ".mesh/token.json", self.folder / ".mesh_token.json")
        newest = max((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    def command(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run one of the client's commands to its end."""
        self.home.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [str(self.python.with_name(name))],
            env=self.variables(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def run(self, *steps: tuple, seconds: float | None = None, patience_s: float = PATIENCE_S) -> list:
        """Call methods one after the other in one process; an exception is a result, too.

        Args:
            steps: as `Steps` builds them.
            seconds: for which a request is waited for, in place of the client's own number.
            patience_s: seconds for all of them.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        wanted, results = self.folder / "steps.json", self.folder / "results.json"
        wanted.write_text(json.dumps([[of, name, list(args), named] for of, name, args, named in steps]))
        results.unlink(missing_ok=True)
        done = subprocess.run(
            [str(self.python), str(HERE / "driver.py"), str(wanted), str(results), *map(str, filter(None, [seconds]))],
            env=self.variables(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,  # never shown: one of them prints its tokens
            timeout=patience_s,
        )
        assert results.is_file(), f"the driver ended with {done.returncode}"
        return json.loads(results.read_text())


class Steps:
    """Builds steps: `Steps("MeshClient").chat("hi", model="m")`."""

    def __init__(self, of: str) -> None:
        self._of = of

    def __getattr__(self, name: str):
        return lambda *args, **named: (self._of, name, args, named)


MODULE, CLIENT, AUTO, ZKP = (Steps(of) for of in ("module", "MeshClient", "AutoRefreshMeshClient", "MeshZKPClient"))


def values(results: list) -> list:
    """Return the values of results, none of which may be an exception."""
    raised = [result for result in results if "raised" in result]
    assert not raised, raised
    return [result["value"] for result in results]
