"""The fields of a typed input in the form that starts an orchestration, made of its schema."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from durablecli.errors import InvalidInput, UsageError
from durablecli.http.dashboard.checked_form import CheckedForm
from durablecli.http.dashboard.verb_forms import FormField
from durablecli.inputs.field_texts import build_input
from durablecli.inputs.input_check import InputRules
from durablecli.inputs.input_fields import InputField, describe_constrained, find_object, list_fields

_PREFIX = "field."
_SCALARS = ("string", "integer", "number")


def make_input_fields(rules: InputRules) -> list[FormField]:
    """Return a field for each one of the input; none if the input is no object with known fields."""
    return [_make_field(each) for each in list_fields(rules.schema)]


def make_json_field(rules: InputRules | None, *, has_fields: bool) -> FormField:
    """Return the field for the input as JSON."""
    if rules is None:
        return FormField("input", "Input", "json", "JSON; empty means null.", rows=8)
    if has_fields:
        return FormField("input", "Input as JSON", "json", "The fields above replace those that it has.", rows=8)
    return FormField("input", "Input", "json", f"JSON: {describe_constrained(rules.schema, rules.schema)}.", rows=8)


def describe_input(rules: InputRules | None) -> str:
    """Return what the class of an input says of itself."""
    return "" if rules is None else str(find_object(rules.schema, rules.schema).get("description", ""))


def read_input(form: CheckedForm, rules: InputRules) -> Raw:
    """Return the input that was filled in; `form.errors` has what is wrong with it, beside the field."""
    base = form.json("input") if form.word("input") else None
    fields = make_input_fields(rules)
    pairs = [(each.name.removeprefix(_PREFIX), text) for each in fields for text in _read_texts(form, each)]
    if form.errors.get("input"):
        return Raw(b"null")
    try:
        return rules.complete(build_input(rules.name, rules.schema, pairs, base) if pairs else base)
    except InvalidInput as error:
        for path, reason in error.problems:
            name = _find_field(path, fields)
            form.errors[name] = reason if name != "input" or path == "$" else f"{path}: {reason}"
    except UsageError as error:
        form.errors["input"] = str(error)
    return Raw(b"null")


def _read_texts(form: CheckedForm, field: FormField) -> list[str]:
    text = form.text(field.name)
    if field.kind == "lines":
        return [line for line in text.splitlines() if line.strip()]
    return [text] if text.strip() else []


def _find_field(path: str, fields: list[FormField]) -> str:
    """Return the name of a field at a path such as `$.address.city`; that of the JSON if there is none."""
    place = path.removeprefix("$.")
    for each in fields:
        name = each.name.removeprefix(_PREFIX)
        if place == name or place.startswith((f"{name}.", f"{name}[")) or name.startswith(f"{place}."):
            return each.name
    return "input"


def _make_field(field: InputField) -> FormField:
    options = [option for option in field.schema.get("anyOf", [field.schema]) if option.get("type") != "null"]
    option: dict[str, Any] = options[0] if len(options) == 1 else {}
    default = f"Default: {field.default}." if field.default else ""
    hint = " ".join(filter(None, (field.description, f"{field.type}.", default)))
    name, kind = f"{_PREFIX}{field.path}", option.get("type")
    if "enum" in option or kind == "boolean":
        values = [str(each) for each in option.get("enum", ("true", "false"))]
        none = [("", "Choose…" if field.is_required else "Default")]
        choices = tuple(none + [(each, each) for each in values])
        return FormField(name, field.path, "select", hint, choices=choices, is_required=field.is_required)
    if kind in ("integer", "number"):
        return FormField(name, field.path, "number", hint, is_required=field.is_required)
    if kind == "array" and option.get("items", {}).get("type") in _SCALARS:
        return FormField(name, field.path, "lines", f"{hint} One a line.", rows=3, is_required=field.is_required)
    if kind == "string" or (kind is None and options and all(each.get("type") in _SCALARS for each in options)):
        return FormField(name, field.path, "text", hint, is_required=field.is_required)
    return FormField(name, field.path, "json", f"{hint} As JSON.", rows=3, is_required=field.is_required)
