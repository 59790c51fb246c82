"""MESH-ZKP-V01: proving possession of an enrolled value without revealing it. The steps are those of SPEC.md.

Both sides build what they hash from what they know themselves; nothing of it is taken from the other side but group
elements, nonces and the parameters of the key stretching function.
"""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from mesh_protocol import group, opaque, oprf, proof
from mesh_protocol.group import DecodingError
from mesh_protocol.ksf import Ksf
from mesh_protocol.transcript import le, lp

SUITE = "MZ1-P256"
CHALLENGE_BYTES = ROOT_BYTES = 32
#: Seconds that a challenge, and an enrolment once begun, can be answered.
LIFETIME_S = 120

#: Most bytes of UTF-8; each has at least one.
MAX_SERVER_ID_BYTES, MAX_TENANT_BYTES, MAX_USER_BYTES, MAX_NAME_BYTES = 255, 128, 256, 256

_DOMAIN = b"MESH-ZKP-V01"
_TAG = "MESH-ZKP-V01-0001-DSFS-with-sigma-proofs_Shake128_P256/"
_NAMESPACE = "\x1f"


# --- step 1: who proves what to whom ---


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose value of which name, at which server; all UTF-8, exactly as given.

    Attributes:
        server_id: the server's identity, which a client has from its own configuration.
        tenant: the account's tenant.
        user: the account's id, with a namespace behind it where there is one (`user_of`).
        key_name: the value's name.

    Raises:
        ValueError: if one is empty, too long or not Unicode.
    """

    server_id: str
    tenant: str
    user: str
    key_name: str

    def __post_init__(self) -> None:
        _check(self.server_id, "the server's identity", MAX_SERVER_ID_BYTES)
        _check(self.tenant, "the tenant", MAX_TENANT_BYTES)
        _check(self.user, "the account's id with its namespace", MAX_USER_BYTES)
        _check(self.key_name, "the key's name", MAX_NAME_BYTES)

    @property
    def server_identity(self) -> bytes:
        """SID."""
        return self.server_id.encode()

    @property
    def client_identity(self) -> bytes:
        """CID = LP(tenant) || LP(user) || LP(key name)."""
        return b"".join(lp(part.encode()) for part in (self.tenant, self.user, self.key_name))

    @property
    def record_id(self) -> bytes:
        """The 32 bytes by which a server finds the record, whatever its version."""
        return hashlib.sha256(lp(_DOMAIN + b"/record-id") + lp(self.client_identity)).digest()

    def credential_identifier(self, version: int) -> bytes:
        """CRED_ID, 32 bytes, of one version of the record."""
        return hashlib.sha256(lp(_DOMAIN + b"/cred-id") + lp(self.client_identity) + le(version, 4)).digest()

    def oprf_input(self, value: bytes) -> bytes:
        """OPRF_IN, 64 bytes, of a value."""
        parts = (_DOMAIN + b"/value", self.server_identity, self.client_identity, value)
        return hashlib.sha512(b"".join(map(lp, parts))).digest()


def user_of(account_id: str, namespace: str) -> str:
    """Return the user of a subject: the account, and the namespace inside it where one is named."""
    return account_id + _NAMESPACE + namespace if namespace else account_id


def bind_of(credential: bytes) -> bytes:
    """Return BIND: what ties a proof to the login that asked for its challenge."""
    return hashlib.sha256(credential).digest()


# --- steps 8 and 9: what a proof is for ---


def verify_digest(
    subject: Subject, ksf: bytes, blinded: bytes, response: bytes, challenge: bytes, bind: bytes
) -> bytes:
    """Return SHA-256(CTX_verify)."""
    return _digest(b"verify", subject, ksf, blinded, response, challenge, bind)


def enroll_digest(
    subject: Subject, ksf: bytes, blinded: bytes, answered: bytes, record: bytes, challenge: bytes, bind: bytes
) -> bytes:
    """Return SHA-256(CTX_enroll); `answered` is the evaluation and the server's public key."""
    return _digest(b"enroll", subject, ksf, blinded, answered, record, challenge, bind)


def _digest(purpose: bytes, subject: Subject, *parts: bytes) -> bytes:
    everything = (purpose, subject.server_identity, subject.client_identity, *parts)
    return hashlib.sha256(b"".join(map(lp, everything))).digest()


def tag_of(digest: bytes) -> bytes:
    """Return TAG of a context's digest."""
    return (_TAG + digest.hex()).encode()


# --- the client ---


@dataclass(frozen=True, slots=True)
class Begun:
    """A client's flow after step 2. `repr` shows nothing of the value.

    Attributes:
        subject: whose value.
        blinded: what to send, 33 bytes.
    """

    subject: Subject
    blinded: bytes = field(repr=False)
    _input: bytes = field(repr=False)
    _blind: bytes = field(repr=False)

    def secret(self, evaluated: bytes, ksf: Ksf) -> bytes:
        """Return the randomized password (steps 4 and 5); takes the time of the key stretching function.

        Raises:
            DecodingError: if what came is no element.
        """
        output = oprf.finalize(self._input, self._blind, evaluated)
        return opaque.randomized_password(output, ksf.stretch(output))


