"""Reads recorded tracebacks: the frames in the text, which of them are durablecli's, and which one is the author's.

It works on the text as it is recorded, so that it serves histories of every version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_FRAME = re.compile(r'(?P<indent>[ |]*?)  File "(?P<file>.*)", line (?P<line>\d{1,9})(?:, in (?P<function>.*))?')
"""The first line of a frame. In the traceback of an exception group, the lines of its parts begin with `  | `."""
_PART_HEADER = re.compile(r" *\+[-+]*-{3,} (\d+|\.\.\.) -{3,}$")
_PART_END = re.compile(r" *\+-{3,}")
_PART_INDENT = re.compile(r" *\| ?")
_IS_GROUP = re.compile(r"\(\d+ sub-exceptions?\)$")
_HEADER = "Traceback (most recent call last):"
_OWN_FOLDER = __file__.removesuffix("model/traceback_text.py")
_OWN_MODULE = re.compile(r"(?:^|/)durablecli/(?:azure|builtin|durabletask|engine|entities|model|replay)/[a-z_/]+\.py$")
"""A module of durablecli that was installed elsewhere when the failure was recorded."""
_INSTALLED = re.compile(r"/(?:site|dist)-packages/")
_STANDARD_LIBRARY = re.compile(r"/lib(?:64)?/python\d[\w.]*/")


class SourceLine(msgspec.Struct, frozen=True):
    """A place in source code: the path of the file as it was recorded, the line, and the function."""

    file: str
    line: int
    function: str = ""


class _Part(NamedTuple):
    """A frame with its lines of source code, or one other line."""

    frame: SourceLine | None
    text: str


def find_author_line(traceback: str) -> SourceLine | None:
    """Return the innermost frame of the author's own code; None if no frame tells anything.

    That is neither durablecli nor the standard library nor an installed package. If there is none, it is the innermost
    one of an installed package, or else of the standard library.
    """
    fallback: SourceLine | None = None
    for part in reversed(list(_split(traceback))):
        frame = part.frame
        if frame is None or _is_own(frame.file):
            continue
        if _is_library(frame.file):
            is_better = fallback is None or (_INSTALLED.search(frame.file) and not _INSTALLED.search(fallback.file))
            fallback = frame if is_better else fallback
        else:
            return frame
    return fallback


def find_group_parts(traceback: str) -> dict[str, SourceLine | None]:
    """Return the exceptions of an exception group, as `ValueError: text`, each with the author's line that raised it.

    Of groups within the group only their exceptions are returned. `and 5 more exceptions` replaces those that Python
    has left out.
    """
    found: dict[str, SourceLine | None] = {}
    block: list[str] | None = None
    for line in [*traceback.splitlines(), f"+{'-' * 36}"]:
        is_header = _PART_HEADER.match(line) is not None
        if block is not None and (is_header or _PART_END.match(line)):
            text = _find_raised_text(block)
            if text and not _IS_GROUP.search(text):
                found.setdefault(text, find_author_line("\n".join(block)))
            block = None
        if is_header:
            block = []
        elif block is not None:
            block.append(_PART_INDENT.sub("", line, count=1))
    return found


def _find_raised_text(lines: list[str]) -> str:
    """Return the line of the last exception of a chain: the first one after its frames."""
    text = ""
    for line in lines:
        if line.endswith(_HEADER):
            text = ""
        elif not text and line[:1] not in ("", " "):
            text = line
    return text


def without_own_frames(traceback: str) -> str:
    """Return a traceback without durablecli's frames; if no frame is left, only what was raised."""
    parts = list(_split(traceback))
    kept = [part for part in parts if part.frame is None or not _is_own(part.frame.file)]
    if len(kept) < len(parts) and all(part.frame is None for part in kept):
        kept = [part for part in kept if part.text.rstrip() != _HEADER]
    return "".join(part.text for part in kept)


def split_frames(traceback: str) -> tuple[str, str]:
    """Split a traceback after its last frame; what follows says what was raised."""
    parts = list(_split(traceback))
    end = max((at for at, part in enumerate(parts, 1) if part.frame is not None), default=0)
    return "".join(part.text for part in parts[:end]), "".join(part.text for part in parts[end:])


def _is_own(file: str) -> bool:
    return file.startswith(_OWN_FOLDER) or _OWN_MODULE.search(file) is not None


def _is_library(file: str) -> bool:
    """Whether a file is of the standard library, an installed package, or generated code, such as `<frozen runpy>`."""
    return file.startswith("<") or bool(_STANDARD_LIBRARY.search(file) or _INSTALLED.search(file))


def _split(traceback: str) -> Iterator[_Part]:
    """Yield the frames and other lines. What follows the line of the exception is its text, and has no frames."""
    lines = traceback.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        line = lines[at]
        found = _FRAME.match(line)
        end = at + 1
        if found is None:
            if at and line[:1] not in (" ", "\n") and line.rstrip() != _HEADER:
                yield _Part(None, "".join(lines[at:]))
                return
            yield _Part(None, line)
        else:
            source, repeated = found["indent"] + "    ", found["indent"] + "  [Previous line repeated"
            while end < len(lines) and lines[end].startswith((source, repeated)) and not _FRAME.match(lines[end]):
                end += 1
            frame = SourceLine(found["file"], int(found["line"]), found["function"] or "")
            yield _Part(frame, "".join(lines[at:end]))
        at = end
