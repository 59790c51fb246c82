"""The vault's cryptography: sealed blobs, derived keys, and the master key's file.

A sealed blob, version 1 of suite 1:

    "MSHE"(4) | version 01(1) | suite 01(1) | flags 0(2) | key_id(16) | msg_id(32, random) | commitment(32)
              | ciphertext | tag(16)                                        header = the first 24 bytes

    prk        = HKDF-Extract-SHA-512(salt = msg_id, ikm = the wrapping key)
    k_enc      = HKDF-Expand(prk, "MESH-VAULT-V01/encrypt" || header, 32)
    commitment = HKDF-Expand(prk, "MESH-VAULT-V01/commit" || header, 32)
    ciphertext || tag = AES-256-GCM(k_enc, nonce = 12 zero bytes, AAD)
    AAD        = LP("MESH-VAULT-V01") || header || LP(tenant) || LP(owner) || LP(object id)
                 || LE(version, 8) || LP(purpose)

Every message has an encryption key of its own, so the constant nonce never repeats under a key. AES-GCM alone does not
commit to its key: one ciphertext can be made to open under two. The commitment does, and it is compared, in constant
time, before anything is decrypted. The associated data ties a blob to its place: moved to another row it does not open.
"""

import hmac
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from mesh_protocol.transcript import le, lp
from mesh_server import private_file
from mesh_server.errors import StartupError, VaultDamaged

KEY_BYTES = 32

_DOMAIN = b"MESH-VAULT-V01"
_PREFIX = b"MSHE\x01\x01\x00\x00"
_HEADER_BYTES = 24
_MESSAGE_ID_BYTES = 32
_COMMITMENT_BYTES = 32
_TAG_BYTES = 16
_CIPHERTEXT_AT = _HEADER_BYTES + _MESSAGE_ID_BYTES + _COMMITMENT_BYTES
_ZERO_NONCE = bytes(12)
_WHAT = "master key"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a blob belongs; it opens nowhere else.

    Attributes:
        tenant: the tenant's id.
        owner: the owning account's id; empty for what belongs to the tenant itself.
        object_id: the id of the row that the blob is a column of.
        version: of that row, where it has versions; else 0.
        purpose: what the plaintext is.
    """

    tenant: str
    owner: str
    object_id: str
    version: int
    purpose: str


def random_key() -> bytes:
    """Return 32 bytes from the system's generator."""
    return os.urandom(KEY_BYTES)


def seal(wrapping_key: bytes, key_id: bytes, plaintext: bytes, place: Place) -> bytes:
    """Return the plaintext as a sealed blob.

    Args:
        wrapping_key: 32 bytes.
        key_id: 16 bytes that name the wrapping key.
        plaintext: any length.
        place: where the blob belongs.
    """
    header = _PREFIX + key_id
    if len(header) != _HEADER_BYTES or len(wrapping_key) != KEY_BYTES:
        raise ValueError("a wrapping key has 32 bytes and its id 16")
    message_id = os.urandom(_MESSAGE_ID_BYTES)
    encryption_key, commitment = _message_keys(wrapping_key, header, message_id)
    sealed = AESGCM(encryption_key).encrypt(_ZERO_NONCE, plaintext, _associated_data(header, place))
    return header + message_id + commitment + sealed


class Ready:
    """A sealed blob whose key is derived and whose commitment is checked: opened again for the cost of a decryption.

    It holds the key of this one message, neither the wrapping key nor the plaintext.
    """

    __slots__ = ("_associated_data", "_cipher", "_sealed")

    def __init__(self, cipher: AESGCM, sealed: bytes, associated_data: bytes) -> None:
        self._cipher = cipher
        self._sealed = sealed
        self._associated_data = associated_data

    def open(self) -> bytes:
        """Return the plaintext.

        Raises:
            VaultDamaged: if the blob or its place is not what it was sealed with.
        """
        try:
            return self._cipher.decrypt(_ZERO_NONCE, self._sealed, self._associated_data)
        except InvalidTag:
            raise VaultDamaged("A stored blob was changed or moved since it was sealed.") from None


def unseal(wrapping_key: bytes, blob: bytes, place: Place) -> bytes:
    """Return the plaintext of a sealed blob.

    Raises:
        VaultDamaged: if the blob, its place or the key is not what it was sealed with.
    """
    return make_ready(wrapping_key, blob, place).open()


def make_ready(wrapping_key: bytes, blob: bytes, place: Place) -> Ready:
    """Return a sealed blob ready to be opened.

    Raises:
        VaultDamaged: if it is none, or not of this key.
    """
    return ready(message_key(wrapping_key, blob), blob, place)


def message_key(wrapping_key: bytes, blob: bytes) -> bytes:
    """Return the key that one sealed blob is encrypted under, after its commitment to the wrapping key was compared.

    Raises:
        VaultDamaged: if it is no sealed blob, or was sealed under another key.
    """
    header = blob[:_HEADER_BYTES]
    if len(blob) < _CIPHERTEXT_AT + _TAG_BYTES or not header.startswith(_PREFIX):
        raise VaultDamaged("A stored blob is not in the vault's format.")
    message_id = blob[_HEADER_BYTES : _HEADER_BYTES + _MESSAGE_ID_BYTES]
    commitment = blob[_HEADER_BYTES + _MESSAGE_ID_BYTES : _CIPHERTEXT_AT]
    encryption_key, expected = _message_keys(wrapping_key, header, message_id)
    if not hmac.compare_digest(commitment, expected):
        raise VaultDamaged("A stored blob does not belong to the key that should open it.")
    return encryption_key


