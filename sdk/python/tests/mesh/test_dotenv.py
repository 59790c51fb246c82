"""The strict reader of .env files: what it reads, and what it refuses rather than guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.keys.dotenv import DotenvError, parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("\n\n  \n# c\n   # d", {}),
        ("A=b", {"A": "b"}),
        ("A=b\n", {"A": "b"}),
        ("\ufeffA=b\r\nB=c\r\n", {"A": "b", "B": "c"}),
        ("export A=b", {"A": "b"}),
        ("export   A = b  ", {"A": "b"}),
        ("  A\t=\tb c \t", {"A": "b c"}),
        ("A=", {"A": ""}),
        ("A=   ", {"A": ""}),
        ("A=# c", {"A": ""}),
        ("A= # c", {"A": ""}),
        ("A=b # c", {"A": "b"}),
        ("A=b#c", {"A": "b#c"}),
        ("A=b#c #d", {"A": "b#c"}),
        ("A=b=c==", {"A": "b=c=="}),
        ("A=$b", {"A": "$b"}),
        ("A='b # $c ${d} \\n \"e\"' # f", {"A": 'b # $c ${d} \\n "e"'}),
        ("A=''", {"A": ""}),
        ('A=""', {"A": ""}),
        ('A="b # c" # d', {"A": "b # c"}),
        ('A="b\\n\\t\\r\\\\\\"\\$c"', {"A": 'b\n\t\r\\"$c'}),
        ('A="one\ntwo\n" # c\nB=d', {"A": "one\ntwo\n", "B": "d"}),
        ('A="one\r\ntwo"', {"A": "one\ntwo"}),
        ('A="it\'s"', {"A": "it's"}),
        ('A="\\${b}"', {"A": "${b}"}),
        ("_a1=é", {"_a1": "é"}),
        ("export=1", {"export": "1"}),
    ],
)
def test_what_is_read(text, found):
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A", 1),
        ("\nA b", 2),
        ("1A=b", 1),
        ("A-B=c", 1),
        ("É=c", 1),
        ("export A", 1),
        ("=b", 1),
        ("A=secret'x", 1),
        ('A=secret"x', 1),
        ("A=secret\\x", 1),
        ("A=`secret`", 1),
        ("A=${secret}", 1),
        ('A="${secret}"', 1),
        ('A="\\\\${secret}"', 1),
        ("A='secret", 1),
        ("A='secret\n'", 1),
        ('A="secret', 1),
        ('A="secret\\"', 1),
        ('A="secret\\x"', 1),
        ("A='secret'x", 1),
        ('A="secret"secret', 1),
        ("A=b\nB=c\nA=secret", 3),
        ("A=secret\0", 1),
        ("A=secret\rB=c", 1),
        ('A="x\n\ny"\nsecret', 4),
    ],
)
def test_what_is_refused_with_its_line_and_without_its_value(text, line):
    with pytest.raises(DotenvError) as caught:
        parse(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")
    assert "secret" not in str(caught.value)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=40)


def double(value):
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$")):
        value = value.replace(plain, escaped)
    return f'"{value}"'


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_every_value_can_be_written_and_comes_back(values, export, end):
    prefix = "export " if export else ""
    lines = [f"{prefix}{name}={double(value)} # comment" for name, value in values.items()]
    assert parse(end.join(lines)) == values


@given(st.dictionaries(NAMES, st.text(st.characters(codec="ascii", categories=["L", "N"])), max_size=5))
def test_plain_values_mean_the_same_quoted_or_not(values):
    forms = ["{0}={1}", "{0}='{1}'", '{0}="{1}"']
    assert all(parse("\n".join(form.format(*pair) for pair in values.items())) == values for form in forms)


@given(st.text(max_size=60) | st.text("AB=\"'\\ \n\r\t#$}{`e\0", max_size=40))
def test_any_text_is_read_or_refused(text):
    line = 1
    try:
        found = parse(text)
    except DotenvError as problem:
        found, line = {}, problem.line
    assert 1 <= line <= text.count("\n") + 1
    assert all(name.isascii() for name in found)
