"""HTTP endpoint of the audit trail: one's own, or for an administrator the tenant's."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from mesh_server.accounts.models import Principal
from mesh_server.asgi import ANY, Endpoint, Parameter, Request, Send, send_json
from mesh_server.audit.models import Event
from mesh_server.audit.service import MAX_PAGE, Audit, Filter
from mesh_server.errors import InvalidRequest, VaultDamaged
from mesh_server.ids import microseconds, moment

_CURSOR = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
Text = Annotated[str, msgspec.Meta(max_length=512, pattern=r"^[^\x00]*$")]


class TrailEvent(msgspec.Struct):
    """One event: who did what to which object of whose."""

    id: str
    at: datetime
    actor: str
    token: str | None
    account: str
    action: str
    object: str
    outcome: str
    request_id: str
    details: dict[str, Any]


class TrailPage(msgspec.Struct):
    """Events, newest first, and the cursor of the next page."""

    events: list[TrailEvent]
    next_cursor: str | None
    success: bool = True


class TrailRoutes:
    """Handler of the audit endpoint."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    async def page(self, request: Request, send: Send) -> None:
        """Answer a page of the trail."""
        query = request.query()
        unknown = sorted(query.keys() - {"action", "object", "since", "until", "limit", "cursor", "all"})
        if unknown:
            raise InvalidRequest(f"There is no parameter {unknown[0]!r} here.")
        limit = query.get("limit", str(MAX_PAGE))
        if not re.fullmatch(r"[0-9]{1,4}", limit) or not 1 <= int(limit) <= MAX_PAGE:
            raise InvalidRequest(f"`limit` must be between 1 and {MAX_PAGE}.")
        after = query.get("cursor") or None
        if after is not None and not _CURSOR.fullmatch(after):
            raise InvalidRequest("`cursor` is none of this list; begin again without it.")
        events = await self._audit.page(
            tenant_id=request.principal.tenant_id,
            account_id=_account(request.principal, query.get("all", "false")),
            chosen=Filter(
                action=_text(query, "action"),
                object=_text(query, "object"),
                since=_moment(query, "since"),
                until=_moment(query, "until"),
            ),
            after=after,
            limit=int(limit) + 1,
        )
        more = len(events) > int(limit)
        shown = [_shown(event) for event in events[: int(limit)]]
        await send_json(send, TrailPage(shown, events[int(limit) - 1].id if more else None))

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/audit",
                handler=self.page,
                summary="Who did what with your keys, tokens and grants",
                access=ANY,
                answer=TrailPage,
                errors=("vault_damaged",),
                parameters=(
                    Parameter(name="action", description="Only this action, for example `key.read`.", schema=Text),
                    Parameter(name="object", description="Only events about this name or id.", schema=Text),
                    Parameter(name="since", description="Only events from this moment on (RFC 3339).", schema=Moment),
                    Parameter(name="until", description="Only events before this moment (RFC 3339).", schema=Moment),
                    Parameter(
                        name="all",
                        description="`true`: the whole tenant's; asks for the scope `admin`.",
                        schema=Literal["true", "false"],
                    ),
                    Parameter(name="limit", description=f"1 to {MAX_PAGE}.", schema=PageSize),
                    Parameter(
                        name="cursor",
                        description="`next_cursor` of the page before.",
                        schema=Annotated[str, msgspec.Meta(pattern=f"^({_CURSOR.pattern})?$")],
                    ),
                ),
            )
        ]


def as_json(event: Event) -> bytes:
    """Return an event as one line of JSON, as the export has it."""
    return msgspec.json.encode({**msgspec.structs.asdict(_shown(event)), "tenant": event.tenant_id})


def _account(principal: Principal, everything: str) -> str | None:
    if everything not in {"true", "false"}:
        raise InvalidRequest("`all` is `true` or `false`.")
    if everything == "false":
        return principal.account_id
    principal.require("admin")
    return None


def _text(query: dict[str, str], name: str) -> str | None:
    text = query.get(name)
    if text is not None and ("\0" in text or len(text) > 512):
        raise InvalidRequest(f"`{name}` is no name that the trail could hold.")
    return text


def _moment(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        found = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidRequest(f"`{name}` must be a moment with its time zone, such as 2027-01-31T00:00:00Z.")
    return microseconds(found)


def _shown(event: Event) -> TrailEvent:
    try:
        at, details = moment(event.at), msgspec.json.decode(event.details, type=dict[str, Any])
    except (msgspec.MsgspecError, OverflowError, TypeError):
        raise VaultDamaged("An event of the audit trail was changed by another program than this server.") from None
    return TrailEvent(
        id=event.id,
        at=at,
        actor=event.actor_id,
        token=event.token_id,
        account=event.account_id,
        action=event.action,
        object=event.object,
        outcome=event.outcome,
        request_id=event.request_id,
        details=details,
    )
