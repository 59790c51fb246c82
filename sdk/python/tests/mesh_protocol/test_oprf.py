"""The OPRF: RFC 9497's vectors for P-256, modes 0 and 1, and an independent implementation."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mesh_protocol import group, oprf
from mesh_protocol.hash_to_curve import hash_to_scalar

from . import published
from .published import h

ROOT = Path(__file__).resolve().parents[4]
NOBLE = ROOT / ".dev" / "noble"
NOBLE_VERSION = "2.0.1"


def vectors(mode):
    found = [v for v in published.load("rfc9497/allVectors.json") if v["identifier"] == "P256-SHA256"]
    return next(v for v in found if v["mode"] == mode)


@pytest.mark.parametrize("mode", [0, 1])
def test_values_are_those_of_rfc_9497(mode):
    suite, context = vectors(mode), oprf.context_string(mode)
    key = oprf.derive_key(h(suite["seed"]), h(suite["keyInfo"]), context)
    assert key == h(suite["skSm"])
    assert (b"HashToGroup-" + context).hex() == suite["groupDST"]
    tried = 0
    for one in suite["vectors"]:
        columns = zip(*(one[name].split(",") for name in COLUMNS), strict=True)
        for input_, scalar, blinded, evaluated, output in columns:
            made = oprf.blind(h(input_), h(scalar), context)
            assert made.element == h(blinded)
            assert oprf.evaluate(key, made.element) == h(evaluated)
            assert oprf.finalize(h(input_), h(scalar), h(evaluated)) == h(output)
            tried += 1
    assert tried >= 2


COLUMNS = ("Input", "Blind", "BlindedElement", "EvaluationElement", "Output")


def test_the_proof_of_mode_1_is_that_of_rfc_9497():
    """Mesh does not use this proof; computing it tries our group and hashes on one more published value."""
    suite, context = vectors(1), oprf.context_string(1)
    key, public = h(suite["skSm"]), h(suite["pkSm"])
    assert group.multiply_base(key) == public
    for one in suite["vectors"]:
        blinded, evaluated = (list(map(h, one[c].split(","))) for c in ("BlindedElement", "EvaluationElement"))
        assert dleq(key, public, blinded, evaluated, h(one["Proof"]["r"]), context).hex() == one["Proof"]["proof"]


def dleq(key, public, blinded, evaluated, nonce, context):
    """GenerateProof of RFC 9497, section 2.2.1."""

    def sized(*parts):
        return b"".join(len(part).to_bytes(2) + part for part in parts)

    seed = hash_(sized(public, b"Seed-" + context))
    composite = group.GENERATOR.point_at_infinity()
    for index, (c, d) in enumerate(zip(blinded, evaluated, strict=True)):
        material = sized(seed) + index.to_bytes(2) + sized(c, d) + b"Composite"
        factor = hash_to_scalar(material, b"HashToScalar-" + context)
        composite += group.multiply(group.decode_element(c), factor)
    z = group.multiply(composite, key)
    t2, t3 = group.multiply_base(nonce), group.encode_element(group.multiply(composite, nonce))
    material = sized(public, group.encode_element(composite), group.encode_element(z), t2, t3) + b"Challenge"
    challenge = hash_to_scalar(material, b"HashToScalar-" + context)
    minus_one = (group.ORDER - 1).to_bytes(32)
    negated = group.multiply_add(challenge, minus_one, bytes(32))
    return challenge + group.multiply_add(negated, key, nonce)


def hash_(data):
    import hashlib

    return hashlib.sha256(data).digest()


def test_a_blind_needs_randomness():
    with pytest.raises(ValueError, match="48 random bytes"):
        oprf.random_scalar(bytes(47))
    with pytest.raises(ValueError, match="not random"):
        oprf.random_scalar(bytes(48))


def test_nothing_secret_shows():
    made = oprf.blind(b"value", oprf.random_scalar(os.urandom(48)))
    assert repr(made) == "Blinded()"


PEER = """
import { p256_oprf } from '@noble/curves/nist.js';
const oprf = p256_oprf.oprf, out = [];
const hex = (bytes) => Buffer.from(bytes).toString('hex');
for (const { seed, info, input } of JSON.parse(process.argv[2])) {
  const { secretKey } = oprf.deriveKeyPair(Buffer.from(seed, 'hex'), Buffer.from(info, 'hex'));
  const data = Buffer.from(input, 'hex');
  const { blind, blinded } = oprf.blind(data);
  const evaluated = oprf.blindEvaluate(secretKey, blinded);
  const output = oprf.finalize(data, blind, evaluated);
  const made = { key: secretKey, blind, blinded, evaluated, output };
  out.push(Object.fromEntries(Object.entries(made).map(([name, bytes]) => [name, hex(bytes)])));
}
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope="module")
def noble():
    """@noble/curves, fetched once into .dev; where Node is not there the test says so."""
    node, npm = shutil.which("node"), shutil.which("npm")
    required = os.environ.get("CI") == "true"
    if node is None or npm is None:
        if required:
            pytest.fail("CI needs Node and npm for the independent peer")
        pytest.skip("Node or npm is not installed")
    if not (NOBLE / "node_modules" / "@noble" / "curves").is_dir():
        NOBLE.mkdir(parents=True, exist_ok=True)
        (NOBLE / "package.json").write_text('{"private": true, "type": "module"}')
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", f"@noble/curves@{NOBLE_VERSION}"]
        done = subprocess.run(command, cwd=NOBLE, capture_output=True, text=True, timeout=180)
        if done.returncode:
            if required:
                pytest.fail(f"@noble/curves could not be installed: {done.stderr[-500:]}")
            pytest.skip("@noble/curves could not be installed: is the npm registry reachable?")
    (NOBLE / "peer.mjs").write_text(PEER)
    return [node, str(NOBLE / "peer.mjs")]


def test_an_independent_implementation_computes_the_same(noble):
    asked = [
        {"seed": os.urandom(32).hex(), "info": os.urandom(size).hex(), "input": os.urandom(size + 1).hex()}
        for size in range(16)
    ]
    done = subprocess.run([*noble, json.dumps(asked)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(asked)
    for question, theirs in zip(asked, answers, strict=True):
        key = oprf.derive_key(h(question["seed"]), h(question["info"]))
        ours = oprf.blind(h(question["input"]), h(theirs["blind"]))
        assert (key.hex(), ours.element.hex()) == (theirs["key"], theirs["blinded"])
        assert oprf.evaluate(key, ours.element).hex() == theirs["evaluated"]
        assert oprf.finalize(h(question["input"]), ours.scalar, h(theirs["evaluated"])).hex() == theirs["output"]
