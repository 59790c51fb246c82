"""Notebooks: answers are shown, and nothing in them runs or loads."""

import pytest

import mesh
from mesh._display import failure


def test_an_answer_is_shown_with_who_and_how_much(fake):
    fake.answer("**Hi**", cost_usd=0.25, warnings=["Careful <b>"])
    shown = fake.client().chat("?", model="m")._repr_markdown_()
    assert shown.startswith("**Hi**")
    assert "m · 3 + 2 tokens · $0.250000" in shown
    assert "Careful &lt;b" in shown


def test_nothing_in_it_runs_or_loads(fake):
    fake.answer("<script>x</script> ![a](https://spy/?q=1) `<b>` \n```\n<i>![x]\n```\n> quote\n<img src=x>")
    shown = fake.client().chat("?")._repr_markdown_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert "![a]" not in shown
    assert "`<b>`" in shown, "code stays as it is"
    assert "<i>![x]" in shown
    assert "\n> quote" in shown


@pytest.mark.parametrize(
    "text",
    ["`a\n<script>", "a ``` <script>", "`` <script> `", "\\`<script>`", "```a`b\n<script>", "```\n```\n<script>"],
)
def test_what_is_no_code_hides_nothing(fake, text):
    fake.answer(text)
    assert "<script>" not in fake.client().chat("?")._repr_markdown_()


@pytest.mark.parametrize("text", ["```python\n<a>\n```", "~~~\n<a>", "x `<a>` y", "````\n```\n<a>\n````"])
def test_code_is_shown_as_it_is(fake, text):
    fake.answer(text)
    assert "<a>" in fake.client().chat("?")._repr_markdown_()


def test_a_failure_is_shown_with_its_advice(fake):
    fake.fail("token_expired", "<b>Gone</b>")
    shown = fake.client().chat("?")._repr_markdown_()
    assert shown.startswith("**Error:** &lt;b")
    assert shown == failure(mesh.Result(success=False, error="<b>Gone</b>", troubleshooting=shown and _steps(shown)))
    assert "\n- " in shown


def _steps(shown):
    return [line[2:] for line in shown.splitlines() if line.startswith("- ")]


def test_usage_is_a_table():
    assert "<td>unknown</td>" in mesh.Usage(input_tokens=1, cost_usd=None)._repr_html_()


def test_other_results_are_shown_as_they_are(fake):
    stored = fake.client().store_key("a", "b")
    assert stored._repr_markdown_() is None
