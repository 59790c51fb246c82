"""The sealed blob: byte for byte as it is described, and opened by nothing but its own key in its own place."""

import base64
import hmac
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mesh_server.errors import StartupError, VaultDamaged
from mesh_server.vault import crypto

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.json"))
PLACE = crypto.Place(tenant="t", owner="o", object_id="k", version=1, purpose="value")
KEY, KEY_ID = bytes(range(32)), bytes(16)


@pytest.fixture(params=VECTORS, ids=lambda file: file.stem)
def vector(request):
    return json.loads(request.param.read_text())


def test_there_are_vectors():
    assert len(VECTORS) >= 3


def test_a_frozen_blob_opens(vector):
    opened = crypto.unseal(
        bytes.fromhex(vector["wrapping_key"]), bytes.fromhex(vector["blob"]), crypto.Place(**vector["place"])
    )
    assert opened.hex() == vector["plaintext"]


def test_sealing_gives_the_frozen_bytes(vector, monkeypatch):
    monkeypatch.setattr(os, "urandom", lambda size: bytes.fromhex(vector["message_id"])[:size])
    blob = crypto.seal(
        bytes.fromhex(vector["wrapping_key"]),
        bytes.fromhex(vector["key_id"]),
        bytes.fromhex(vector["plaintext"]),
        crypto.Place(**vector["place"]),
    )
    assert blob.hex() == vector["blob"]
    assert crypto.key_id_of(blob).hex() == vector["key_id"]


def test_the_description_computed_by_other_means_gives_the_frozen_bytes(vector):
    """HKDF (RFC 5869) from HMAC alone, and the associated data put together by hand."""
    key, message_id = bytes.fromhex(vector["wrapping_key"]), bytes.fromhex(vector["message_id"])
    header = b"MSHE\x01\x01\x00\x00" + bytes.fromhex(vector["key_id"])
    prk = hmac.digest(message_id, key, "sha512")
    encryption = hmac.digest(prk, b"MESH-VAULT-V01/encrypt" + header + b"\x01", "sha512")[:32]
    commitment = hmac.digest(prk, b"MESH-VAULT-V01/commit" + header + b"\x01", "sha512")[:32]
    place = vector["place"]
    parts = [place["tenant"], place["owner"], place["object_id"]]
    aad = b"\x0e\0\0\0MESH-VAULT-V01" + header
    aad += b"".join(len(part.encode()).to_bytes(4, "little") + part.encode() for part in parts)
    aad += place["version"].to_bytes(8, "little")
    aad += len(place["purpose"]).to_bytes(4, "little") + place["purpose"].encode()
    assert aad.hex() == vector["aad"]
    sealed = AESGCM(encryption).encrypt(bytes(12), bytes.fromhex(vector["plaintext"]), aad)
    assert (header + message_id + commitment + sealed).hex() == vector["blob"]


@given(st.binary(max_size=300))
def test_what_is_sealed_opens_again_and_never_looks_the_same(plaintext):
    one, other = (crypto.seal(KEY, KEY_ID, plaintext, PLACE) for _ in range(2))
    assert one != other
    assert crypto.unseal(KEY, one, PLACE) == crypto.unseal(KEY, other, PLACE) == plaintext


def test_every_changed_byte_is_noticed():
    blob = crypto.seal(KEY, KEY_ID, b"secret value", PLACE)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        with pytest.raises(VaultDamaged):
            crypto.unseal(KEY, bytes(changed), PLACE)


def test_every_shortened_blob_is_noticed():
    blob = crypto.seal(KEY, KEY_ID, b"secret value", PLACE)
    for size in range(len(blob)):
        with pytest.raises(VaultDamaged):
            crypto.unseal(KEY, blob[:size], PLACE)
    with pytest.raises(VaultDamaged):
        crypto.unseal(KEY, blob + b"\0", PLACE)


