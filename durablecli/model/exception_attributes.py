"""Attributes of an exception that JSON can hold: recorded with its failure, restored on the exception raised for it.

They are read and written without running code of the exception's class, and limited in number and size.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from math import isfinite
from types import MemberDescriptorType
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.model.raw_attributes import get_class_dict, get_dict, get_mro

NO_ATTRIBUTES = Raw()
"""Left out of the line: msgspec compares this default by identity."""
MAX_ATTRIBUTES = 32
MAX_ATTRIBUTES_BYTES = 8 * 1024
_MAX_DEPTH = 20
_SKIPPED_NAMES = frozenset({"args", "failure", "with_traceback", "add_note", "obj"})
"""Names that a TaskFailedError has itself, and the object of an AttributeError."""


class _NotJson(Exception):
    """JSON can't hold a value, or it is too large to record."""


def collect_attributes(error: BaseException) -> Raw:
    """Return the public attributes of an exception as a JSON object; empty if there are none."""
    found: dict[str, Any] = {}
    budget = MAX_ATTRIBUTES_BYTES
    try:
        for name, value in _read_attributes(error).items():
            if len(found) == MAX_ATTRIBUTES:
                break
            with suppress(_NotJson):
                found[name], budget = _to_json_value(value, budget - len(name) - 4)
        return Raw(msgspec.json.encode(found)) if found else NO_ATTRIBUTES
    except Exception:  # noqa: BLE001 - user code, or text that UTF-8 can't hold
        return NO_ATTRIBUTES


def restore_attributes(error: BaseException, attributes: Raw) -> None:
    """Set recorded attributes on an exception, except those that its class makes read-only."""
    if not attributes:
        return
    for name, value in msgspec.json.decode(attributes).items():
        if name not in _SKIPPED_NAMES:
            set_attribute(error, name, value)


def set_attribute(error: BaseException, name: str, value: object) -> None:
    """Set an attribute in its slot or in the dictionary, without running code of the exception's class."""
    for base in get_mro(type(error)):
        member = get_class_dict(base).get(name)
        if type(member) is MemberDescriptorType:
            with suppress(AttributeError, TypeError):  # a read-only one, or one of another type
                member.__set__(error, value)
            return
    get_dict(error)[name] = value


def _read_attributes(error: BaseException) -> dict[str, Any]:
    found = {name: value for name, value in get_dict(error).items() if type(name) is str}
    for base in get_mro(type(error)):
        for name, member in get_class_dict(base).items():
            if type(member) is MemberDescriptorType and name not in found:
                with suppress(AttributeError):  # an empty slot
                    value = member.__get__(error)
                    if value is not None:
                        found[name] = value
    return {name: value for name, value in found.items() if not name.startswith("_") and name not in _SKIPPED_NAMES}


def _to_json_value(value: Any, budget: int, depth: int = 0) -> tuple[Any, int]:
    """Return the value in JSON types, and the rest of the budget in bytes; raises _NotJson."""
    kind = type(value)
    if issubclass(kind, Enum):
        value = value.value
        kind = type(value)
    if value is None or kind is bool:
        return value, _spend(budget, 5)
    if issubclass(kind, str):
        return str.__str__(value), _spend_text(budget, str.__str__(value))
    if issubclass(kind, int):
        return int.__int__(value), _spend(budget, int.bit_length(value) // 3 + 2)
    if issubclass(kind, float):
        if not isfinite(float.__float__(value)):
            raise _NotJson
        return float.__float__(value), _spend(budget, 18)
    if depth == _MAX_DEPTH:
        raise _NotJson
    if kind is list or kind is tuple:
        return _to_json_array(value, budget, depth)
    if kind is dict:
        return _to_json_object(value, budget, depth)
    raise _NotJson


def _to_json_array(items: list[Any] | tuple[Any, ...], budget: int, depth: int) -> tuple[list[Any], int]:
    found = []
    budget = _spend(budget, 2)
    for item in items:
        plain, budget = _to_json_value(item, budget - 1, depth + 1)
        found.append(plain)
    return found, budget


def _to_json_object(fields: dict[Any, Any], budget: int, depth: int) -> tuple[dict[str, Any], int]:
    found = {}
    budget = _spend(budget, 2)
    for name, value in fields.items():
        if type(name) is not str:
            raise _NotJson
        found[name], budget = _to_json_value(value, _spend_text(budget, name) - 2, depth + 1)
    return found, budget


def _spend(budget: int, size: int) -> int:
    if size > budget:
        raise _NotJson
    return budget - size


def _spend_text(budget: int, text: str) -> int:
    _spend(budget, len(text) + 2)  # before a large text is encoded
    try:
        return _spend(budget, len(text.encode()) + 2)
    except UnicodeEncodeError:
        raise _NotJson from None
