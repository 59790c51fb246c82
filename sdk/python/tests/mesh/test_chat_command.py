"""`mesh chat` and `mesh models`: what is asked, what is shown where, and what each exits with."""

import io
import json
import sys
from datetime import UTC, date, datetime

import pytest

from mesh.cli import _answer
from mesh.cli._run import run
from mesh.cli.mesh import mesh as command
from mesh.testing import FakeMesh


@pytest.fixture
def fake():
    made = FakeMesh()
    with made.installed():
        yield made


@pytest.fixture
def call(fake, capsys, monkeypatch):
    """Return a function that runs `mesh`; with `typed` a person sits at a terminal and types those lines."""

    def do(*arguments, stdin="", typed=None):
        with monkeypatch.context() as patch:
            content = stdin if isinstance(stdin, bytes) else stdin.encode()
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
            if typed is not None:
                lines = iter(typed)
                patch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
                patch.setattr(type(sys.stdout), "isatty", lambda _self: True)
                patch.setattr("builtins.input", lambda _prompt: _next(lines))
            status = run(command, arguments, "mesh")
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return status, out.out, out.err

    return do


def _next(lines):
    line = next(lines, EOFError)
    if line in {EOFError, KeyboardInterrupt}:
        raise line
    return line


def said(fake):
    return [[(one["role"], one["content"]) for one in call.json["messages"]] for call in fake.calls if call.json]


def test_one_question(call, fake):
    fake.answer("Paris is the capital.", warnings=["A retired model was replaced."])
    status, out, err = call("chat", "-m", "gpt-4o", "-s", "Be brief.", "What", "is it?")
    assert (status, out) == (0, "Paris is the capital.\n")
    assert err == "Warning: A retired model was replaced.\n"
    assert said(fake) == [[("system", "Be brief."), ("user", "What is it?")]]
    assert fake.calls[-1].json["model"] == "gpt-4o"


def test_what_is_on_stdin_goes_with_the_message(call, fake):
    call("chat", "Explain:", stdin="the text\n")
    call("chat", stdin="alone")
    assert said(fake) == [[("user", "Explain:\n\nthe text")], [("user", "alone")]]


def test_options_are_sent(call, fake, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("some notes")
    arguments = ("--max-tokens", "7", "--temperature", "0", "--key", "mine", "--file", str(file))
    assert call("chat", "hi", *arguments)[0] == 0
    body = fake.calls[-1].json
    assert (body["max_tokens"], body["temperature"], body["key_name"]) == (7, 0, "mine")
    assert [part["type"] for part in body["messages"][0]["content"]] == ["text", "text"]


def test_json(call, fake):
    fake.answer("Yes.")
    status, out, _ = call("chat", "--json", "Is it?")
    assert (status, json.loads(out)["content"], "raw" in json.loads(out)) == (0, "Yes.", False)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("chat",), ""),
        (("chat",), b"\xff"),
        (("chat", "hi", "--max-tokens", "0"), ""),
        (("chat", "hi", "-m", "gpt-4o", "--provider", "anthropic"), ""),
        (("chat", "hi", "--file", "not-there"), ""),
    ],
)
def test_wrong_uses_ask_nobody(call, fake, arguments, stdin):
    assert call(*arguments, stdin=stdin)[:2] == (2, "")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("model_not_found", 1),
        ("budget_exceeded", 1),
        ("quota_exceeded", 1),
        ("outcome_unknown", 1),
        ("token_invalid", 3),
        ("provider_unavailable", 5),
        ("key_not_found", 4),
    ],
)
def test_a_failure_is_told_with_its_status(call, fake, code, status):
    for _ in range(3):
        fake.fail(code, "It is so.")
    found = call("chat", "hi")
    assert found[:2] == (status, "")
    assert "It is so." in found[2]


