"""How often a value may be tried, and what a limit must not tell."""

import pytest

from mesh_server.addresses import network_of
from mesh_server.errors import StartupError
from mesh_server.ids import now_us
from mesh_server.proofs import service
from mesh_server.proofs.challenges import MOST_LIVE
from mesh_server.proofs.models import Rate, Rates
from mesh_server.proofs.settings import rates

from ..conftest import caller
from .prover import dump, junk


@pytest.fixture
def clock(monkeypatch):
    """The service's clock, which a test moves by seconds."""
    moved = [now_us()]
    monkeypatch.setattr(service, "now_us", lambda: moved[0])

    def advance(seconds):
        moved[0] += int(seconds * 1_000_000)

    return advance


@pytest.fixture
def limited(mesh):
    """Return a function that sets the limits of the running server."""

    def use(**named):
        mesh.services.proofs._rates = Rates(**named)

    return use


async def test_a_record_s_failures_are_limited_and_come_back(ann, clock):
    await ann.enrol()
    for _ in range(20):
        assert not await ann.verify(value="w")
    _, refused = await ann.ask()
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 350 < int(refused.headers["retry-after"]) <= 360
    clock(361)
    assert not await ann.verify(value="w")
    assert (await ann.ask())[1].status == 429


async def test_a_success_gives_back_what_it_took(ann, clock):
    await ann.enrol()
    for _ in range(60):
        assert await ann.verify()


async def test_success_does_not_give_back_what_failures_took(ann, clock):
    await ann.enrol()
    for _ in range(19):
        await ann.verify(value="w")
        assert await ann.verify()
    assert not await ann.verify(value="w")
    assert (await ann.ask())[1].status == 429


async def test_what_is_not_enrolled_is_limited_alike(ann, clock):
    await ann.enrol()
    answers = {}
    for name in ("k", "unknown"):
        for _ in range(20):
            assert (await ann.ask(name, "w"))[1].status == 200
        answers[name] = (await ann.ask(name, "w"))[1]
    known, unknown = answers["k"], answers["unknown"]
    assert (known.status, known.headers["retry-after"]) == (unknown.status, unknown.headers["retry-after"])
    assert known.json["error"] == unknown.json["error"]


async def test_one_record_s_limit_is_not_another_s(ann, clock):
    for _ in range(21):
        await ann.ask("k", "w")
    assert (await ann.ask("l", "w"))[1].status == 200


async def test_beginning_an_enrolment_counts_as_an_attempt(ann, clock):
    """It evaluates a guess as a challenge does; finishing gives it back."""
    for _ in range(25):
        assert (await ann.enrol(overwrite=True)).status == 200
    for _ in range(20):
        assert (await ann.start("k", "guess", overwrite=True))[1].status == 200
    assert (await ann.start("k", "guess", overwrite=True))[1].code == "rate_limited"
    assert (await ann.ask())[1].code == "rate_limited"


async def test_an_account_s_attempts_are_limited_over_all_its_records(ann, login, limited, clock):
    limited(record=Rate(1000, 1000), user=Rate(60, 3), address=Rate(1000, 1000))
    assert [(await ann.ask(f"k{i}"))[1].status for i in range(4)] == [200, 200, 200, 429]
    assert (await (await login("bob")).ask("k"))[1].status == 200
    clock(61)
    assert [(await ann.ask(f"k{i}"))[1].status for i in range(2)] == [200, 429]


async def test_an_address_s_attempts_are_limited_over_all_accounts(mesh, ann, login, limited, clock):
    limited(record=Rate(1000, 1000), user=Rate(1000, 1000), address=Rate(60, 3))
    bob = await login("bob")

    def at(address):
        async def app(scope, receive, send):
            await mesh.app({**scope, "client": (address, 1)}, receive, send)

        return caller(app, None)

    ann.call = bob.call = at("192.0.2.1")
    statuses = [(await prover.ask(f"k{i}"))[1].status for i in range(2) for prover in (ann, bob)]
    assert statuses == [200, 200, 200, 429]
    bob.call = at("192.0.2.2")
    assert (await bob.ask("k"))[1].status == 200


async def test_unanswered_challenges_are_limited(ann, limited, clock):
    limited(record=Rate(1000, 1000))
    for _ in range(MOST_LIVE):
        assert (await ann.ask())[1].status == 200
    _, refused = await ann.ask()
    assert (refused.status, refused.code) == (429, "rate_limited")
    clock(121)
    assert (await ann.ask())[1].status == 200


async def test_what_has_expired_is_forgotten(mesh, ann, clock):
    await ann.enrol()
    await ann.ask()
    await ann.start("l", "v")

    async def count():
        found = await dump(mesh)
        return [len(found[table]) for table in ("zk_challenges", "zk_enrollments", "zk_limits")]

    assert (await count())[:2] == [1, 1]
    await mesh.services.proofs.purge()
    assert (await count())[:2] == [1, 1]
    clock(10 * 3600)
    await mesh.services.proofs.purge()
    assert await count() == [0, 0, 0]
    assert await ann.verify()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", ""),
        ("", ""),
    ],
)
def test_of_ipv6_a_whole_network_counts_as_one_address(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize("text", ["", "10", "10/", "/20", "0/20", "10/0", "-1/2", "a/b", "10/20/30", "1" * 8 + "/1"])
def test_a_limit_that_is_none_is_refused_by_its_name(text):
    with pytest.raises(StartupError, match="MESH_ZKP_USER_LIMIT"):
        rates({"zkp_user_limit": text}.get)


def test_limits_are_read():
    found = rates({"zkp_record_limit": "5/6", "zkp_address_limit": " 7 / 8 "}.get)
    assert found == Rates(Rate(5, 6), Rates().user, Rate(7, 8))


async def test_a_wrong_proof_gives_nothing_back(ann, clock):
    await ann.enrol()
    for _ in range(20):
        _, asked = await ann.ask()
        await ann.submit(asked.json, junk(65))
    assert (await ann.ask())[1].status == 429
