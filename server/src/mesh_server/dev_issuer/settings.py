"""What the dev issuer is, and how long what it hands out lives."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from mesh_server.accounts.oidc.models import Flow
from mesh_server.errors import StartupError

#: Where it is on the dev server.
PATH = "/dev-issuer"
CLIENT_ID = "mesh-dev"
AUDIENCE = "mesh"

_DAY_S = 86_400.0
_KNOBS = {
    "token_life_s": "MESH_DEV_ISSUER_TOKEN_LIFE",
    "refresh_life_s": "MESH_DEV_ISSUER_REFRESH_LIFE",
    "refresh_overlap_s": "MESH_DEV_ISSUER_REFRESH_OVERLAP",
    "device_life_s": "MESH_DEV_ISSUER_DEVICE_LIFE",
    "interval_s": "MESH_DEV_ISSUER_INTERVAL",
    "key_life_s": "MESH_DEV_ISSUER_KEY_LIFE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DevIssuerSettings:
    """The dev issuer's settings. Times in seconds.

    Attributes:
        url: the `iss` of its tokens.
        token_life_s: of an access token and an ID token.
        refresh_life_s: of a login, counted anew with each refresh.
        refresh_overlap_s: how long the refresh token before the newest is still taken, for answers that got lost.
        device_life_s: of a device code.
        interval_s: least time between two polls of a device.
        code_life_s: of an authorization code (RFC 6749, section 4.1.2, allows ten minutes at most).
        key_life_s: after which a new key signs; the old one is published for as long as its tokens live.
        flows: how clients are told to log in, out of `device` and `browser`.
    """

    url: str
    token_life_s: float = 3600.0
    refresh_life_s: float = 30 * _DAY_S
    refresh_overlap_s: float = 30.0
    device_life_s: float = 900.0
    interval_s: float = 5.0
    code_life_s: float = 60.0
    key_life_s: float = 30 * _DAY_S
    flows: tuple[Flow, ...] = ("device", "browser")


def load(url: str, environment: Mapping[str, str]) -> DevIssuerSettings:
    """Return the settings for an issuer at this address.

    Raises:
        StartupError: naming the variable that is not a number of seconds, or names another flow.
    """
    given: dict[str, float] = {}
    for name, variable in _KNOBS.items():
        text = environment.get(variable)
        if not text:
            continue
        if not re.fullmatch(r"\d{1,9}(\.\d{1,3})?", text) or (float(text) < 1 and name != "refresh_overlap_s"):
            raise StartupError(f"{variable} must be a number of seconds, 1 or more, not {text!r}.")
        given[name] = float(text)
    named = tuple(flow.strip() for flow in environment.get("MESH_DEV_ISSUER_FLOWS", "device,browser").split(","))
    flows: tuple[Flow, ...] = tuple(flow for flow in get_args(Flow) if flow in named)
    if not flows or len(flows) != len(named):
        raise StartupError('MESH_DEV_ISSUER_FLOWS must be "device", "browser" or "device,browser".')
    return DevIssuerSettings(url=url, flows=flows, **given)
