"""Where the master key comes from: a keyring file, the environment, a passphrase, or a command."""

import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mesh_server.errors import StartupError
from mesh_server.vault.crypto import MasterKeys, Stretching, read_master_key_file, read_master_keys, stretch

#: Seconds that a command may take to print the key.
COMMAND_S = 10.0
_LEAST_PASSPHRASE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKeySource:
    """The one place that the master key comes from. `repr` shows no secret.

    Attributes:
        file: the keyring file; used where nothing else is given.
        text: the key itself, as the environment gives it; an earlier one may follow it after a space.
        passphrase: to be stretched to a key with what the database holds for that.
        command: prints the keyring; run without a shell.
    """

    file: Path
    text: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    command: str | None = field(default=None, repr=False)

    @classmethod
    def choose(
        cls, default: Path, *, file: str | None, text: str | None, passphrase: str | None, command: str | None
    ) -> Self:
        """Return the one source that is given; the default file where none is.

        Raises:
            StartupError: if there are several, naming them.
        """
        given = {
            "MESH_MASTER_KEY": text,
            "MESH_MASTER_KEY_FILE": file,
            "MESH_MASTER_KEY_PASSPHRASE": passphrase,
            "MESH_MASTER_KEY_COMMAND": command,
        }
        names = [name for name, value in given.items() if value]
        if len(names) > 1:
            raise StartupError(f"The master key comes from {' and from '.join(names)}: keep one of them.")
        return cls(
            file=Path(file) if file else default, text=text or None, passphrase=passphrase or None, command=command
        )

    @property
    def is_file(self) -> bool:
        """Whether the key is in the keyring file and nowhere else."""
        return self.text is None and self.passphrase is None and self.command is None

    def read(self) -> MasterKeys | None:
        """Return the keys; None where the database is needed to make one from the passphrase.

        Raises:
            StartupError: one sentence that names the source and never shows any of the key.
        """
        if self.passphrase is not None:
            if len(self.passphrase) < _LEAST_PASSPHRASE:
                raise StartupError(f"MESH_MASTER_KEY_PASSPHRASE is shorter than {_LEAST_PASSPHRASE} characters.")
            return None
        if self.text is not None:
            return read_master_keys(self.text, "MESH_MASTER_KEY")
        if self.command is not None:
            return read_master_keys(_run(self.command), "the output of MESH_MASTER_KEY_COMMAND")
        return read_master_key_file(self.file)

    def stretched(self, how: Stretching) -> MasterKeys:
        """Return the key that the passphrase becomes."""
        return MasterKeys([stretch(self.passphrase or "", how)])

    def state(self) -> tuple[int, int, int] | None:
        """Return what changes when the keyring file is replaced; None where there is no file to look at."""
        if not self.is_file:
            return None
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _run(command: str) -> str:
    """Return what a command prints; its stderr goes to ours, for it says why it failed."""
    try:
        words = command if os.name == "nt" else shlex.split(command)  # Windows starts programs by one line
        done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise StartupError(f"MESH_MASTER_KEY_COMMAND printed no master key within {COMMAND_S:.0f} s.") from None
    except (OSError, ValueError, IndexError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no command line"
        raise StartupError(f"MESH_MASTER_KEY_COMMAND can't be run: {reason}.") from None
    if done.returncode:
        raise StartupError(f"MESH_MASTER_KEY_COMMAND ended with status {done.returncode}: no master key.")
    try:
        return done.stdout.decode("ascii")
    except UnicodeDecodeError:
        raise StartupError("MESH_MASTER_KEY_COMMAND printed something that is no master key.") from None
