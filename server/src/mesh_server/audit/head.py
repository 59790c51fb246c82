"""The newest checkpoint in a file beside the data folder: who puts an older database back forgets this one.

The file names its database by a hash under the server's root key and holds the checkpoint with its signature. It is
written to the path that was configured, or, where the folder of that can't be written, into the data folder.
"""

import base64
import binascii
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mesh_server.audit.chain import Checkpoint, KeyedHash, sign
from mesh_server.errors import StartupError


@dataclass(frozen=True, slots=True)
class KnownHead:
    """What a head file says.

    Attributes:
        genuine: whether its signature is this server's.
    """

    path: Path
    checkpoint: Checkpoint
    genuine: bool


class _Content(msgspec.Struct):
    database: str
    number: int
    chain: str
    seq: int
    head: str
    at: int
    prev_mac: str
    mac: str


class HeadFile:
    """Reads and writes the file.

    Args:
        paths: where it is, the best place first; the newest of those that are there counts.
        database_id: names the database that it belongs to.
        checkpoint_hash: the key of the signatures.
        equal: compares in constant time.
    """

    def __init__(
        self,
        paths: tuple[Path, ...],
        database_id: str,
        checkpoint_hash: KeyedHash,
        equal: Callable[[bytes, bytes], bool],
    ) -> None:
        self._paths = paths
        self._database_id = database_id
        self._hash = checkpoint_hash
        self._equal = equal

    def read(self) -> KnownHead | None:
        """Return the newest checkpoint of this database that a file names; None where there is none.

        Raises:
            StartupError: if a file is there and can't be read, or is no head file.
        """
        found = [head for path in self._paths if (head := self._read(path)) is not None]
        return max(found, key=lambda head: head.checkpoint.number, default=None)

    def write(self, checkpoint: Checkpoint) -> None:
        """Write the file whole or not at all.

        Raises:
            OSError: if none of the places can be written.
        """
        text = msgspec.json.format(
            msgspec.json.encode(
                _Content(
                    self._database_id,
                    checkpoint.number,
                    checkpoint.chain,
                    checkpoint.seq,
                    _text(checkpoint.head),
                    checkpoint.at,
                    _text(checkpoint.prev_mac),
                    _text(checkpoint.mac),
                )
            )
        )
        for index, path in enumerate(self._paths):
            try:
                _replace(path, text + b"\n")
            except OSError:
                if index == len(self._paths) - 1:
                    raise
            else:
                return

    def remove(self) -> None:
        """Take the files away."""
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> KnownHead | None:
        try:
            content = msgspec.json.decode(path.read_bytes(), type=_Content)
            checkpoint = Checkpoint(
                content.number,
                content.chain,
                content.seq,
                _bytes(content.head),
                content.at,
                _bytes(content.prev_mac),
                _bytes(content.mac),
            )
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise StartupError(f"The audit head file {path} can't be read: {problem.strerror}.") from problem
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error):
            raise StartupError(
                f"The audit head file {path} is damaged: put a copy back, or look at `mesh-server verify` "
                "and delete it if that finds nothing."
            ) from None
        if content.database != self._database_id:
            return None  # of a database that was here before
        expected = sign(
            self._hash,
            number=checkpoint.number,
            chain=checkpoint.chain,
            seq=checkpoint.seq,
            head=checkpoint.head,
            at=checkpoint.at,
            prev_mac=checkpoint.prev_mac,
        )
        return KnownHead(path, checkpoint, genuine=self._equal(expected.mac, checkpoint.mac))


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # a full disk, or Ctrl-C: no half file stays
        partial.unlink(missing_ok=True)
        raise


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
