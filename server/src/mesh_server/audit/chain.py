"""How the links of a chain and its checkpoints are computed; pure, so that `verify` and the writer can't differ.

    genesis     = HMAC(k,  fields("MESH-AUDIT-V01/chain", chain))
    hash[n]     = HMAC(k,  fields("MESH-AUDIT-V01/row", hash[n-1], chain, n, every field of the event))
    mac[number] = HMAC(k', fields("MESH-AUDIT-V01/checkpoint", mac[number-1], number, chain, seq, head, at))
    mac of a cut = HMAC(k', fields("MESH-AUDIT-V01/cut", chain, seq, hash[seq], at))

HMAC-SHA-256 under keys derived from the server's root key, which is in the database only wrapped under the master key:
who can write to the database can't compute a link.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from mesh_protocol.transcript import le
from mesh_server.audit.models import Event

KeyedHash = Callable[[bytes], bytes]
Field = str | int | bytes | None

#: What a stored value of a type that the server never writes leads to.
WRONG_TYPES = (TypeError, ValueError, OverflowError)
#: What the first checkpoint follows.
NO_MAC = bytes(32)

#: What stands before a field, by its type and its length: nearly all are short, and each link has twenty.
_SHORT = 256
_HEADS = tuple(tuple(bytes((kind,)) + le(size, 4) for size in range(_SHORT)) for kind in range(4))

_of_event = attrgetter(*Event.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a chain stood at a moment, signed; checkpoints form a chain of their own by their numbers."""

    number: int
    chain: str
    seq: int
    head: bytes
    at: int
    prev_mac: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """Up to where a chain was removed because of its age, signed: what is left goes on behind `seq` and `hash`.

    Attributes:
        chain: its name; `-` for the checkpoints, whose `seq` is a number and whose `hash` is a signature.
        at: when, in microseconds since 1970.
    """

    chain: str
    seq: int
    hash: bytes
    at: int
    mac: bytes


def fields(*values: Field) -> bytes:
    """Return values as bytes from which they can be told again: each behind its type and its length.

    Raises:
        TypeError: for a value of another type.
    """
    parts: list[bytes] = []
    for value in values:
        if isinstance(value, str):
            kind, data = 1, value.encode()
        elif value is None:
            parts.append(b"\x00")
            continue
        elif isinstance(value, int):
            kind, data = 2, b"%d" % value
        elif isinstance(value, bytes):
            kind, data = 3, value
        else:
            raise TypeError(f"a {type(value).__name__} has no place in a chain")
        size = len(data)
        parts.append(_HEADS[kind][size] if size < _SHORT else bytes((kind,)) + le(size, 4))
        parts.append(data)
    return b"".join(parts)


def genesis(keyed_hash: KeyedHash, chain: str) -> bytes:
    """Return what the first link of a chain follows."""
    return keyed_hash(fields("MESH-AUDIT-V01/chain", chain))


def content(event: Event) -> bytes:
    """Return an event as bytes, without its place.

    Raises:
        TypeError, UnicodeEncodeError: if it holds what has no place in a chain.
    """
    return fields(*_of_event(event))


def link(keyed_hash: KeyedHash, previous: bytes, chain: str, seq: int, event: bytes) -> bytes:
    """Return the hash of an event, as `content` returns it, at its place in a chain."""
    return keyed_hash(fields("MESH-AUDIT-V01/row", previous, chain, seq) + event)


def sign(
    keyed_hash: KeyedHash, *, number: int, chain: str, seq: int, head: bytes, at: int, prev_mac: bytes
) -> Checkpoint:
    """Return a checkpoint with its signature."""
    signed = fields("MESH-AUDIT-V01/checkpoint", prev_mac, number, chain, seq, head, at)
    return Checkpoint(number, chain, seq, head, at, prev_mac, keyed_hash(signed))


def sign_cut(keyed_hash: KeyedHash, chain: str, seq: int, hash_: bytes, at: int) -> Cut:
    """Return a cut with its signature."""
    return Cut(chain, seq, hash_, at, keyed_hash(fields("MESH-AUDIT-V01/cut", chain, seq, hash_, at)))
