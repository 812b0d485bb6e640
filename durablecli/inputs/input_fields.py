"""The fields of an input, as its schema has them: for the help, forms and completion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from durablecli.inputs.input_schema import UNCHECKED, Schema, resolve
from durablecli.inputs.schema_check import describe_type
from durablecli.model.suggestions import did_you_mean

_MAX_DEPTH = 3
_BOUNDS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}


class InputField(NamedTuple):
    """A field: its path such as `address.city`, its type in words, and its default as JSON, empty if it has none."""

    path: str
    type: str
    description: str
    default: str
    is_required: bool
    schema: Schema


def list_fields(schema: Schema, *, nested: bool = True) -> list[InputField]:
    """Return the fields of an input in their order; with `nested` those of objects in it instead of the objects."""
    return list(_iter_fields(schema, schema, "", _MAX_DEPTH if nested else 0, is_needed=True))


def _iter_fields(schema: Schema, root: Schema, prefix: str, depth: int, *, is_needed: bool) -> Iterator[InputField]:
    here = find_object(schema, root)
    needed = here.get("required", ())
    for name, inner in here.get("properties", {}).items():
        path, is_required = f"{prefix}{name}", is_needed and name in needed
        if depth and find_object(inner, root).get("properties"):
            yield from _iter_fields(inner, root, f"{path}.", depth - 1, is_needed=is_required)
            continue
        found = resolve(inner, root)
        default = msgspec.json.encode(found["default"]).decode() if "default" in found else ""
        text = " ".join(str(found.get("description", "")).split())
        yield InputField(path, describe_constrained(inner, root), text, default, is_required, found)


def find_object(schema: Schema, root: Schema) -> Schema:
    """Return the schema of the object that a value has to be, or null; `{}` if there is none, or several."""
    here = resolve(schema, root)
    if here.get("type") == "object":
        return here
    options = [resolve(each, root) for each in here.get("anyOf", ())]
    objects = [each for each in options if each.get("type") == "object"]
    others = [each for each in options if each.get("type") not in ("object", "null")]
    return objects[0] if len(objects) == 1 and not others else {}


def describe_constrained(schema: Schema, root: Schema) -> str:
    """Return a type in words with its constraints, such as `int >= 1`."""
    here = resolve(schema, root)
    bounds = [text.format(here[key]) for key, text in _BOUNDS.items() if key in here]
    return ", ".join([" ".join([describe_type(here, root), *bounds[:1]]), *bounds[1:]])


def find_ignored_field(name: str, schema: Schema, value: Any) -> str:
    """Return a line on the first field that the orchestrator `name` ignores, as it isn't declared; empty if none is."""
    here = find_object(schema, schema)
    properties = here.get("properties", {})
    if not isinstance(value, dict) or not properties or UNCHECKED in here or "additionalProperties" in here:
        return ""
    found = next((each for each in value if each not in properties), None)
    return "" if found is None else f"{name} ignores the field '{found}'{did_you_mean(found, properties)}"
