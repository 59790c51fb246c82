"""What a docstring says of arguments reaches the model."""

import pytest

import mesh

NUMPY = """Say it.

More of it.

Parameters
----------
a : str
    First
    and on.
b
    Second.

Returns
-------
int
"""


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (
            "Say it.\n\nMore of it.\n\nArgs:\n    a: First\n        and on.\n    b (int): Second.\n",
            ("First and on.", "Second."),
        ),
        (
            "Say it.\n\nMore of it.\n\n:param a: First\n    and on.\n:param int b: Second.\n:returns: x\n",
            ("First and on.", "Second."),
        ),
        (
            NUMPY,
            ("First and on.", "Second."),
        ),
    ],
)
def test_docstrings_of_three_styles_are_read(docstring, expected):
    def function(a: str, b: int):
        pass

    function.__doc__ = docstring
    described = mesh.tool(function).definition["function"]
    assert described["description"] == "Say it. More of it."
    properties = described["parameters"]["properties"]
    assert (properties["a"]["description"], properties["b"]["description"]) == expected
