"""Key stretching: Argon2id's published answer, and the bounds of what one does at another's word."""

import re

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from mesh_protocol.group import DecodingError
from mesh_protocol.ksf import ARGON2ID, DEFAULT, IDENTITY, NONE, Ksf

from . import published


def test_the_library_s_argon2id_is_the_published_one():
    text = published.text("argon2/argon2id_kats.txt")

    def octets(label):
        return bytes.fromhex(re.search(rf"^{label}(?:\[\d+\])?: ([0-9a-f ]+)$", text, re.MULTILINE)[1])

    made = Argon2id(
        salt=octets("Salt"),
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        secret=octets("Secret"),
        ad=octets("Associated data"),
    )
    assert made.derive(octets("Password")) == octets("Tag")


def test_the_default_is_the_one_of_the_specification():
    assert DEFAULT.encode().hex() == "01" + "00000100" + "03000000" + "04"
    assert Ksf.decode(DEFAULT.encode()) == DEFAULT
    assert NONE.encode() == bytes(10)
    assert NONE.stretch(b"y") == b"y"


@pytest.mark.parametrize("data", [b"", bytes(9), bytes(11), b"\2" + bytes(9), b"\0\1" + bytes(8), bytes(9) + b"\1"])
def test_what_is_no_function_is_refused(data):
    with pytest.raises(DecodingError):
        Ksf.decode(data)


MIB = 1024


@pytest.mark.parametrize(
    ("memory", "passes", "lanes", "good"),
    [
        (8 * MIB, 1, 1, True),
        (8 * MIB - 1, 1, 1, False),
        (1024 * MIB, 4, 16, True),
        (1024 * MIB + 1, 1, 1, False),
        (1024 * MIB, 5, 1, False),  # 5 GiB of work
        (8 * MIB, 10, 1, True),
        (8 * MIB, 11, 1, False),
        (8 * MIB, 0, 1, False),
        (8 * MIB, 1, 0, False),
        (8 * MIB, 1, 17, False),
        (2**32 - 1, 2**32 - 1, 255, False),
    ],
)
def test_the_bounds_are_those_of_the_specification(memory, passes, lanes, good):
    assert Ksf.decode(Ksf(ARGON2ID, memory, passes, lanes).encode()).acceptable is good


def test_the_identity_is_acceptable():
    assert NONE.acceptable
    assert NONE.kind == IDENTITY
    assert DEFAULT.acceptable
