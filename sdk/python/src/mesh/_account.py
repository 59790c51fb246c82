"""Who the caller is to the server: tenant and account, asked for once for each login of a client."""

import hashlib
from dataclasses import dataclass, field

from mesh import _answers
from mesh._plan import Plan
from mesh._requests import Request
from mesh._send import Found, send
from mesh.errors import MeshError
from mesh_protocol.wire import API_PREFIX

_PATH = f"{API_PREFIX}/auth/profile"


@dataclass(slots=True)
class Account:
    """What one client knows of its account.

    Attributes:
        login: a hash of the login that it was asked for with: another login may be another account's, and a proof for
            the wrong account would look like a wrong value.
    """

    tenant: str = ""
    id: str = ""
    login: bytes = field(default=b"", repr=False)


def credential(found: Found) -> Plan[bytes]:
    """Return the bytes of the login that requests are sent with, without its scheme.

    Raises:
        MeshError: what is wrong with the configuration, or that there is no login.
    """
    if isinstance(found, MeshError):
        raise found
    token = found.credentials.ready() or (yield from found.credentials.token())
    return token.reveal().encode()


def known(found: Found, account: Account) -> Plan[Account]:
    """Return the account, after asking the server for it where that has not been done yet.

    Raises:
        MeshError: what stood in the way.
    """
    login = hashlib.sha256((yield from credential(found))).digest()
    if account.login != login:
        reply = yield from send(found, Request(method="GET", route=_PATH, path=_PATH), None)
        body = _answers.read(reply)
        name, tenant = body.get("id"), body.get("tenant")
        if not isinstance(name, str) or not isinstance(tenant, str) or not name or not tenant:
            raise _answers.invalid(reply, "no account")
        account.tenant, account.id, account.login = tenant, name, login
    return account