@pytest.mark.parametrize(
    "other",
    [{"tenant": "u"}, {"owner": "p"}, {"object_id": "l"}, {"version": 2}, {"purpose": "data-key"}],
    ids=lambda change: next(iter(change)),
)
def test_a_blob_that_was_moved_does_not_open(other):
    blob = crypto.seal(KEY, KEY_ID, b"secret value", PLACE)
    with pytest.raises(VaultDamaged, match="changed or moved"):
        crypto.unseal(KEY, blob, replace(PLACE, **other))


def test_the_parts_of_a_place_can_not_flow_into_one_another():
    blob = crypto.seal(KEY, KEY_ID, b"x", replace(PLACE, tenant="ab", owner="c"))
    with pytest.raises(VaultDamaged):
        crypto.unseal(KEY, blob, replace(PLACE, tenant="a", owner="bc"))


def test_another_key_is_told_by_the_commitment_before_anything_is_decrypted(monkeypatch):
    blob = crypto.seal(KEY, KEY_ID, b"secret value", PLACE)
    monkeypatch.setattr(crypto, "AESGCM", None)
    with pytest.raises(VaultDamaged, match="does not belong to the key"):
        crypto.unseal(bytes(32), blob, PLACE)


@pytest.mark.parametrize(("key", "key_id"), [(b"short", KEY_ID), (KEY, b"short"), (KEY * 2, KEY_ID)])
def test_a_key_of_another_size_is_a_defect(key, key_id):
    with pytest.raises(ValueError, match="32 bytes"):
        crypto.seal(key, key_id, b"", PLACE)


def test_keys_for_different_purposes_have_nothing_in_common():
    assert crypto.derive(KEY, "a") != crypto.derive(KEY, "b")
    assert crypto.derive(KEY, "a").hex() == "0d1e64b3faba7de69a967accb0c3a919268a70175f6894d04960d09cd5877ac0"


# --- the master key ---


def test_a_new_master_key_is_private_and_loads(tmp_path):
    path = tmp_path / "master.key"
    crypto.create_master_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(crypto.read_master_key_file(path).current) == 32


def test_a_master_key_is_never_overwritten(tmp_path):
    path = tmp_path / "master.key"
    crypto.create_master_key(path)
    before = path.read_bytes()
    with pytest.raises(StartupError, match="never overwritten"):
        crypto.create_master_key(path)
    assert path.read_bytes() == before


def test_the_first_line_is_the_current_key(tmp_path):
    path = tmp_path / "keys"
    first, second = os.urandom(32), os.urandom(32)
    lines = ["# ours", "", base64.b64encode(first).decode() + "  # new", base64.b64encode(second).decode()]
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    keys = crypto.read_master_key_file(path)
    assert keys.current == first
    assert [keys.get(name) for name in keys.ids] == [first, second]
    assert first.hex() not in repr(keys)


@pytest.mark.parametrize(
    "content",
    ["", "# nothing\n", "c2hvcnQ=", "not base64!", base64.b64encode(bytes(33)).decode(), "ü", "\0" * 100],
    ids=["empty", "comment", "short", "no-base64", "long", "no-ascii", "zeros"],
)
def test_a_file_without_a_proper_key_is_one_sentence(tmp_path, content):
    path = tmp_path / "keys"
    path.write_text(content, "utf-8")
    path.chmod(0o600)
    with pytest.raises(StartupError, match="master key") as caught:
        crypto.read_master_key_file(path)
    assert not content.strip() or content.strip("# \n") not in str(caught.value)


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(bytes(16)).decode(), "ü" * 44])
def test_a_variable_without_a_proper_key_is_one_sentence(tmp_path, text):
    with pytest.raises(StartupError, match="MESH_MASTER_KEY"):
        crypto.read_master_keys(text, "MESH_MASTER_KEY")


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(StartupError, match="master key"):
        crypto.read_master_key_file(tmp_path / "missing")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "master.key"
    crypto.create_master_key(path)
    path.chmod(mode)
    with pytest.raises(StartupError, match="chmod 600"):
        crypto.read_master_key_file(path)
