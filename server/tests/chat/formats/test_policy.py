"""Every member that is refused or left out stands on the page that says so."""

from pathlib import Path

import pytest

from mesh_server.chat.formats import same
from mesh_server.chat.formats.anthropic_messages import parse as messages
from mesh_server.chat.formats.openai_chat import parse as chat
from mesh_server.chat.formats.openai_responses import parse as responses
from mesh_server.chat.formats.shared import OPENAI_ONLY

PAGE = (Path(__file__).resolve().parents[4] / "docs/reference/translation.md").read_text("utf-8")


@pytest.mark.parametrize("parse", [chat, responses, messages], ids=lambda parse: parse.__name__.split(".")[-2])
def test_the_page_names_what_is_refused_and_what_is_left_out(parse):
    refused, _, left_out = PAGE.partition("## What is left out")
    assert not [name for name in parse.REFUSED if f"`{name}`" not in refused]
    assert not [name for name in (*parse.DROPPED, *OPENAI_ONLY) if f"`{name}`" not in left_out]


def test_the_page_names_what_is_state():
    assert not [name for name in same._STATE if f"`{name}`" not in PAGE]
