"""Which certificates are trusted beside the system's."""

import os
from pathlib import Path

#: What `verify=` may be: the system's trust store, a file with further certificates to trust, or no check at all.
Verify = bool | str | os.PathLike[str]


def certificates(verify: Verify) -> bytes | None:
    """Return the certificates of a `verify=` that names a file; None where it names none.

    Raises:
        OSError: if the file can't be read.
        TypeError, ValueError: if it is neither a path nor a bool, or holds no certificate.
    """
    if isinstance(verify, bool):
        return None
    if not isinstance(verify, str | os.PathLike):
        raise TypeError(f"verify must be the path of a PEM file, or a bool, not {type(verify).__name__}")
    content = Path(verify).read_bytes()
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ValueError(f"verify: there is no certificate in {os.fspath(verify)}; it must be a PEM file")
    return content
