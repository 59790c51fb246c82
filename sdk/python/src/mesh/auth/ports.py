"""Which ports a browser may come back to."""

from collections.abc import Mapping, Sequence

#: Ports whose callback addresses an issuer is told: 45678 to 45687.
FIRST_PORT, PORTS = 45678, 10


def callback_ports(env: Mapping[str, str], port: int | None = None) -> Sequence[int]:
    """Return the ports to try: the one that was named, or ten from AUTH0_CALLBACK_PORT or 45678 on.

    Raises:
        ValueError: if the variable is no port.
    """
    if port is not None:
        return [port]
    text = env.get("AUTH0_CALLBACK_PORT") or str(FIRST_PORT)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("AUTH0_CALLBACK_PORT must be a port, from 1 to 65535.")
    return range(int(text), min(int(text) + PORTS, 65536))
