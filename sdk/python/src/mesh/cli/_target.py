"""The server that a command is about, and what is known of the login for it."""

import os
from dataclasses import dataclass

import click

from mesh import _config
from mesh._config import Config, profile_token
from mesh.auth.order import Credentials
from mesh.auth.overrides import Overrides, overrides
from mesh.auth.ports import callback_ports
from mesh.auth.store import Store
from mesh.auth.terminal import interactive

server_option = click.option(
    "--server", metavar="URL", help="The server; default: MESH_API_URL, then the profile's.", default=None
)


@dataclass(frozen=True, slots=True)
class Target:
    """One server, as the command line, the environment and the profile name it."""

    config: Config
    overrides: Overrides

    @property
    def url(self) -> str:
        """The server's address."""
        return self.config.server_url

    def store(self) -> Store:
        """Return where the login for it is kept."""
        return Store(self.config.folder, self.url)

    def credentials(self, port: int | None = None) -> Credentials:
        """Return who this machine is to it."""
        return Credentials(self.config, self.overrides, ports=callback_ports(os.environ, port))


def login_source(config: Config) -> str | None:
    """Return where the login for a configuration comes from; None where there is none."""
    if config.token is not None:
        return "MESH_AUTH_TOKEN"
    if Store(config.folder, config.server_url).exists():
        return "stored by mesh-auth"
    if profile_token(config.profile, config.server_url) is not None:
        return str(config.profile.token_file)
    return None


def target(server: str | None, *, may_ask: bool = False) -> Target:
    """Return the server.

    Args:
        server: as it was named on the command line.
        may_ask: where none is named, the hosted one may be offered to the person.

    Raises:
        ConfigurationError: if there is none, or it must not be used.
        click.UsageError: if a setting in the environment is wrong.
    """
    try:
        callback_ports(os.environ)
        return Target(_config.load(server_url=server, may_ask=may_ask and interactive()), overrides(os.environ))
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
