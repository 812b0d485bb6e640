"""The texts that describe a class and its fields: docstrings, also those below a field, and `Annotated[…]`."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
import typing
from itertools import pairwise
from typing import Any

import msgspec

_FIELD_SECTION = re.compile(r"^(?:Args|Arguments|Attributes|Fields|Parameters):\s*$")
_FIELD_LINE = re.compile(r"^(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


def get_class_doc(kind: type) -> str:
    """Return the first paragraph of a class's own docstring, on one line; empty if it has none."""
    text = vars(kind).get("__doc__") or ""
    if text.startswith(f"{kind.__name__}(") or getattr(kind, "_field_defaults", None) is not None:
        return ""  # made by dataclass or NamedTuple
    return first_paragraph(text)


def first_paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


def get_annotation_doc(annotation: Any) -> str:
    """Return the text that `Annotated` adds to a type: a string, or msgspec's or pydantic's description."""
    if typing.get_origin(annotation) in (typing.Required, typing.NotRequired, typing.Final):
        return get_annotation_doc(typing.get_args(annotation)[0])
    found = ""
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, msgspec.Meta):
            found = extra.description or found
        elif isinstance(text := getattr(extra, "description", None) or getattr(extra, "documentation", None), str):
            found = text
    return " ".join(found.split())


@functools.lru_cache(maxsize=1024)
def get_field_docs(kind: type) -> dict[str, str]:
    """Return the docstrings of the fields of a class by name: below each field, or in a section of its docstring."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        found |= parse_field_section(vars(base).get("__doc__") or "")
        found |= _read_attribute_docs(base)
    return found


def parse_field_section(docstring: str) -> dict[str, str]:
    """Return what a section such as `Args:` or `Attributes:` says of each name."""
    found: dict[str, str] = {}
    depth: int | None = None
    name, is_inside = "", False
    for line in inspect.cleandoc(docstring).splitlines():
        indent = len(line) - len(line.lstrip())
        if _FIELD_SECTION.match(line):
            is_inside, depth = True, None
        elif line and not indent:
            is_inside = False
        elif is_inside and line:
            depth = indent if depth is None else depth
            if indent == depth and (parts := _FIELD_LINE.match(line.strip())):
                name, found[parts[1]] = parts[1], parts[2]
            elif name in found:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _read_attribute_docs(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class, from its source; none if that can't be read."""
    if not _is_from_author(kind):
        return {}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except Exception:  # noqa: BLE001 - the file may hold anything by now
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, below in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = first_paragraph(below.value.value)
    return found


def _is_from_author(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in ("builtins", "msgspec", "pydantic", "typing", "enum", "abc")
