"""Addresses: which may stand in the configuration, which reach this machine only, which count as one caller's."""

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from mesh_server.errors import StartupError


def check_url(url: str, setting: str) -> None:
    """Refuse what is not an http(s) address, or carries a credential.

    Raises:
        StartupError: naming the setting.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise StartupError(f"{setting} must be an http:// or https:// address.")
    if parts.username or parts.password:
        raise StartupError(f"{setting} must not carry a user name or password: give the key as a key.")


def host_of(url: str) -> str:
    """Return the lower-case host of a URL as a Host header has it: IPv6 in brackets, no port."""
    host = (urlsplit(url).hostname or "").lower()
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def network_of(address: str) -> str:
    """Return what counts as one caller's address: of IPv6 the /64, for whoever has one address there has them all.

    Empty for what is no address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address) or parsed.is_loopback:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(IPv6Address(int(parsed) >> 64 << 64))
