"""The messages of the proofs as JSON bodies: both sides read and write them by these types.

Byte strings are base64url without padding, canonical: one text for each byte string, and no other is read. A server
refuses members that it does not know, a client ignores them.
"""

import base64
import binascii
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from mesh_protocol.group import DecodingError
from mesh_protocol.quiet import Quiet

#: Largest body of a request in bytes.
MAX_MESSAGE_BYTES = 16 * 1024
ID_BYTES = 16

Id = Annotated[str, Meta(min_length=22, max_length=22, description="16 bytes in base64url")]
Bytes32 = Annotated[str, Meta(min_length=43, max_length=43, description="32 bytes in base64url")]
ElementText = Annotated[str, Meta(min_length=44, max_length=44, description="a P-256 point, 33 bytes in base64url")]
KsfText = Annotated[str, Meta(min_length=14, max_length=14, description="10 bytes in base64url")]
ProofText = Annotated[str, Meta(min_length=87, max_length=87, description="65 bytes in base64url")]
RecordText = Annotated[str, Meta(min_length=172, max_length=172, description="129 bytes in base64url")]
ResponseText = Annotated[str, Meta(min_length=216, max_length=216, description="162 bytes in base64url")]


class _Request(Quiet, msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True):
    """A body that a server reads. `repr` shows nothing."""


class StartEnrollment(_Request):
    """The blinded value of a key that is to be enrolled."""

    suite: str
    server_id: str
    key_name: str
    blinded: ElementText
    user_id: str | None = None
    overwrite: bool = False

    __repr__ = _Request.__repr__


class FinishEnrollment(_Request):
    """The record of a value, and the proof that its maker knows the private key of it."""

    enrollment_id: Id
    ksf: KsfText
    record: RecordText
    proof: ProofText

    __repr__ = _Request.__repr__


class AskChallenge(_Request):
    """The blinded value of a key that is to be verified."""

    suite: str
    server_id: str
    key_name: str
    blinded: ElementText
    user_id: str | None = None

    __repr__ = _Request.__repr__


class SubmitProof(_Request):
    """The proof that answers a challenge."""

    challenge_id: Id
    proof: ProofText

    __repr__ = _Request.__repr__


class EnrollmentStarted(msgspec.Struct, rename="camel", kw_only=True):
    """What a client needs to make the record."""

    enrollment_id: Id
    evaluated: ElementText
    server_public_key: ElementText
    challenge: Bytes32
    record_version: int
    expires_at: datetime
    success: bool = True


class Enrolled(msgspec.Struct, rename="camel", kw_only=True):
    """That the record is stored, and as which version."""

    record_version: int
    created_at: datetime
    success: bool = True


class Challenge(msgspec.Struct, rename="camel", kw_only=True):
    """What a client needs to prove that it has the value."""

    challenge_id: Id
    challenge: Bytes32
    ksf: KsfText
    credential_response: ResponseText
    expires_at: datetime
    success: bool = True


class Verified(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Whether the proof is right; where it is not, no reason is given.

    Attributes:
        reenroll: the record should be enrolled again: its seed or its parameters are of an earlier time.
    """

    verified: bool
    reenroll: bool = False
    success: bool = msgspec.field(default_factory=lambda: True)  # a default from a function is written, never omitted


def to_text(data: bytes) -> str:
    """Return bytes in base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_text(text: str, length: int) -> bytes:
    """Return the bytes of a text that is canonical base64url of exactly so many.

    Raises:
        DecodingError: if it is not.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != length or to_text(data) != text:
        raise DecodingError(f"this is not canonical base64url of {length} bytes")
    return data
