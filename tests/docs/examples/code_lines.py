"""Counts lines of code: blank lines, comments and docstrings are none, in Python and in YAML."""

from __future__ import annotations

import ast
import tokenize
from io import StringIO
from pathlib import Path

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def count_code_lines(*paths: Path) -> int:
    """Return how many lines of code some files have together."""
    return sum(len(_code_lines(path.read_text(encoding="utf-8"), path.suffix)) for path in paths)


def _code_lines(source: str, suffix: str) -> set[int]:
    if suffix != ".py":
        lines = enumerate(source.splitlines(), 1)
        return {number for number, line in lines if line.strip() and not line.strip().startswith("#")}
    docstrings = _docstring_lines(ast.parse(source))
    found: set[int] = set()
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type not in _NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return found - docstrings


def _docstring_lines(tree: ast.Module) -> set[int]:
    """The lines of texts that are statements of their own: docstrings, also those below the fields of a class."""
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return {
        line
        for node in texts
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
