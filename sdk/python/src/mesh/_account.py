"""Who the caller is to the server: tenant and account, asked for once by each client."""

from dataclasses import dataclass

from mesh import _answers
from mesh._requests import Request
from mesh._send import Found, Plan, send
from mesh_protocol.wire import API_PREFIX

_PATH = f"{API_PREFIX}/auth/profile"


@dataclass(slots=True)
class Account:
    """What one client knows of its account."""

    tenant: str = ""
    id: str = ""


def known(found: Found, account: Account) -> Plan[Account]:
    """Return the account, after asking the server for it where that has not been done yet.

    Raises:
        MeshError: what stood in the way.
    """
    if not account.id:
        reply = yield from send(found, Request(method="GET", route=_PATH, path=_PATH), None)
        body = _answers.read(reply)
        name, tenant = body.get("id"), body.get("tenant")
        if not isinstance(name, str) or not isinstance(tenant, str) or not name or not tenant:
            raise _answers.invalid(reply, "no account")
        account.tenant, account.id = tenant, name
    return account
