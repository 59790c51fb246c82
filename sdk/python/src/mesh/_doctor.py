"""What a client needs to be of use: server, login, models, keys and a budget; as plans that change nothing."""

from mesh import _answers, _billing, _requests
from mesh._display import dollars
from mesh._operations import get_models
from mesh._plan import Plan, attempt, do
from mesh._send import Ready, send
from mesh._transport import Reply, WireRequest
from mesh.auth.checks import Check, reachable
from mesh.errors import MeshError
from mesh.models.catalog import usable

#: Seconds that the server has for saying that it is ready.
_LIMIT_S = 10.0


def all_of(ready: Ready, *, logged_in: bool) -> Plan[list[Check]]:
    """Ask the server everything, in the order in which one thing needs the other; stop where nothing more can be.

    Args:
        ready: where, and as whom.
        logged_in: whether there is a login: where there is none, asking would begin one.
    """
    server = yield from _server(ready.config.server_url)
    if server.verdict == "bad":
        return [server]
    if not logged_in:
        return [server, Check("Login", "bad", "There is none for this server.", "Run `mesh-auth`.")]
    who = yield from _login(ready)
    if who.verdict == "bad":
        return [server, who]
    return [server, who, (yield from _models(ready)), (yield from _keys(ready)), (yield from _budget(ready))]


def _server(url: str) -> Plan[Check]:
    headers = (("accept", "application/json"),)
    told = yield from attempt(WireRequest("GET", f"{url}/readyz", headers, None, _LIMIT_S, streamed=False))
    if not isinstance(told, Reply):
        found: Check = yield from do(lambda: reachable("Server", url))
        return found
    if told.status == 200:
        return Check("Server", "good", f"{url} is ready.")
    if told.status == 503:
        step = "Its operator runs `mesh-server doctor`; try again later."
        return Check("Server", "bad", f"{url} says that it can't serve now.", step)
    return Check("Server", "note", f"{url} has no /readyz ({told.status}).", "Is it a Mesh server, and a current one?")


def _login(ready: Ready) -> Plan[Check]:
    try:
        body = _answers.read((yield from send(ready, _requests.read("/auth/profile"), None)))
    except MeshError as problem:
        return Check("Login", "bad", problem.message, next(iter(problem.troubleshooting), ""))
    name = body.get("email") or "an account"
    return Check("Login", "good", f"accepted: {name}, id {body.get('id')}, tenant {body.get('tenant')}.")


def _models(ready: Ready) -> Plan[Check]:
    try:
        models = usable(dict((yield from get_models(ready))))
    except MeshError as problem:
        return Check("Models", "note", problem.message, next(iter(problem.troubleshooting), ""))
    if not models:
        step = "Store a provider's key: mesh keys set openai_key"
        return Check("Models", "note", "There is none that you can use.", step)
    providers = ", ".join(sorted({model.provider for model in models}))
    return Check("Models", "good", f"{len(models)} can be used, of {providers}.")


def _keys(ready: Ready) -> Plan[Check]:
    try:
        request = _requests.list_keys(user_id=None, prefix=None, tag=None, cursor=None)
        found, more = _answers.keys((yield from send(ready, request, None)))
    except MeshError as problem:
        return Check("Vault", "note", problem.message, next(iter(problem.troubleshooting), ""))
    return Check("Vault", "good", f"{len(found)}{' or more' if more else ''} keys of yours.")


def _budget(ready: Ready) -> Plan[Check]:
    try:
        found = _billing.budget((yield from send(ready, _requests.read("/budget"), None)))
    except MeshError as problem:
        return Check("Budget", "note", problem.message, next(iter(problem.troubleshooting), ""))
    spent = [limit for limit in found.budgets if limit.get("hard") and limit.get("left", 1) <= 0]
    if spent:
        who = " ".join(str(part) for part in (spent[0].get("scope"), spent[0].get("subject")) if part)
        text = f"A hard limit is used up ({who}, {spent[0].get('unit')}): calls that it is for are refused."
        return Check("Budget", "bad", text, "See when it resets: `mesh budget`. Its maker can raise it.")
    if found.left_usd is not None:
        return Check("Budget", "good", f"{dollars(found.left_usd)} left.")
    limits = "No limit is used up." if found.budgets else "Nothing limits what you spend."
    return Check("Budget", "good", limits)
