"""Sizes: no class over 300 lines, no function over 50, no file over 450. Ruff checks the complexity of functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 450
MAX_CLASS_LINES = 300
MAX_FUNCTION_LINES = 50

# What is longer on purpose, with the reason.
EXCEPTIONS: dict[str, str] = {}


def too_long(source: str) -> Iterator[str]:
    """The names of what is over the limits, each with its length in lines."""
    if (lines := source.count("\n")) > MAX_FILE_LINES:
        yield f"file: {lines}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            limit = MAX_CLASS_LINES if isinstance(node, ast.ClassDef) else MAX_FUNCTION_LINES
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > limit:
                yield f"{node.name}: {length}"


def test_nothing_in_the_package_is_too_long() -> None:
    found = [
        f"{name}: {each}"
        for path in sorted((ROOT / "durablecli").rglob("*.py"))
        if (name := path.relative_to(ROOT).as_posix()) not in EXCEPTIONS
        for each in too_long(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * 451, ["file: 451"]),
        ("x = 1\n" * 450, []),
        ("def f():\n" + "    x = 1\n" * 50, ["f: 51"]),
        ("def f():\n" + "    x = 1\n" * 49, []),
        ("class A:\n" + "    x = 1\n" * 300, ["A: 301"]),
        ("class A:\n    async def f():\n" + "        x = 1\n" * 50, ["f: 51"]),
    ],
)
def test_what_is_too_long_would_be_seen(source: str, found: list[str]) -> None:
    assert list(too_long(source)) == found
