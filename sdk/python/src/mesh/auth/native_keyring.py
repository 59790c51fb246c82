"""The operating system's keyring, asked in a child process: on a machine without a desktop it may never answer.

Only native keyrings: what else `keyring` may be configured to use could be a plain file.
"""

import contextlib
import json
import os
import subprocess
import sys
from typing import Any

#: Seconds that the child has; after that there is no keyring.
LIMIT_S = 3.0

SERVICE = "mesh"

#: What the child runs. Path and request come on stdin, so that neither shows among the processes' arguments.
_CHILD = """import json, sys
sys.path[:] = json.loads(sys.stdin.readline())
from mesh.auth.native_keyring import main
main()"""

_BACKENDS = (
    ("keyring.backends.macOS", "Keyring"),
    ("keyring.backends.Windows", "WinVaultKeyring"),
    ("keyring.backends.SecretService", "Keyring"),
    ("keyring.backends.libsecret", "Keyring"),
    ("keyring.backends.kwallet", "DBusKeyring"),
)


class NoKeyring(Exception):
    """There is no native keyring here, or it did not answer in time; the text says which."""


def possible() -> bool:
    """Return whether asking makes sense: on Linux a keyring speaks over the session bus, and some have none."""
    if not sys.executable or getattr(sys, "frozen", False):
        return False  # what would be started is another program, not Python
    if sys.platform in {"win32", "darwin"}:
        return True
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or (f"/run/user/{os.getuid()}" if hasattr(os, "getuid") else "")
    return bool(bus) or os.path.exists(f"{runtime}/bus")  # noqa: PTH110 - pathlib is not loaded in the child


def read(name: str) -> str | None:
    """Return the entry of this name; None where there is none.

    Raises:
        NoKeyring: if nobody answers.
    """
    value = _ask({"do": "get", "name": name}).get("value")
    return value if isinstance(value, str) else None


def write(name: str, value: str) -> None:
    """Set the entry of this name.

    Raises:
        NoKeyring: if nobody answers, or the keyring refuses.
    """
    _ask({"do": "set", "name": name, "value": value})


def backend_name() -> str:
    """Return which keyring answers.

    Raises:
        NoKeyring: if none does.
    """
    return str(_ask({"do": "name"})["value"])


def _ask(request: dict[str, str]) -> dict[str, Any]:
    if not possible():
        raise NoKeyring("This system has no keyring service.")
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(  # noqa: S603 - this Python, this program
            [sys.executable, "-I", "-c", _CHILD],
            input=f"{json.dumps(sys.path)}\n{json.dumps(request)}\n".encode(),
            capture_output=True,
            timeout=LIMIT_S,
            creationflags=flags,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoKeyring(f"The keyring of this system did not answer within {LIMIT_S:.0f} s.") from None
    except OSError as problem:
        raise NoKeyring(f"The keyring can't be asked ({type(problem).__name__}).") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"error": "no answer"}
    if "error" in answer:
        raise NoKeyring(f"The keyring of this system can't be used ({answer['error']}).")
    return answer


def main() -> None:
    """Serve one request: a line of JSON on stdin, the answer on stdout."""
    request = json.loads(sys.stdin.readline())
    answer: dict[str, Any]
    try:
        backend = _backend()
        if backend is None:
            answer = {"error": "none found"}
        elif request["do"] == "get":
            answer = {"value": backend.get_password(SERVICE, request["name"])}
        elif request["do"] == "set":
            backend.set_password(SERVICE, request["name"], request["value"])
            kept = backend.get_password(SERVICE, request["name"]) == request["value"]
            answer = {"value": True} if kept else {"error": "it forgot"}
        else:
            answer = {"value": getattr(backend, "name", type(backend).__name__)}
    except Exception as problem:  # noqa: BLE001 - its text may hold what was to be kept; its kind is told
        answer = {"error": type(problem).__name__}
    sys.stdout.write(json.dumps(answer))


def _backend() -> Any:
    import importlib  # noqa: PLC0415 - in the child only, as all of this

    for module, name in _BACKENDS:
        with contextlib.suppress(Exception):  # a backend that does not fit here says so in many ways
            found = getattr(importlib.import_module(module), name)
            if found.priority > 0:
                return found()
    return None
