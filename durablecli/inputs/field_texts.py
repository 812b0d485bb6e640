"""Makes an input of fields that are given as texts, `city=Wien`, by the schema of the input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.errors import InvalidInput, Mismatch, UsageError
from durablecli.inputs.input_schema import Schema, resolve
from durablecli.inputs.schema_check import describe_type
from durablecli.model.payloads import decode, decode_members, encode
from durablecli.model.suggestions import did_you_mean
from durablecli.model.typed_decode import path_step

_INTEGER = re.compile(r"^[+-]?\d+$")
_MAX_DIGITS = 1_000
_BOOLEANS = {"true": True, "false": False}


def split_pair(text: str) -> tuple[str, str]:
    """Split `FIELD=VALUE`; raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{text!r} is not FIELD=VALUE")
    return name.strip(), value


def build_input(name: str, schema: Schema, pairs: Iterable[tuple[str, str]], base: Raw | None = None) -> Raw:
    """Return the input of the orchestrator `name` with the given fields, each a path such as `address.city`.

    `base` is an input whose other fields are kept. A field that is given several times is a list. Raises InvalidInput
    for unknown fields and values that don't fit.
    """
    root = resolve(schema, schema)
    if root and root.get("type", "object") != "object" and "properties" not in root and "anyOf" not in root:
        raise UsageError(f"{name} takes no fields but {describe_type(schema, schema)}: give its input as a whole")
    members = {} if base is None else _read_members(base)
    found: dict[str, Any] = {}
    for path, texts in _group(pairs).items():
        steps, place = _find_field(name, schema, path)
        where = "$" + "".join(path_step(step) for step in steps)
        _put(found, members, steps, _convert_all(texts, place, schema, where), where)
    return encode(_merge(members, found))


def _read_members(base: Raw) -> dict[str, Raw]:
    try:
        return decode_members(base)
    except Mismatch:
        raise UsageError("fields can only be added to an input that is an object") from None


