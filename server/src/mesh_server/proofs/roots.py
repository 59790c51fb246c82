"""The root of the proof seeds: in a file or the environment, never in the database or its backups.

A copy of the database alone tests no guess, because the seeds that the records depend on are not in it. The file has
one root a line, the current one first; records of an earlier one are still verified, and enrolled again under the
current one at their next success. Whoever loses the root loses nothing but the proofs: everyone enrols again.
"""

import os
from pathlib import Path
from typing import Self

from mesh_protocol.zkp import ROOT_BYTES, Seeds, root_id
from mesh_server import private_file

#: Tenants whose seeds are kept in memory.
_MOST_WARM = 1_000
_WHAT = "root of the proofs"


class Roots:
    """The roots that this server was given. `repr` shows nothing of them."""

    def __init__(self, roots: list[bytes]) -> None:
        self._roots = {root_id(root): root for root in roots}
        self.current = next(iter(self._roots))
        self._warm: dict[tuple[str, str], Seeds] = {}

    def __repr__(self) -> str:
        """Return how many there are."""
        return f"<Roots: {len(self._roots)}>"

    @classmethod
    def load(cls, text: str | None, path: Path) -> Self:
        """Return the roots.

        Args:
            text: one root in base64, as the environment gives it; None to read the file.
            path: a file with one base64 root a line; `#` begins a comment.

        Raises:
            StartupError: one sentence that never shows any of it.
        """
        if text is not None:
            return cls([private_file.parse(text, "MESH_ZKP_ROOT", _WHAT)])
        missing = "put it back from your copy, set MESH_ZKP_ROOT, or, where nobody enrolled yet, run `mesh-server init`"
        return cls(private_file.read(path, _WHAT, missing=missing))

    def seeds(self, tenant: str, named: str | None = None) -> Seeds | None:
        """Return a tenant's seeds under one of the roots, the current one by default; None if it is not there."""
        name = named or self.current
        found = self._warm.get((name, tenant))
        if found is None:
            root = self._roots.get(name)
            if root is None:
                return None
            if len(self._warm) >= _MOST_WARM:
                self._warm.clear()
            found = self._warm[name, tenant] = Seeds.derive(root, tenant)
        return found

    def current_seeds(self, tenant: str) -> Seeds:
        """Return a tenant's seeds under the current root."""
        found = self.seeds(tenant)
        if found is None:
            raise RuntimeError("the current root is always there")
        return found


def create_root(path: Path) -> None:
    """Make a new root in a file that only this user can read.

    Raises:
        StartupError: if the file is there already or can't be written.
    """
    comment = "Root of the proof seeds of a Mesh server. Keep a copy, but apart from the database's copies."
    private_file.create(path, os.urandom(ROOT_BYTES), _WHAT, comment)
