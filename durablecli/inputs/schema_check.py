"""Checks a value against the schema of an input, where the code that decodes it isn't loaded.

It finds fields that are missing or not allowed, and values of another type. It never refuses what the orchestrator
would accept, so constraints such as a pattern are left to the decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from durablecli.inputs.input_schema import LENIENT, UNCHECKED, Schema, resolve
from durablecli.model.typed_decode import path_step

_MAX_DEPTH = 32
_TYPE_WORDS = {"integer": "int", "number": "number", "string": "str", "boolean": "bool", "null": "null"}
_EXCERPT_LENGTH = 40


def find_problems(value: Any, schema: Schema) -> list[tuple[str, str]]:
    """Return what is wrong with a value, as paths and reasons; empty if nothing is."""
    return list(_check(value, schema, schema, "$", 0))


def _check(
    value: Any, schema: Schema, root: Schema, path: str, depth: int, *, is_lenient: bool = False
) -> Iterator[tuple[str, str]]:
    """Check a value; with `is_lenient`, in a class that converts scalars, only the fields in it."""
    schema = resolve(schema, root)
    if UNCHECKED in schema or depth > _MAX_DEPTH or (is_lenient and not isinstance(value, dict | list)):
        return
    if (options := schema.get("anyOf") or schema.get("oneOf")) is not None:
        yield from _check_union(value, options, root, path, depth, is_lenient)
        return
    if LENIENT in schema and "properties" not in schema:
        return
    if ("enum" in schema or "const" in schema) and not _is_listed(value, schema):
        known = ", ".join(map(str, schema.get("enum", [schema.get("const")])))
        yield path, f"{describe(value)} is not one of {known}"
    elif not fits_type(value, schema.get("type")):
        yield path, f"expected {describe_type(schema, root)}, got {describe(value)}"
    elif isinstance(value, dict):
        yield from _check_object(value, schema, root, path, depth, is_lenient or LENIENT in schema)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _check(item, items, root, f"{path}[{index}]", depth + 1, is_lenient=is_lenient)


def _check_object(
    value: dict[str, Any], schema: Schema, root: Schema, path: str, depth: int, is_lenient: bool
) -> Iterator[tuple[str, str]]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}{path_step(name)}", "missing field"
    for name, item in value.items():
        where = f"{path}{path_step(name)}"
        found = properties.get(name, others)
        if isinstance(found, dict):
            yield from _check(item, found, root, where, depth + 1, is_lenient=is_lenient)
        elif found is False:
            yield where, "unknown field"


def _check_union(
    value: Any, options: list[Schema], root: Schema, path: str, depth: int, is_lenient: bool
) -> Iterator[tuple[str, str]]:
    found = [list(_check(value, option, root, path, depth + 1, is_lenient=is_lenient)) for option in options]
    if all(found):
        deeper = [each for each in found if each[0][0] != path]  # of an option that looked right from outside
        if len(deeper) == 1:
            yield from deeper[0]
        else:
            words = " or ".join(dict.fromkeys(describe_type(option, root) for option in options))
            yield path, f"expected {words}, got {describe(value)}"


def fits_type(value: Any, kind: Any) -> bool:
    """Whether a value is of a JSON type, or of one of several; a number without a fraction is an integer too."""
    if isinstance(kind, list):
        return any(fits_type(value, each) for each in kind)
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return not isinstance(value, bool) and isinstance(value, int | float)
    return True


def _is_listed(value: Any, schema: Schema) -> bool:
    return value in schema.get("enum", [schema.get("const")])


def describe_type(schema: Schema, root: Schema) -> str:
    """Return the type of a schema in Python's words, such as `int`, `list of str` or the name of a class."""
    schema = resolve(schema, root)
    if (options := schema.get("anyOf") or schema.get("oneOf")) is not None:
        return " or ".join(dict.fromkeys(describe_type(option, root) for option in options))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if schema.get("format") == "decimal":
        return "decimal"
    if isinstance(kind, list):
        return " or ".join(_TYPE_WORDS.get(str(each), str(each)) for each in kind)
    if kind == "array":
        items = schema.get("items")
        return f"list of {describe_type(items, root)}" if items else "list"
    if kind == "object":
        return str(schema.get("title", "object"))
    if kind == "string" and (form := schema.get("format") or ("base64" if "contentEncoding" in schema else "")):
        return {"date-time": "datetime"}.get(form, str(form))
    return _TYPE_WORDS.get(str(kind)) or str(schema.get("title", "any JSON value"))


def describe(value: Any) -> str:
    """Return a JSON value for a message: short, texts in quotes."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= _EXCERPT_LENGTH else f"{text[:_EXCERPT_LENGTH]}…"
