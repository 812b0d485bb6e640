"""Collects the words that users read, the help of every command and the texts in the code, in one file.

After a change, `python -m tests.golden.words` rewrites the file; its diff shows a reviewer which words have changed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from durablecli.cli import durable

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "durablecli"
FILE = Path(__file__).parent / "words.txt"
HELP_WIDTH = 80


def collect_words() -> str:
    """Return the text of the golden file: each help, then the texts of each module that no help shows."""
    helps = collect_helps()
    shown = " ".join(" ".join(helps.values()).split())
    blocks = [f"$ {command} --help\n{text}" for command, text in helps.items()]
    for path in sorted(PACKAGE.rglob("*.py")):
        if found := sorted(text for text in set(texts(path.read_text())) if text not in shown):
            blocks.append("\n".join([f"# {path.relative_to(ROOT).as_posix()}", *found]))
    return "\n\n".join(blocks) + "\n"


def collect_helps() -> dict[str, str]:
    """Return the help of every command, by the command."""
    helps = {}
    for path in [[], *_commands(durable, [])]:
        result = CliRunner().invoke(durable, [*path, "--help"], prog_name="durable", terminal_width=HELP_WIDTH)
        assert result.exit_code == 0, (path, result.output)
        helps[" ".join(["durable", *path])] = result.output.rstrip()
    return helps


def _commands(group: click.Group, path: list[str]) -> Iterator[list[str]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield [*path, name]
        if isinstance(command, click.Group):
            yield from _commands(command, [*path, name])


def texts(source: str) -> Iterator[str]:
    """Yield the texts in the code of a module: literals of two words or more, except docstrings, each on one line."""
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(value) for value in node.values}
    for node in ast.walk(tree):
        if id(node) not in skipped and (text := _text(node)) is not None and _is_prose(text):
            yield re.sub(r"\s*\n\s*", " ", text.strip())


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "{…}" for each in node.values)
    return None


def _is_prose(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 1 and " " in text.strip()


if __name__ == "__main__":
    FILE.write_text(collect_words())
