"""The key stretching function of a proof: what makes each guess at a value cost memory and time."""

from dataclasses import dataclass

from mesh_protocol.group import DecodingError
from mesh_protocol.transcript import le

KSF_BYTES = 10
IDENTITY, ARGON2ID = 0, 1

#: What a client runs because a server says so: KiB of memory, passes, lanes, and KiB · passes in all (4 GiB).
_MEMORY_KIB = range(8 * 1024, 1024 * 1024 + 1)
_PASSES = range(1, 10 + 1)
_LANES = range(1, 16 + 1)
_MOST_WORK = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ksf:
    """Which function, and what it costs.

    Attributes:
        kind: IDENTITY or ARGON2ID (version 0x13, 16 zero bytes as its salt: what goes in is a value of the record's own
            pseudorandom function already; RFC 9106).
        memory_kib: m, in KiB.
        passes: t.
        lanes: p.
    """

    kind: int = ARGON2ID
    memory_kib: int = 65_536
    passes: int = 3
    lanes: int = 4

    def encode(self) -> bytes:
        """Return its 10 bytes: id(1) || LE(m, 4) || LE(t, 4) || p(1)."""
        return bytes((self.kind,)) + le(self.memory_kib, 4) + le(self.passes, 4) + bytes((self.lanes,))

    @classmethod
    def decode(cls, data: bytes) -> "Ksf":
        """Return the function of 10 bytes, whether or not its cost is acceptable.

        Raises:
            DecodingError: if they name none.
        """
        if len(data) != KSF_BYTES or data[0] not in (IDENTITY, ARGON2ID):
            raise DecodingError("these are no parameters of a key stretching function")
        found = cls(data[0], int.from_bytes(data[1:5], "little"), int.from_bytes(data[5:9], "little"), data[9])
        if found.kind == IDENTITY and any(data[1:]):
            raise DecodingError("the identity function has no parameters")
        return found

    @property
    def acceptable(self) -> bool:
        """Whether its cost is within what a client runs at another's word and a server stores."""
        if self.kind == IDENTITY:
            return True
        return (
            self.memory_kib in _MEMORY_KIB
            and self.passes in _PASSES
            and self.lanes in _LANES
            and self.memory_kib * self.passes <= _MOST_WORK
        )

    def stretch(self, data: bytes) -> bytes:
        """Return 32 bytes after the time and in the memory that the parameters name."""
        if self.kind == IDENTITY:
            return data
        # Loaded only where something is stretched.
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415

        function = Argon2id(
            salt=bytes(16), length=32, iterations=self.passes, lanes=self.lanes, memory_cost=self.memory_kib
        )
        return function.derive(data)


DEFAULT = Ksf()
NONE = Ksf(IDENTITY, 0, 0, 0)
