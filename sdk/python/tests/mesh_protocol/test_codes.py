"""The table of error codes."""

import re

import pytest

from mesh_protocol.codes import CODES


@pytest.mark.parametrize("name", CODES)
def test_a_code_says_what_to_do(name):
    code = CODES[name]
    assert re.fullmatch(r"[a-z][a-z_]+", name)
    assert code.advice
    assert all(line[0].isupper() or line[0] == "`" for line in code.advice)
    assert code.status is None or 400 <= code.status < 600


def test_only_what_may_pass_by_itself_may_be_tried_again():
    may = {name for name, code in CODES.items() if code.retryable and code.status in {400, 401, 403, 404, 409}}
    assert may == {"request_in_progress"}, "the call that runs comes to its end"
