"""`mesh-auth status`, `logout` and `token`: what there is of a login."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from mesh._config import profile_token
from mesh._plan import drive
from mesh._transport import HTTPTransport
from mesh.auth.logins import Login
from mesh.auth.refresh import revoke
from mesh.auth.store import Damaged, Store
from mesh.cli._run import NOT_ALLOWED, console
from mesh.cli._target import Target, server_option, target
from mesh.errors import ConfigurationError, local_error
from mesh.keys import cache

_LOCK_S = 30.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs, on stdout.")
@server_option
def status(as_json: bool, server: str | None) -> int:
    """Show who is logged in, where, and until when. Asks nobody: it is what this machine knows."""
    found = target(server)
    known = _known(found)
    if as_json:
        click.echo(json.dumps(known, indent=2))
    elif known["logged_in"]:
        _show(known)
    else:
        raise local_error("not_logged_in", f"There is no login for {found.url}.")
    return 0 if known["logged_in"] else NOT_ALLOWED


@click.command()
@server_option
def logout(server: str | None) -> None:
    """End the login: revoke it at the issuer, and forget it for every program on this machine."""
    found = target(server)
    out = console()
    store = found.store()
    login, erased = _ended(found, store)
    cache.erase(found.config.folder, found.url)  # what this login read
    if not erased:
        out.print(f"There was no login for {found.url}.")
    elif login is None:
        out.print(f"Forgot the login for {found.url}. It could not be read, so the issuer was not told.")
    else:
        out.print(f"Logged out of {found.url}.")
    if profile_token(found.config.profile, found.url) is not None:
        out.print(f"The token in {found.config.profile.token_file} stays, and is used again.", style="yellow")


@click.command()
@server_option
def token(server: str | None) -> None:
    """Print the access token that a client would send, renewed if that is due. Whoever has it is you: take care."""
    found = target(server)
    transport = HTTPTransport()
    try:
        known = _known(found)
        if not known["logged_in"]:
            raise local_error("not_logged_in", f"There is no login for {found.url}.")
        secret = drive(found.credentials().token(), transport)
    finally:
        transport.close()
    click.echo(secret.reveal())


def _known(found: Target) -> dict[str, Any]:
    """Return what is known of the login, without any token."""
    known: dict[str, Any] = {"logged_in": True, "server": found.url, "source": None, "refreshable": False}
    known |= {"subject": None, "name": None, "issuer": None, "expires_at": None}
    if found.config.token is not None:
        return known | {"source": "MESH_AUTH_TOKEN"}
    login = _stored(found.store())
    if login is not None:
        return known | {
            "source": "login",
            "refreshable": login.refresh_token is not None,
            "subject": login.subject,
            "name": login.name,
            "issuer": login.issuer,
            "expires_at": datetime.fromtimestamp(login.expires_at, UTC).isoformat(timespec="seconds"),
            "logged_in": login.refresh_token is not None or not login.expired(),
        }
    if profile_token(found.config.profile, found.url) is not None:
        return known | {"source": str(found.config.profile.token_file)}
    return known | {"logged_in": False}


def _stored(store: Store) -> Login | None:
    try:
        return store.load()
    except Damaged:
        raise local_error("login_store_unreadable", f"{store.path} is damaged; log in again.") from None


def _show(known: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = [("Server", known["server"])]
    if known["source"] == "login":
        ends = datetime.fromisoformat(known["expires_at"])
        rows += [("Who", known["name"] or known["subject"] or "unknown"), ("Issuer", known["issuer"])]
        rows.append(("Token", f"until {ends.astimezone():%Y-%m-%d %H:%M:%S} ({_left(ends)})"))
        rows.append(("Renews", "by itself" if known["refreshable"] else "no: the issuer gave no refresh token"))
    else:
        rows += [("Who", f"whoever the token in {known['source']} belongs to"), ("Renews", "no")]
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", str(value))
    console().print(table)


def _left(ends: datetime) -> str:
    seconds = (ends - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        return "over"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _ended(found: Target, store: Store) -> tuple[Login | None, bool]:
    """Revoke and erase, while no other process can renew; returns the login, and whether there was one."""
    if not store.exists():
        return None, False
    _wait_for(store.lock.try_acquire, found.url)
    transport = HTTPTransport()
    try:
        try:
            login = store.load()
        except (Damaged, ConfigurationError):  # who wants to be logged out is, readable or not
            login = None
        heard = login is not None and drive(revoke(login, found.overrides.client_secret), transport)
        if login is not None and not heard:
            console().print(f"{login.issuer} could not be told; there, the login ends by itself.", style="yellow")
        return login, store.erase()
    finally:
        transport.close()
        store.lock.release()


def _wait_for(try_once: Callable[[], bool], url: str) -> None:
    deadline = time.monotonic() + _LOCK_S
    while not try_once():
        if time.monotonic() > deadline:
            raise local_error("login_unavailable", f"Another program holds the login for {url}.")
        time.sleep(0.02)