def begin(subject: Subject, value: bytes, entropy: bytes) -> Begun:
    """Blind a value (step 2).

    Args:
        subject: whose.
        value: what is to be enrolled or proven, not empty.
        entropy: 48 random bytes.
    """
    oprf_input = subject.oprf_input(value)
    made = oprf.blind(oprf_input, oprf.random_scalar(entropy))
    return Begun(subject, made.element, oprf_input, made.scalar)


def enroll(
    begun: Begun,
    ksf: Ksf,
    evaluated: bytes,
    server_public_key: bytes,
    challenge: bytes,
    bind: bytes,
    entropy: bytes,
) -> tuple[bytes, bytes]:
    """Return record and proof for the end of an enrolment (steps 4 to 6, 8 and 9).

    Args:
        begun: the flow.
        ksf: the client's choice.
        evaluated: 33 bytes, from the server.
        server_public_key: 33 bytes, from the server.
        challenge: 32 bytes, from the server.
        bind: of the login that began the flow.
        entropy: 64 random bytes.

    Raises:
        DecodingError: if something from the server is not what it must be.
    """
    _length(challenge, CHALLENGE_BYTES)
    _length(entropy, opaque.NONCE_BYTES + proof.NONCE_ENTROPY_BYTES)
    group.decode_element(server_public_key)
    subject = begun.subject
    made, credential = opaque.store(
        begun.secret(evaluated, ksf),
        entropy[: opaque.NONCE_BYTES],
        server_public_key,
        subject.server_identity,
        subject.client_identity,
    )
    record = made.encode()
    digest = enroll_digest(subject, ksf.encode(), begun.blinded, evaluated + server_public_key, record, challenge, bind)
    nonce_entropy = entropy[opaque.NONCE_BYTES :]
    return record, proof.prove(credential.private_key, made.public_key, tag_of(digest), nonce_entropy)


def answer(begun: Begun, ksf: Ksf, response: bytes, challenge: bytes, bind: bytes, entropy: bytes) -> bytes | None:
    """Return the proof that answers a challenge; None where the value is another one: then nothing is to be sent.

    Args:
        begun: the flow.
        ksf: as the server says; the caller has checked that it is acceptable.
        response: the credential response, 162 bytes.
        challenge: 32 bytes.
        bind: of the login that asked for the challenge.
        entropy: 32 random bytes.

    Raises:
        DecodingError: if something from the server is not what it must be.
    """
    _length(challenge, CHALLENGE_BYTES)
    _length(entropy, proof.NONCE_ENTROPY_BYTES)
    _length(response, opaque.RESPONSE_BYTES)
    subject = begun.subject
    secret = begun.secret(response[: group.ELEMENT_BYTES], ksf)
    credential = opaque.recover(secret, response, subject.server_identity, subject.client_identity)
    if credential is None:
        return None
    digest = verify_digest(subject, ksf.encode(), begun.blinded, response, challenge, bind)
    return proof.prove(credential.private_key, credential.public_key, tag_of(digest), entropy)


# --- the server ---


@dataclass(frozen=True, slots=True)
class Seeds:
    """What a server has for one tenant, all of it derived from its root (step 3). `repr` shows nothing.

    Attributes:
        oprf_seed: 32 bytes.
        server_public_key: 33 bytes.
        fake: the record that stands for every one that does not exist.
    """

    oprf_seed: bytes = field(repr=False)
    server_public_key: bytes = field(repr=False)
    fake: opaque.Record = field(repr=False)

    @classmethod
    def derive(cls, root: bytes, tenant: str) -> "Seeds":
        """Return the seeds of a tenant: the same in every process that has the root."""

        def part(label: bytes) -> bytes:
            return _of_root(root, label + lp(tenant.encode()))

        fake = opaque.Record(
            group.multiply_base(opaque.key_of(part(b"fake-key"))),
            part(b"fake-masking-key"),
            bytes(opaque.ENVELOPE_BYTES),
        )
        return cls(part(b"oprf-seed"), group.multiply_base(opaque.key_of(part(b"server-key"))), fake)

    def evaluate(self, subject: Subject, version: int, blinded: bytes) -> bytes:
        """Return the evaluation of a blinded value under the key of one version of its record.

        Raises:
            DecodingError: if what came is no element.
        """
        return oprf.evaluate(opaque.oprf_key(self.oprf_seed, subject.credential_identifier(version)), blinded)

    def respond(
        self, record: opaque.Record, subject: Subject, version: int, blinded: bytes, masking_nonce: bytes
    ) -> bytes:
        """Return the 162 bytes of the credential response (step 7).

        Raises:
            DecodingError: if what came is no element.
        """
        return opaque.respond(record, self.server_public_key, self.evaluate(subject, version, blinded), masking_nonce)


def root_id(root: bytes) -> str:
    """Return a name of a root, 16 hex digits, that tells nothing of it."""
    return _of_root(root, b"root-id")[:8].hex()


def _of_root(root: bytes, info: bytes) -> bytes:
    key = HKDF.extract(SHA512(), _DOMAIN + b"/root", root)
    return HKDFExpand(SHA512(), 32, _DOMAIN + b"/" + info).derive(key)


def _check(text: str, what: str, most: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not valid Unicode: it holds half of a surrogate pair") from None
    if not 1 <= size <= most:
        raise ValueError(f"{what} has {size} bytes; it must have 1 to {most}")


def _length(data: bytes, wanted: int) -> None:
    if len(data) != wanted:
        raise DecodingError(f"there are {len(data)} bytes where there must be {wanted}")
