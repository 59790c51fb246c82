"""Every test that docs/security/proofs.md names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_attacks_names_tests_that_exist():
    page = (ROOT / "docs/security/proofs.md").read_text("utf-8")
    named = re.findall(r"`([\w/.]+\.py)::(test_\w+)`", page)
    assert len(named) > 30
    missing = [
        (f, t) for f, t in named if not re.search(rf"^(async )?def {t}\(", (ROOT / f).read_text("utf-8"), re.MULTILINE)
    ]
    assert not missing
