"""The published clients' routes for the table of test_isolation.py: which of Mesh's own each is as good as."""

from dataclasses import dataclass

LOGIN = [("GET", "config"), ("POST", "get-auth-url"), ("POST", "exchange-token"), ("POST", "refresh-token")]
OLD_SCHEME = [
    ("POST", "storeKeyZKP"),
    ("GET", "getChallenge"),
    ("GET", "getCommitment"),
    ("POST", "verifyProof"),
]
CHATS = ["chat", "chat/completions", "completions", "complete"]
BOTH = ("/api/v1", "/v1/mesh")


@dataclass(frozen=True)
class Route:
    """What a route needs.

    Attributes:
        scope: that a token must have; None for any valid one, "public" for none.
        body: one that would be accepted.
        objects: the path's parameters that name something of Ann's, and what names nothing.
        action: what a grant must allow; None where a grant lets nobody in.
        moved: it is of those where a caller who is known is told neither 403 nor 404.
        query: parameters that have to be there.
    """

    scope: str | None = None
    body: object = None
    objects: tuple[dict, dict] | None = None
    action: str | None = None
    moved: bool = False
    query: str = ""

    @property
    def forbidden(self) -> int:
        return 400 if self.moved else 403

    @property
    def missing(self) -> int:
        return 400 if self.moved else 404


def legacy_routes(chat: dict) -> dict[tuple[str, str], Route]:
    """Return the routes, with a body that chat takes."""
    routes = {("POST", "/v1/mesh/users"): Route("public", {"id": "anybody"})}
    for prefix in ("/auth", "/v1/mesh/auth"):
        routes |= {(method, f"{prefix}/{name}"): Route("public") for method, name in LOGIN}
        routes |= {("GET", f"{prefix}/{name}"): Route() for name in ("profile", "validate")}
    for prefix in BOTH:
        routes |= {(method, f"{prefix}/{name}"): Route("public") for method, name in OLD_SCHEME}
        routes |= {
            ("POST", f"{prefix}/storeKey"): Route("keys:write", {"keyName": "anns", "keyValue": "x"}),
            ("GET", f"{prefix}/getKey"): Route("keys:read", query="?keyName=anns"),
            ("GET", f"{prefix}/listKeys"): Route("keys:read"),
            ("POST", f"{prefix}/api-keys"): Route(body={"name": "ci"}),
        }
    routes[("POST", "/api/v1/completions")] = Route("chat", chat, moved=True)
    routes |= {("POST", f"/v1/mesh/{name}"): Route("chat", chat, moved=True) for name in CHATS}
    routes |= {("GET", f"/v1/mesh/{name}"): Route("chat", moved=True) for name in ("usage", "models")}
    routes[("GET", "/v1/mesh/users/{id}/credits")] = Route("chat", moved=True)
    return routes