def _group(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, text in pairs:
        found.setdefault(path, []).append(text)
    return found


def _find_field(name: str, schema: Schema, path: str) -> tuple[list[str], Schema]:
    """Return the steps of a path, and the schema of the field that it names."""
    here, steps, rest, where = _as_object(schema, schema), [], path, "$"
    while True:
        properties = here.get("properties", {})
        step, dot, rest = (rest, "", "") if rest in properties else rest.partition(".")
        steps.append(step)
        where += path_step(step)
        if step in properties:
            inner = properties[step]
        elif isinstance(others := here.get("additionalProperties"), dict):
            inner = others
        elif properties and others is not True:
            known = ", ".join(properties)
            raise InvalidInput([(where, f"unknown field{did_you_mean(step, properties) or f' (known: {known})'}")])
        else:
            inner = {}
        if not dot:
            return steps, inner
        here = _as_object(inner, schema)
        if here.get("type", "object") != "object":
            raise InvalidInput([(where, f"expected {describe_type(inner, schema)}, which has no field '{rest}'")])


def _as_object(schema: Schema, root: Schema) -> Schema:
    """Return the schema of an object, also if the type is one of it or null."""
    here = resolve(schema, root)
    options = [resolve(each, root) for each in here.get("anyOf", ())]
    objects = [each for each in options if each.get("type") == "object"]
    return objects[0] if len(objects) == 1 else here


def _convert_all(texts: list[str], schema: Schema, root: Schema, where: str) -> Any:
    kinds = _list_options(schema, root)
    if (array := next((each for each in kinds if each.get("type") == "array"), None)) is None:
        if len(texts) > 1:
            if any(kinds):
                raise InvalidInput([(where, f"given {len(texts)} times, but it is no list")])
            return [convert_text(text, {}, root, where) for text in texts]
        return convert_text(texts[0], schema, root, where)
    if len(texts) == 1 and texts[0].lstrip().startswith("[") and isinstance(whole := _parse(texts[0]), list):
        return whole
    if len(texts) == 1 and len(kinds) > 1 and _fits_scalar(texts[0], kinds, root, where):
        return convert_text(texts[0], {"anyOf": [each for each in kinds if each is not array]}, root, where)
    return [convert_text(text, array.get("items", {}), root, f"{where}[{index}]") for index, text in enumerate(texts)]


def _fits_scalar(text: str, kinds: list[Schema], root: Schema, where: str) -> bool:
    others = [each for each in kinds if each.get("type") not in ("array", "null")]
    try:
        return bool(others) and convert_text(text, {"anyOf": others}, root, where) is not None
    except InvalidInput:
        return False


def convert_text(text: str, schema: Schema, root: Schema, where: str = "$") -> Any:
    """Return the value that a text means for a schema: a string as it is, other types as JSON.

    Without a known type the text is JSON, or else a string. Raises InvalidInput.
    """
    options = _list_options(schema, root)
    if not any(options):
        found = _parse(text)
        return text if found is _NOT_JSON else found
    for option in sorted(options, key=_order_option):
        if (value := _convert_option(text, option)) is not _NOT_JSON:
            return value
    words = describe_type(schema, root)
    raise InvalidInput([(where, f"expected {words}, got {text!r:.80}")])


def _list_options(schema: Schema, root: Schema) -> list[Schema]:
    here = resolve(schema, root)
    if (inner := here.get("anyOf") or here.get("oneOf")) is not None:
        return [option for each in inner for option in _list_options(each, root)]
    if isinstance(here.get("type"), list):
        return [{**here, "type": each} for each in here["type"]]
    return [here]


def _order_option(option: Schema) -> int:
    """Null and strings come last: every text is a string, and null is also a text. A decimal keeps all its digits."""
    if "enum" in option or (option.get("type") == "string" and option.get("format") == "decimal"):
        return 0
    return {"string": 2, "null": 3}.get(str(option.get("type")), 1)


_NOT_JSON = object()


def _convert_option(text: str, option: Schema) -> Any:
    if "enum" in option or "const" in option:
        listed = option.get("enum", [option.get("const")])
        return next((each for each in listed if each == text), _find_listed(_parse(text), listed))
    value = _parse(text)
    match option.get("type"):
        case "string":
            return text
        case "integer":
            return int(text) if len(text) <= _MAX_DIGITS and _INTEGER.match(text.strip()) else _NOT_JSON
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else _NOT_JSON
        case "boolean":
            return _BOOLEANS.get(text.strip().lower(), _NOT_JSON)
        case "null":
            return None if value is None else _NOT_JSON
        case "object":
            return value if isinstance(value, dict) else _NOT_JSON
        case "array":
            return value if isinstance(value, list) else _NOT_JSON
    return text if value is _NOT_JSON else value


def _find_listed(value: Any, listed: list[Any]) -> Any:
    return next((each for each in listed if each == value and type(each) is type(value)), _NOT_JSON)


def _parse(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOT_JSON


def _put(found: dict[str, Any], members: Mapping[str, Raw], steps: list[str], value: Any, where: str) -> None:
    """Put a value at its path, into the object that the base has there, if it has one."""
    first, *inner = steps
    if not inner:
        if first in found:
            raise InvalidInput([(where, "given as a whole and by its fields: give only one of them")])
        found[first] = value
        return
    if first not in found:
        base = decode(members[first]) if first in members else {}
        found[first] = base if isinstance(base, dict) else {}
    here = found[first]
    for step in inner[:-1]:
        if not isinstance(here, dict):
            break
        here = here.setdefault(step, {})
    if not isinstance(here, dict):
        raise InvalidInput([(where, "given as a whole and by its fields: give only one of them")])
    here[inner[-1]] = value


def _merge(members: Mapping[str, Raw], found: Mapping[str, Any]) -> Raw:
    """Return the object of both; members that aren't replaced stay as they were written."""
    encoded = {name: Raw(encode(value)) for name, value in found.items()}
    return Raw(msgspec.json.encode({**members, **encoded}))
