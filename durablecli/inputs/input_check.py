"""Checks an input before an orchestration is started: by the decoding that the orchestrator does, or by the schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec import Raw

from durablecli.errors import InvalidInput, Mismatch
from durablecli.inputs.input_schema import Schema, default_input, make_schema, resolve
from durablecli.inputs.schema_check import describe, find_problems
from durablecli.model.events import NULL
from durablecli.model.payloads import decode
from durablecli.model.suggestions import find_closest
from durablecli.model.typed_decode import path_step

_MAX_PROBLEMS = 10
_MISSING = re.compile(r"^Object missing required field `(.*?)`")
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*?)`")
_EXPECTED = re.compile(r"^Expected `(.*?)`(?:, got `.*?`| (.*))?$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\"(.*?)\"\]")
_PYDANTIC_LIST = re.compile(r"^\w+ couldn't be made of this")


class InputRules(NamedTuple):
    """What is known of the input of the orchestrator `name`: its schema, and a check that raises InvalidInput."""

    name: str
    schema: Schema
    check: Callable[[Raw], None]

    def complete(self, payload: Raw | None) -> Raw:
        """Return the input of a start, checked; if none is given, `{}` where an object is declared, else null."""
        found = payload or default_input(self.schema) or NULL
        self.check(found)
        return found

    @classmethod
    def published(cls, name: str, schema: Schema) -> InputRules:
        """Return the rules of a schema, where the code isn't loaded."""
        return cls(name, schema, partial(check_by_schema, name, schema))


def check_by_type(name: str, input_type: Any, payload: Raw) -> None:
    """Raise InvalidInput if the orchestrator `name` can't decode its input as the type that it declares."""
    try:
        decode(payload, input_type)
    except Mismatch as error:
        raise InvalidInput(_explain(name, make_schema(input_type), _read(payload), _list_problems(error))) from error


def check_by_schema(name: str, schema: Schema, payload: Raw) -> None:
    """Raise InvalidInput if an input can't fit the schema that the engine has published of the orchestrator `name`."""
    value = _read(payload)
    if problems := find_problems(value, schema):
        raise InvalidInput(_explain(name, schema, value, problems))


def _read(payload: Raw) -> Any:
    return decode(payload)


def _list_problems(error: Mismatch) -> list[tuple[str, str]]:
    """Return the problems that a failed decoding reports: one, or all those that pydantic has found."""
    cause: Any = error.__cause__
    if callable(listed := getattr(cause, "errors", None)) and _PYDANTIC_LIST.match(error.reason):
        return [
            (error.path + "".join(_to_step(each) for each in found.get("loc", ())), str(found.get("msg", "")))
            for found in listed()
        ]
    return [(error.path, error.reason)]


def _to_step(part: object) -> str:
    return f"[{part}]" if isinstance(part, int) else path_step(part)


def _explain(name: str, schema: Schema, value: Any, problems: Iterable[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Put the problems in words: with the value that was given, the fields that are needed, and suggestions."""
    found = [_explain_one(name, schema, value, path, reason) for path, reason in problems]
    return found[:_MAX_PROBLEMS]


def _explain_one(name: str, schema: Schema, value: Any, path: str, reason: str) -> tuple[str, str]:
    if (missing := _MISSING.match(reason)) or reason in ("missing field", "Field required"):
        parent, path = (path, f"{path}{path_step(missing[1])}") if missing else (_parent(path), path)
        return path, f"missing field{_describe_needs(name, schema, value, parent)}"
    if (unknown := _UNKNOWN.match(reason)) or reason in ("unknown field", "Extra inputs are not permitted"):
        parent, path = (path, f"{path}{path_step(unknown[1])}") if unknown else (_parent(path), path)
        return path, f"unknown field{_suggest(_last_name(path), _properties_at(schema, parent))}"
    if expected := _EXPECTED.match(reason):
        is_known, given = _find_value(value, path)
        words = " ".join(filter(None, expected.groups())).replace("`", "")
        return path, f"expected {words}, got {describe(given)}" if is_known else reason
    return path, " ".join(reason.split())


def _describe_needs(name: str, schema: Schema, value: Any, parent: str) -> str:
    """Name the fields that are required at a place, and those that were given and look like a misspelled one."""
    place = _schema_at(schema, parent)
    needed = ", ".join(place.get("required", ()))
    owner = name if parent == "$" else place.get("title", parent)
    text = f" ({owner} needs: {needed})" if needed else ""
    is_known, given = _find_value(value, parent)
    unknown = [each for each in given if each not in place.get("properties", {})] if isinstance(given, dict) else []
    if is_known and unknown and place.get("properties"):
        text += f"; unknown field '{unknown[0]}'"
    return text


def _suggest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = find_closest(word, names)
    return f"; did you mean '{near}'?" if near else f" (known: {', '.join(names)})" if names else ""


def _properties_at(schema: Schema, path: str) -> dict[str, Any]:
    found: dict[str, Any] = _schema_at(schema, path).get("properties", {})
    return found


def _schema_at(schema: Schema, path: str) -> Schema:
    """Return the schema of the value at a path; `{}` if there is none, or several."""
    here = _without_null(schema, schema)
    for name, index, other in _STEP.findall(path):
        inner = here.get("items") if index else here.get("properties", {}).get(name or other)
        here = _without_null(inner, schema) if isinstance(inner, dict) else {}
    return here


def _without_null(schema: Schema, root: Schema) -> Schema:
    """Return a schema, or the only option beside null that it has."""
    here = resolve(schema, root)
    options = [found for each in here.get("anyOf", ()) if (found := resolve(each, root)).get("type") != "null"]
    return options[0] if len(options) == 1 else here


def _find_value(value: Any, path: str) -> tuple[bool, Any]:
    """Return whether there is a value at a path, and the value."""
    for name, index, other in _STEP.findall(path):
        try:
            value = value[int(index)] if index else value[name or other]
        except (KeyError, IndexError, TypeError):
            return False, None
    return "[...]" not in path, value


def _parent(path: str) -> str:
    steps = list(_STEP.finditer(path))
    return path[: steps[-1].start()] if steps else path


def _last_name(path: str) -> str:
    steps = list(_STEP.finditer(path))
    return next(filter(None, steps[-1].groups()), "") if steps else ""
