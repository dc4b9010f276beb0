"""Each module of a method is short enough to be read at once, and each method has tests of its own."""

import ast
import io
import textwrap
import tokenize
from pathlib import Path

import pytest

from interlude.simulator import methods

ROOT = Path(__file__).parents[2]
METHODS = ROOT / "simulator" / "methods"
MODULES = [path.relative_to(METHODS).as_posix() for path in sorted(METHODS.rglob("*.py"))]
MOST_LINES_OF_CODE = 130
"""Docstrings, comments and blank lines apart."""

_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def num_code_lines(source):
    """Return the number of lines that hold code: a token that is neither layout nor part of a docstring."""
    documentation = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - documentation)


def test_lines_of_code_by_hand():
    source = '''
    x = (
        1,  # counts

    )
    """What x is,
    in two lines."""


    # a comment
    def f():
        """No."""
        return """a
        b"""
    '''
    assert num_code_lines(textwrap.dedent(source)) == 3 + 1 + 2


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_a_method_is_short(module):
    assert num_code_lines((METHODS / module).read_text(encoding="utf-8")) <= MOST_LINES_OF_CODE


@pytest.mark.parametrize("method", sorted(methods.METHODS.values(), key=lambda method: method.__name__))
def test_a_method_has_a_test_file(method):
    package, _, _ = method.__module__.removeprefix("interlude.simulator.methods.").partition(".")
    where = ROOT / "tests" / "methods"
    assert (where / f"test_{package}.py").exists() or (where / package / f"test_{package}.py").exists()
