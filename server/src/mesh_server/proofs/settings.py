"""The settings of the proofs: how often a value may be tried."""

import re
from collections.abc import Callable

from mesh_server.errors import StartupError
from mesh_server.proofs.models import Rate, Rates


def rates(setting: Callable[[str], str | None]) -> Rates:
    """Return the limits.

    Args:
        setting: returns the text of a setting by its name in the file, None where it is not set.

    Raises:
        StartupError: naming the setting that is none.
    """
    usual = Rates()
    return Rates(
        _rate(setting, "zkp_record_limit", "MESH_ZKP_RECORD_LIMIT", usual.record),
        _rate(setting, "zkp_user_limit", "MESH_ZKP_USER_LIMIT", usual.user),
        _rate(setting, "zkp_address_limit", "MESH_ZKP_ADDRESS_LIMIT", usual.address),
    )


def _rate(setting: Callable[[str], str | None], name: str, shown: str, usual: Rate) -> Rate:
    text = setting(name)
    if text is None:
        return usual
    found = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(\d{1,7})\s*", text)
    if not found or not int(found[1]) or not int(found[2]):
        raise StartupError(f"{shown} must be how many an hour and how many at once, such as 10/20, not {text!r}.")
    return Rate(int(found[1]), int(found[2]))
