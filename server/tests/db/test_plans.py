"""What a statement looks at on SQLite does not grow with what it is not about."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.dialects import sqlite

from mesh_server.audit import statements as trail
from mesh_server.db import sqlite_schema
from mesh_server.db.schema import Compiler
from mesh_server.vault import statements

VERSION = {"tenant_": "t", "id_": "k", "version_": 1}
TRAIL = {"tenant_": "t", "account_": "a", "above_": "", "below_": "g", "limit_": 1}
OWN = trail.page(frozenset({"own"}), newest_first=True)
PAGE = {"tenant_": "t", "owner_": "o", "namespace_": "", "from_": "a", "before_": "b", "after_": "", "limit_": 1}


@pytest.mark.parametrize(
    ("statement", "values", "plan"),
    [
        # Else each value that is stored for a key would cost more than the one before it, without an end.
        (statements.UP_TO, VERSION, "key_versions USING INDEX key_versions_kept"),
        # Else a list by prefix would look at every name before it.
        *(
            (
                statements.PAGES[with_tag],
                {**PAGE, "now_": 1, "tag_": "a", "value_": "b"},
                "keys USING INDEX keys_name (tenant_id=? AND owner_id=? AND namespace=? AND name>? AND name<?)",
            )
            for with_tag in (False, True)
        ),
        # Else the trail since a moment would be looked at from its beginning.
        (trail.page(frozenset(), newest_first=True), TRAIL, "audit_tenant (tenant_id=? AND id>? AND id<?)"),
        (OWN, TRAIL, "audit_account (tenant_id=? AND account_id=? AND id>? AND id<?)"),
        (OWN, TRAIL, "audit_others (tenant_id=? AND actor_id=? AND id>? AND id<?)"),
        (trail.NEXT_TENANT, {"after_": ""}, "SEARCH audit USING COVERING INDEX"),
    ],
    ids=["kept versions", "page", "page by tag", "trail", "one's own trail", "what was done to others", "tenants"],
)
def test_a_statement_goes_along_its_index(tmp_path, statement, values, plan):
    path = tmp_path / "mesh.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        sqlite_schema.to_head(connection, path)
        text, bound = Compiler(sqlite.dialect(paramstyle="named"))(statement, values)
        steps = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
    assert any(plan in step for step in steps), steps
