"""What a login needs of this machine: each check says how it stands and, where it does not, what to do."""

import os
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from mesh.auth import native_keyring
from mesh.auth.callback import Listener
from mesh.auth.store import Damaged, Store, wanted
from mesh.errors import MeshError


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        verdict: `good`; `note`: worth knowing; `bad`: a login will fail, or is not safe.
        text: how it stands.
        step: what to do; empty where nothing is.
    """

    name: str
    verdict: Literal["good", "note", "bad"]
    text: str
    step: str = ""


def ports(wanted_ports: Sequence[int]) -> Check:
    """Check that a browser can come back."""
    free = []
    for port in wanted_ports:
        try:
            listener = Listener([port])
        except MeshError:
            continue
        listener.close()
        free.append(port)
    span = f"{wanted_ports[0]}-{wanted_ports[-1]}" if len(wanted_ports) > 1 else str(wanted_ports[0])
    if len(free) == len(wanted_ports):
        return Check("Callback ports", "good", f"{span} are free on 127.0.0.1 and ::1." if len(free) > 1 else span)
    if free:
        return Check(
            "Callback ports", "note", f"{len(wanted_ports) - len(free)} of {span} are taken; {free[0]} is free."
        )
    return Check(
        "Callback ports",
        "bad",
        f"All of {span} are taken.",
        "Use `mesh-auth --headless`, or set AUTH0_CALLBACK_PORT to the first of ten free ports that the issuer knows.",
    )


def keyring() -> Check:
    """Check where the key of stored logins is kept."""
    if not wanted():
        return Check("Keyring", "note", "Not used: MESH_KEYRING is off; the key is in a file that only you can read.")
    try:
        return Check("Keyring", "good", f"{native_keyring.backend_name()} answers.")
    except native_keyring.NoKeyring as problem:
        return Check(
            "Keyring",
            "note",
            f"{problem} The key of your login is in a file that only you can read.",
            "Nothing to do on a server; on a desktop, unlock the keyring. MESH_KEYRING=off skips the question.",
        )


def stored(store: Store) -> Check:
    """Check that the stored login can be opened, and renewed."""
    try:
        login = store.load()
    except Damaged:
        return Check("Stored login", "bad", f"{store.path} is damaged.", "Run `mesh-auth` to log in again.")
    except MeshError as problem:
        return Check("Stored login", "bad", problem.message, problem.troubleshooting[0])
    if login is None:
        return Check("Stored login", "note", "None for this server.", "Run `mesh-auth`.")
    if login.refresh_token is None:
        return Check(
            "Stored login",
            "bad",
            "It can't be renewed: the issuer gave no refresh token.",
            "Allow the grant Refresh Token for this client at the issuer, and offline access for the API "
            "(Auth0: APIs > your API > Settings > Allow Offline Access). Then run `mesh-auth` again.",
        )
    return Check("Stored login", "good", f"{login.name or login.subject or 'somebody'}, renews itself.")


def files(folder: Path, store: Store) -> Check:
    """Check that nobody else reads what is kept."""
    if sys.platform == "win32":
        return Check("Files", "good", f"{folder} is in your own profile.")
    paths = [p for p in (folder, store.path.parent, store.path, store.key_path) if p.exists()]
    open_ = [path for path in paths if _others_may(path)]
    if open_:
        names = " ".join(str(path) for path in open_)
        return Check("Files", "bad", f"Others on this machine can get at {names}.", f"chmod go-rwx {names}")
    if paths and not os.access(paths[0], os.W_OK):
        return Check("Files", "bad", f"{paths[0]} can't be written.", f"chown $USER {paths[0]}")
    return Check("Files", "good", f"{folder}: nobody else can read your login.")


def proxy(env: Mapping[str, str], url: str) -> Check:
    """Say which way requests go."""
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
    found = next((name for name in names if env.get(name)), None)
    certificates = env.get("SSL_CERT_FILE")
    if certificates and not Path(certificates).is_file():
        return Check("Proxy and CA", "bad", f"SSL_CERT_FILE names {certificates}, which is not there.", "Correct it.")
    authority = " SSL_CERT_FILE names the authorities to trust." if certificates else ""
    if found is None:
        return Check("Proxy and CA", "good", f"No proxy; the system's certificate authorities.{authority}")
    where = urlsplit(env[found])
    text = f"{found} sends requests through {where.hostname or 'somebody'}.{authority}"
    return Check("Proxy and CA", "note", text, f"If {url} is inside your network, add its host to NO_PROXY.")


def reachable(name: str, url: str) -> Check:
    """Find out why a host can't be reached: its name, its port, or its certificate."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return Check(name, "bad", f"The name {host} is not known (DNS).", "Check the address and the network.")
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            if parts.scheme == "https":
                _handshake(connection, host)
    except OSError as problem:
        return _unreachable(name, host, port, problem)
    return Check(name, "bad", f"{host} accepts connections and does not answer.", "Look at the server, or the proxy.")


def _unreachable(name: str, host: str, port: int, problem: OSError) -> Check:
    import ssl  # noqa: PLC0415 - only where something is wrong

    if isinstance(problem, ssl.SSLCertVerificationError):
        return Check(
            name,
            "bad",
            f"The certificate of {host} is not trusted here ({problem.verify_message}).",
            "Where a company's proxy looks into connections, set SSL_CERT_FILE to its certificate authorities.",
        )
    what = "TLS does not work" if isinstance(problem, ssl.SSLError) else "No connection"
    return Check(name, "bad", f"{what}: {host} port {port}.", "Check firewall, proxy and that the server is running.")


def _handshake(connection: socket.socket, host: str) -> None:
    import ssl  # noqa: PLC0415 - as above

    with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
        pass


def _others_may(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077) if path.is_file() else bool(path.stat().st_mode & 0o022)
