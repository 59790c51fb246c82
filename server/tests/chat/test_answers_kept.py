"""For how long the answer of a call with an `Idempotency-Key` is kept is the operator's."""

import pytest

from mesh_server.ids import now_us
from mesh_server.vault import answers

from ..conftest import open_mesh
from .conftest import CONFIG
from .upstream import ASK, MESH, SECRET

HOUR = 3600 * 1_000_000
KEY = {"idempotency-key": "once"}


@pytest.fixture
async def mesh(tmp_path, monkeypatch, upstream, database_url):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh-server.toml").write_text(CONFIG.format(url=upstream.url))
    made = await open_mesh(
        tmp_path,
        MESH_CONFIG=str(tmp_path / "mesh-server.toml"),
        MESH_DATABASE_URL=database_url,
        MESH_ANSWERS_HOURS="2",
    )
    made.services.billing.recorder.start()
    await made.call("PUT", "/api/v1/keys/acme_key", {"value": SECRET})
    yield made
    await made.services.close()


async def test_within_its_hours_an_answer_is_given_again_and_then_the_call_is_made_anew(mesh, upstream, monkeypatch):
    assert (await mesh.call("POST", MESH, ASK, headers=KEY)).status == 200
    monkeypatch.setattr(answers, "now_us", lambda: now_us() + 2 * HOUR - HOUR // 60)
    again = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(upstream.asked) == 1
    monkeypatch.setattr(answers, "now_us", lambda: now_us() + 2 * HOUR + HOUR // 60)
    assert "idempotency-replayed" not in (await mesh.call("POST", MESH, ASK, headers=KEY)).headers
    assert len(upstream.asked) == 2
