"""Everything that the published clients are served: at addresses of their own, and at four that are Mesh's, too."""

from collections.abc import Iterable
from dataclasses import replace

from mesh_server.accounts.routes import Credits
from mesh_server.accounts.service import Accounts
from mesh_server.asgi import Endpoint
from mesh_server.chat.service import Chat
from mesh_server.legacy.chat import SHARED, LegacyChat
from mesh_server.legacy.keys import LegacyKeys
from mesh_server.legacy.people import LegacyPeople
from mesh_server.legacy.refusals import MOVED, send_moved_error, writer_for
from mesh_server.vault.service import Vault

#: Mesh's own paths that they read as they are, and the same paths as they were before.
_READ = {"/api/v1/usage": "/v1/mesh/usage", "/api/v1/models": "/v1/mesh/models"}


def with_legacy(
    endpoints: Iterable[Endpoint], *, accounts: Accounts, vault: Vault, chat: Chat, credits_of: Credits
) -> list[Endpoint]:
    """Return endpoints together with those of the published clients.

    Args:
        endpoints: Mesh's own; those that the clients share come back fit for them.
        accounts: makes API keys.
        vault: where keys are.
        chat: answers.
        credits_of: returns what a caller may still spend.
    """
    theirs = LegacyChat(chat)
    found = [*LegacyKeys(vault).endpoints(), *LegacyPeople(accounts, credits_of).endpoints()]
    for endpoint in endpoints:
        if endpoint.path == SHARED:
            found += theirs.endpoints(endpoint)
            found.append(replace(endpoint, handler=theirs.beside(endpoint.handler), error_for=writer_for))
        elif endpoint.path in _READ:
            found.append(replace(endpoint, error_for=writer_for))
            found.append(_at(endpoint, _READ[endpoint.path]))
        else:
            found.append(endpoint)
    return found


def _at(endpoint: Endpoint, path: str) -> Endpoint:
    return replace(
        endpoint,
        path=path,
        summary=f"{endpoint.summary} (published clients)",
        send_error=send_moved_error,
        moved=MOVED,
        deprecated=True,
    )
