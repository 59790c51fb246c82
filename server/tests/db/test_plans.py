"""What a statement looks at on SQLite does not grow with what it is not about."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.dialects import sqlite

from mesh_server.audit import statements as trail
from mesh_server.db import sqlite_schema
from mesh_server.db.schema import Compiler
from mesh_server.vault import statements as vault

OF_VERSION = {"tenant_": "t", "id_": "k", "version_": 1}
OF_KEYS = {"tenant_": "t", "owner_": "o", "namespace_": "", "now_": 1}
OF_PAGE = {**OF_KEYS, "from_": "a", "before_": "b", "after_": "", "tag_": "a", "value_": "b", "limit_": 1}
OF_TRAIL = {"tenant_": "t", "account_": "a", "above_": "", "below_": "g", "limit_": 1}
OF_CHAIN = {"chain_": "c", "after_": 0, "until_": 1}
OF_DELETIONS = {"before_": 1, "limit_": 1}

NAMES = "keys_name (tenant_id=? AND owner_id=? AND namespace=? AND name>? AND name<?)"
OWN = trail.page(frozenset({"own"}), newest_first=True)
CHECKPOINTS = "audit_checkpoints_chain (chain=?)"


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        # Else each value that is stored for a key would cost more than the one before it, without an end.
        pytest.param(vault.UP_TO, OF_VERSION, "key_versions_kept", id="versions to destroy"),
        # Else a list by prefix would look at every name before it.
        pytest.param(vault.PAGES[False], OF_PAGE, NAMES, id="a page of keys"),
        pytest.param(vault.PAGES[True], OF_PAGE, NAMES, id="a page of keys by tag"),
        pytest.param(
            vault.EXPIRED_DELETIONS, OF_DELETIONS, "keys_deleted (deleted_at<?)", id="deletions that are over"
        ),
        # Else the trail since a moment would be looked at from its beginning.
        pytest.param(
            trail.page(frozenset(), newest_first=True),
            OF_TRAIL,
            "audit_tenant (tenant_id=? AND id>? AND id<?)",
            id="a page of a trail",
        ),
        pytest.param(OWN, OF_TRAIL, "audit_account (tenant_id=? AND account_id=? AND id>? AND id<?)", id="one's own"),
        pytest.param(OWN, OF_TRAIL, "audit_others (tenant_id=? AND actor_id=? AND id>? AND id<?)", id="done to others"),
        pytest.param(trail.NEXT_TENANT, {"after_": ""}, "audit_account (tenant_id>?)", id="the next tenant"),
        pytest.param(trail.LAST_OF_CHAIN, OF_CHAIN, CHECKPOINTS, id="a chain's last checkpoint"),
        pytest.param(trail.CHECKPOINTS_OF, OF_CHAIN, CHECKPOINTS, id="a chain's checkpoints"),
    ],
)
def test_a_statement_goes_along_its_index(tmp_path, statement, values, index):
    path = tmp_path / "mesh.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        sqlite_schema.to_head(connection, path)
        text, bound = Compiler(sqlite.dialect(paramstyle="named"))(statement, values)
        steps = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
    assert any(f"INDEX {index}" in step for step in steps), steps
