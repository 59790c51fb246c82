"""Registration and credential retrieval of OPAQUE (RFC 9807), without its key exchange.

Everything up to the envelope is as the RFC has it; what follows there, 3DH, has a proof of knowledge in its place
(proof.py, zkp.py).
"""

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from mesh_protocol import group, oprf
from mesh_protocol.group import ELEMENT_BYTES

#: Bytes of a nonce, of a tag, of the envelope (nonce and tag) and of a seed.
NONCE_BYTES, TAG_BYTES = 32, 32
ENVELOPE_BYTES = NONCE_BYTES + TAG_BYTES
MASKING_KEY_BYTES = SEED_BYTES = 32
#: What the server stores: public key, masking key, envelope.
RECORD_BYTES = ELEMENT_BYTES + MASKING_KEY_BYTES + ENVELOPE_BYTES
#: What the server answers: evaluation, masking nonce, masked server key and envelope.
RESPONSE_BYTES = ELEMENT_BYTES + NONCE_BYTES + ELEMENT_BYTES + ENVELOPE_BYTES

_PAD_BYTES = ELEMENT_BYTES + ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class Record:
    """What the server stores of an enrolment. `repr` shows nothing."""

    public_key: bytes = field(repr=False)
    masking_key: bytes = field(repr=False)
    envelope: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return its 129 bytes."""
        return self.public_key + self.masking_key + self.envelope

    @classmethod
    def decode(cls, data: bytes) -> "Record":
        """Return the record of 129 bytes.

        Raises:
            DecodingError: if the length is wrong or the public key is no element.
        """
        if len(data) != RECORD_BYTES:
            raise group.DecodingError(f"a record has {RECORD_BYTES} bytes")
        record = cls.split(data)
        group.decode_element(record.public_key)
        return record

    @classmethod
    def split(cls, data: bytes) -> "Record":
        """Return the parts of a record that was decoded before it was stored; verifying looks at its key once more."""
        masking_key_ends = ELEMENT_BYTES + MASKING_KEY_BYTES
        return cls(data[:ELEMENT_BYTES], data[ELEMENT_BYTES:masking_key_ends], data[masking_key_ends:])


@dataclass(frozen=True, slots=True)
class Credential:
    """What the client makes of its input. `repr` shows nothing.

    Attributes:
        private_key: x, a scalar.
        export_key: 32 bytes that only the client ever has.
    """

    private_key: bytes = field(repr=False)
    export_key: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """X = x · G, 33 bytes."""
        return group.multiply_base(self.private_key)


def expand(key: bytes, info: bytes, length: int = 32) -> bytes:
    """Return HKDF-Expand with SHA-256 (RFC 5869, section 2.3)."""
    return HKDFExpand(SHA256(), length, info).derive(key)


def oprf_key(oprf_seed: bytes, credential_identifier: bytes) -> bytes:
    """Return the OPRF key of one record (RFC 9807, section 5.2.2: CreateRegistrationResponse, steps 1 and 2)."""
    return oprf.derive_key(expand(oprf_seed, credential_identifier + b"OprfKey"), b"OPAQUE-DeriveKeyPair")


def key_of(seed: bytes) -> bytes:
    """Return the private key of a seed (RFC 9807, section 2.1: DeriveDiffieHellmanKeyPair)."""
    return oprf.derive_key(seed, b"OPAQUE-DeriveDiffieHellmanKeyPair")


def randomized_password(output: bytes, stretched: bytes) -> bytes:
    """Return the secret that everything of a record is derived from (section 5.2.3, steps 1 to 3)."""
    return HKDF.extract(SHA256(), b"", output + stretched)


def store(
    secret: bytes, nonce: bytes, server_public_key: bytes, server_identity: bytes, client_identity: bytes
) -> tuple[Record, Credential]:
    """Return what the server stores and what the client may keep (section 4.1.2: Store).

    Args:
        secret: the randomized password.
        nonce: 32 random bytes.
        server_public_key: 33 bytes.
        server_identity: up to 65,535 bytes.
        client_identity: up to 65,535 bytes.
    """
    credential, auth_key = _credential(secret, nonce)
    tag = _auth_tag(auth_key, nonce, server_public_key, server_identity, client_identity)
    record = Record(credential.public_key, expand(secret, b"MaskingKey"), nonce + tag)
    return record, credential


def respond(record: Record, server_public_key: bytes, evaluated: bytes, masking_nonce: bytes) -> bytes:
    """Return the 162 bytes of a credential response (section 6.3.2.2: CreateCredentialResponse).

    Args:
        record: the stored one, or the fake one of a key that is not enrolled.
        server_public_key: 33 bytes.
        evaluated: the OPRF's evaluation, 33 bytes.
        masking_nonce: 32 random bytes.
    """
    masked = _xor(_pad(record.masking_key, masking_nonce), server_public_key + record.envelope)
    return evaluated + masking_nonce + masked


def recover(secret: bytes, response: bytes, server_identity: bytes, client_identity: bytes) -> Credential | None:
    """Return the credential of a response; None where the value, the server or the record is another (section 4.1.3).

    Args:
        secret: the randomized password.
        response: 162 bytes.
        server_identity: as at enrolment.
        client_identity: as at enrolment.
    """
    masking_nonce = response[ELEMENT_BYTES : ELEMENT_BYTES + NONCE_BYTES]
    pad = _pad(expand(secret, b"MaskingKey"), masking_nonce)
    clear = _xor(pad, response[ELEMENT_BYTES + NONCE_BYTES :])
    server_public_key, envelope = clear[:ELEMENT_BYTES], clear[ELEMENT_BYTES:]
    nonce, tag = envelope[:NONCE_BYTES], envelope[NONCE_BYTES:]
    credential, auth_key = _credential(secret, nonce)
    expected = _auth_tag(auth_key, nonce, server_public_key, server_identity, client_identity)
    return credential if hmac.compare_digest(tag, expected) else None


def _credential(secret: bytes, nonce: bytes) -> tuple[Credential, bytes]:
    private_key = key_of(expand(secret, nonce + b"PrivateKey"))
    return Credential(private_key, expand(secret, nonce + b"ExportKey")), expand(secret, nonce + b"AuthKey")


def _auth_tag(
    auth_key: bytes, nonce: bytes, server_key: bytes, server_identity: bytes, client_identity: bytes
) -> bytes:
    identities = b"".join(len(name).to_bytes(2) + name for name in (server_identity, client_identity))
    return hmac.digest(auth_key, nonce + server_key + identities, "sha256")


def _pad(masking_key: bytes, masking_nonce: bytes) -> bytes:
    return expand(masking_key, masking_nonce + b"CredentialResponsePad", _PAD_BYTES)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))
