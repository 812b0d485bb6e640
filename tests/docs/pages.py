"""The pages of the documentation as sequences of code blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)")
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->")
_SNIPPET = re.compile(r'--8<-- "(?P<file>[^"]+)"')
_TITLE = re.compile(r'title="(?P<title>[^"]+)"')


class Block(NamedTuple):
    """One code block. `title` is the file that it is, `not_run` the reason why the test leaves it out."""

    line: int
    language: str
    title: str | None
    text: str
    not_run: str | None


class Step(NamedTuple):
    """One command of a transcript, with the lines that it prints."""

    command: str
    output: list[str]


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in their order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        opening = _FENCE.fullmatch(lines[at])
        if opening is None:
            at += 1
            continue
        end = next(n for n in range(at + 1, len(lines)) if lines[n].strip() == opening["fence"])
        body = _insert_files([line.removeprefix(opening["indent"]) for line in lines[at + 1 : end]])
        marker = _NOT_RUN.fullmatch(lines[at - 1].strip()) if at else None
        title = _TITLE.search(opening["info"])
        found.append(
            Block(
                at + 1,
                opening["info"].split()[0] if opening["info"].split() else "",
                title["title"] if title else None,
                "".join(f"{line}\n" for line in body),
                marker["reason"] if marker else None,
            )
        )
        at = end + 1
    return found


def _insert_files(body: list[str]) -> list[str]:
    """Replace each line that names a file by the lines of the file, as the site does."""
    found: list[str] = []
    for line in body:
        snippet = _SNIPPET.fullmatch(line)
        found += [line] if snippet is None else (ROOT / snippet["file"]).read_text(encoding="utf-8").splitlines()
    return found


def steps(block: Block) -> list[Step]:
    """Return the commands of a console block. A command whose line ends with a backslash continues on the next one."""
    found: list[Step] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).lstrip("> ")
            found.append(Step(command, []))
        else:
            assert found, f"line {block.line}: a console block begins with a command"
            found[-1].output.append(line)
    return found