def test_a_person_is_told_what_a_budget_leaves(call, fake):
    fake.budget(5.0, used=0.8)
    fake.answer("Yes.", cost_usd=0.2)
    assert "· $0.20 · $4.00 left" in call("chat", "--plain", "hi", typed=[])[2]
    assert "left" not in call("chat", "hi")[2], "not in a pipe"


def test_an_answer_that_breaks_off_is_shown_and_is_a_failure(call, fake):
    fake.stream("half ", "an", truncated=True)
    status, out, err = call("chat", "hi")
    assert (status, out) == (5, "half an\n")
    assert err


def test_a_session_remembers(call, fake):
    status, out, err = call("chat", "-m", "one", typed=["hello", "/model two", "again", "/usage", "/exit"])
    assert status == 0
    assert "You said: hello" in out
    assert said(fake) == [
        [("user", "hello")],
        [("user", "hello"), ("assistant", "You said: hello"), ("user", "again")],
    ]
    assert [call.json["model"] for call in fake.calls] == ["one", "two"]
    assert "6 + 4 tokens" in err


def test_a_session_begins_anew(call, fake):
    call("chat", "-s", "old", typed=["a", "/new", "b", "/system new", "c"])
    assert said(fake) == [
        [("system", "old"), ("user", "a")],
        [("system", "old"), ("user", "b")],
        [("system", "new"), ("user", "c")],
    ]


def test_a_session_outlives_failures_and_interruptions(call, fake):
    fake.fail("model_not_found", "No such model.")
    status, out, err = call("chat", typed=["a", KeyboardInterrupt, "/nonsense", "", "b"])
    assert status == 0
    assert "No such model." in err
    assert "There is no /nonsense" in err
    assert "You said: b" in out
    assert said(fake)[-1] == [("user", "b")]


def test_a_line_goes_on_after_a_backslash(call, fake):
    call("chat", typed=["one\\", "two"])
    assert said(fake) == [[("user", "one\ntwo")]]


def test_an_answer_cannot_steer_the_terminal(call, fake):
    fake.answer("a \x1b[2J\x1b]0;title\x07 b")
    assert "\x1b]0" not in call("chat", typed=["hi"])[1]


def test_a_drawn_answer_is_markdown_and_a_plain_one_is_not(call, fake):
    fake.answer("# Title\n\n- **one**\n")
    assert "**" not in call("chat", "-m", "x", typed=["hi"])[1]
    fake.answer("- **one**")
    assert "**one**" in call("chat", "--plain", typed=["hi"])[1]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("", 0),
        ("a", 0),
        ("a\n\nb", 3),
        ("a\n\n", 3),
        ("```\na\n\nb", 0),
        ("```\na\n\nb\n```\n\nc", 14),
        ("~~~\n```\n\n~~~\n\nx", 14),
    ],
)
def test_where_a_block_is_finished(text, end):
    assert _answer.finished(text) == end


def test_models(call, fake):
    fake.models(openai=["gpt-4o", "gpt-4o-mini"], local=["tiny"])
    out = call("models")[1]
    assert [row.split("\t")[:2] for row in out.splitlines()] == [
        ["openai", "gpt-4o"],
        ["openai", "gpt-4o-mini"],
        ["local", "tiny"],
    ]
    assert call("models", "TIN")[1].startswith("local\ttiny")
    assert [model["id"] for model in json.loads(call("models", "--provider", "local", "--json")[1])] == ["tiny"]


def test_retired_models_are_shown_to_who_asks(call, fake):
    fake.models(anthropic=["claude-3-opus-20240229"])
    status, out, err = call("models")
    assert (status, out) == (0, "")
    assert err
    (row,) = call("models", "--retired")[1].splitlines()
    provider, name, *_, retired, successor = row.split("\t")
    assert (provider, name) == ("anthropic", "claude-3-opus-20240229")
    assert date.fromisoformat(retired) < datetime.now(UTC).date()
    assert successor


def test_who_can_use_nothing_is_told_what_to_do(call, fake):
    fake.models()
    assert "mesh keys set" in call("models")[2]