def ready(key: bytes, blob: bytes, place: Place) -> Ready:
    """Return a sealed blob ready to be opened, given the key that `message_key` returned for it."""
    return Ready(AESGCM(key), blob[_CIPHERTEXT_AT:], _associated_data(blob[:_HEADER_BYTES], place))


def key_id_of(blob: bytes) -> bytes:
    """Return the 16 bytes that name the key which a blob was sealed under; not authenticated."""
    return blob[len(_PREFIX) : _HEADER_BYTES]


#: One at a time: two that share OpenSSL's pool of threads, which runs the lanes, have been seen to wait for ever.
_stretching = threading.Lock()


@dataclass(frozen=True, slots=True)
class Stretching:
    """How a passphrase becomes a key: Argon2id (RFC 9106).

    Attributes:
        salt: 16 random bytes.
        memory_kib, iterations, lanes: its costs; 256 MiB, 3 and 4 take about half a second of one start.
    """

    salt: bytes
    memory_kib: int = 256 * 1024
    iterations: int = 3
    lanes: int = 4


def stretch(passphrase: str, how: Stretching) -> bytes:
    """Return the 32-byte key of a passphrase.

    Raises:
        StartupError: if the stored costs can't be used, as where somebody changed them.
    """
    try:
        with _stretching:
            return Argon2id(
                salt=how.salt, length=KEY_BYTES, iterations=how.iterations, lanes=how.lanes, memory_cost=how.memory_kib
            ).derive(passphrase.encode())
    except (ValueError, TypeError, OverflowError, MemoryError) as problem:
        raise StartupError("The database's parameters for the master key's passphrase can't be used.") from problem


def derive(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """Return a key for one purpose, derived from a uniformly random one (RFC 5869, expand only)."""
    return HKDFExpand(SHA512(), length, _DOMAIN + b"/derive/" + purpose.encode()).derive(key)


def mac(key: bytes, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA-256 of the data."""
    return hmac.digest(key, data, "sha256")


def equal(one: bytes, other: bytes) -> bool:
    """Compare in time that does not tell where two secrets differ."""
    return hmac.compare_digest(one, other)


def _message_keys(wrapping_key: bytes, header: bytes, message_id: bytes) -> tuple[bytes, bytes]:
    prk = HKDF.extract(SHA512(), message_id, wrapping_key)
    encryption_key = HKDFExpand(SHA512(), KEY_BYTES, _DOMAIN + b"/encrypt" + header).derive(prk)
    commitment = HKDFExpand(SHA512(), _COMMITMENT_BYTES, _DOMAIN + b"/commit" + header).derive(prk)
    return encryption_key, commitment


def _associated_data(header: bytes, place: Place) -> bytes:
    return b"".join(
        (
            lp(_DOMAIN),
            header,
            lp(place.tenant.encode()),
            lp(place.owner.encode()),
            lp(place.object_id.encode()),
            le(place.version, 8),
            lp(place.purpose.encode()),
        )
    )


# --- the master key and its file ---


class MasterKeys:
    """The key-encryption keys that this server was given: the current one first, then earlier ones."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {derive(key, "kek-id", 16): key for key in keys}
        self.current_id = next(iter(self._keys))

    def __repr__(self) -> str:
        """Return how many there are, and nothing of what they are."""
        return f"<MasterKeys: {len(self._keys)}>"

    @property
    def current(self) -> bytes:
        """The key that everything new is sealed under."""
        return self._keys[self.current_id]

    def get(self, key_id: bytes) -> bytes | None:
        """Return a key by its id."""
        return self._keys.get(key_id)

    @property
    def keys(self) -> list[bytes]:
        """The keys, the current one first."""
        return list(self._keys.values())

    @property
    def ids(self) -> list[bytes]:
        """The ids, the current one first."""
        return list(self._keys)


def read_master_keys(text: str, where: str) -> MasterKeys:
    """Return the master keys that a text holds, one in base64 a line, the current one first; `#` begins a comment.

    Raises:
        StartupError: one sentence that names where the text is from and never shows any of it.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    keys = [private_file.parse(word, where, _WHAT) for line in lines for word in line.split()]
    if not keys:
        raise StartupError(f"There is no master key in {where}; put the key back from your copy.")
    return MasterKeys(keys)


def read_master_key_file(path: Path) -> MasterKeys:
    """Return the master keys of a keyring file.

    Raises:
        StartupError: one sentence that names the file and never shows any of it.
    """
    missing = "put it back, set MESH_MASTER_KEY, or make one with `mesh-server init` where nothing is stored yet"
    return MasterKeys(private_file.read(path, _WHAT, missing=missing))


def put_master_key_first(path: Path) -> None:
    """Make a new master key and put it at the top of a keyring file, in one step: whoever reads sees either file.

    Raises:
        StartupError: if the file can't be read or written.
    """
    read_master_key_file(path)
    private_file.put_first(path, random_key(), _WHAT)


def create_master_key(path: Path) -> None:
    """Make a new master key in a file that only this user can read.

    Raises:
        StartupError: if the file is there already or can't be written.
    """
    comment = "Master key of a Mesh server. Without it nothing that is stored can be opened: keep a copy."
    private_file.create(path, random_key(), _WHAT, comment)
