"""Converts values to plain JSON step by step. A value that JSON can't hold or return is rejected with its path."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

from durablecli.errors import Unserializable
from durablecli.limits import MAX_NESTING_DEPTH
from durablecli.model import custom_objects, pydantic_checks, pydantic_models, typed_decode
from durablecli.model.json_codec import decode_json, encode_json
from durablecli.model.round_trip import check_no_fields_lost
from durablecli.model.unserializable import type_label, why_unserializable

"""Levels of arrays and objects in a payload."""
TOO_DEEP = f"nested deeper than {MAX_NESTING_DEPTH} levels, which is the limit; pass a flatter value"
TOO_DEEP_OR_CYCLIC = (
    f"nested deeper than {MAX_NESTING_DEPTH} levels, which is the limit, or it contains itself; pass a flatter value"
)

ATOM_TYPES = frozenset({str, int, bool, type(None)})
_ATOM_OR_FLOAT_TYPES = ATOM_TYPES | {float}
_TEXT_TYPES = frozenset({str})
_SCALAR_TYPES = (datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray, memoryview)
_ZERO, _MINUTE = timedelta(), timedelta(minutes=1)


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether msgspec writes this unchanged. Checks types in bulk: a long list of numbers takes one pass in C."""
    kind = type(value)
    if kind in ATOM_TYPES:
        return True
    if kind is float:
        return isfinite(value)
    if kind is dict:
        if value and not _TEXT_TYPES.issuperset(map(type, value)):
            return False
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    if depth >= MAX_NESTING_DEPTH:
        return False
    kinds = set(map(type, items))
    if kinds <= ATOM_TYPES:
        return True
    if kinds <= _ATOM_OR_FLOAT_TYPES:
        return all(isfinite(item) for item in items if type(item) is float)
    return all(is_plain(item, depth + 1) for item in items)


def to_plain(value: Any, path: str = "$", depth: int = 0) -> Any:
    """Convert a value to None, bool, int, float, str, list and dict. `depth` is the number of levels above it."""
    if value is None or isinstance(value, bool):
        return value
    kind: Any = type(value)
    if (hook := _find_serializer(kind)) is not None:
        return custom_objects.wrap_in_envelope(kind, to_plain(_call_serializer(hook, value, path), path, depth))
    if isinstance(value, Enum):
        return to_plain(value.value, path, depth)
    if isinstance(value, str | int | float):
        return _convert_atom(value, path)
    if isinstance(value, _SCALAR_TYPES):
        return _convert_scalar(value, path)
    if isinstance(value, PurePath):
        return _check_text(str(value), path)
    if isinstance(value, Raw):
        return to_plain(decode_json(value), path, depth)
    if depth >= MAX_NESTING_DEPTH:
        raise Unserializable("$", TOO_DEEP_OR_CYCLIC)
    return _convert_composite(value, path, depth)


@functools.lru_cache(maxsize=1024)
def _find_serializer(kind: Any) -> Callable[[Any], Any] | None:
    """Find how a class is serialized: by `to_json` (static or an instance method), or pydantic's `model_dump`."""
    if callable(hook := getattr(kind, "to_json", None)):
        return hook if callable(getattr(kind, "from_json", None)) else _reject_json_text(hook)
    if pydantic_models.is_pydantic(kind):
        return pydantic_checks.dump_without_loss
    if callable(dump := getattr(kind, "model_dump", None)):
        return lambda value: dump(value, mode="json")
    return None


def _reject_json_text(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a `to_json` without `from_json`, like that of pandas, to reject JSON text: it would be read as text."""

    def serialize(value: Any) -> Any:
        found = hook(value)
        if isinstance(found, str) and found[:1] in ("{", "["):
            raise Unserializable(
                "$",
                f"{type_label(type(value))} has a to_json that returns text, and no from_json to read it back: "
                "pass plain data, such as df.to_dict('records') of a pandas DataFrame, or series.tolist()",
            )
        return found

    return serialize


def _call_serializer(hook: Callable[[Any], Any], value: Any, path: str) -> Any:
    try:
        return hook(value)
    except RecursionError:
        raise
    except Unserializable as error:
        raise Unserializable(f"{path}{error.path[1:]}", error.reason) from error
    except Exception as error:
        name = type(value).__qualname__
        raise Unserializable(path, f"{name} couldn't be written: {type(error).__name__}: {error}") from error


def _convert_atom(value: str | float, path: str) -> Any:
    if isinstance(value, str):
        return _check_text(str.__str__(value), path)
    if isinstance(value, float):
        if not isfinite(value):
            raise Unserializable(path, f"{float.__repr__(value)} is not a JSON number; pass None or a string")
        return float.__float__(value)
    if type(value) is not int:
        name = type(value).__qualname__
        raise Unserializable(path, f"{name} is a kind of int that JSON would not keep; pass int(value)")
    try:
        encode_json(value)
    except ValueError:
        raise Unserializable(path, "an integer of more than 4,300 digits; pass it as a string") from None
    return value


def _check_text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unserializable(path, f"the text holds a lone surrogate at {error.start}; pass bytes instead") from None
    return text


# ── dates, bytes and the like ────────────────────────────────────────────────────────────────────────────────────────


def _convert_scalar(value: Any, path: str) -> Any:
    kind = next(base for base in type(value).__mro__ if base in _SCALAR_TYPES)
    try:
        base: Any = value if type(value) is kind else _to_base_class(value, kind)
        if kind in (datetime, time) and (base.utcoffset() or _ZERO) % _MINUTE:
            raise ValueError(f"{value!s:.60} has a UTC offset with seconds; pass it in UTC")
        return msgspec.to_builtins(base)
    except (TypeError, ValueError, BufferError) as error:
        raise Unserializable(path, f"{type_label(type(value))} can't be written: {error}") from None


def _to_base_class(value: Any, kind: Any) -> Any:
    """Convert an object of a subclass to its base. Raises ValueError if that loses data, as of a pandas.Timestamp."""
    base: Any
    if kind is timedelta:
        base = timedelta(value.days, value.seconds, value.microseconds)
    elif kind in (datetime, date, time):
        base = kind.fromisoformat(value.isoformat())
    elif kind is UUID:
        base = UUID(int=value.int)
    else:
        base = kind(value)
    if not bool(base == value):
        raise ValueError(f"{value!s:.60} is more than a {kind.__name__} holds; pass str(value)")
    return base


# ── containers and objects ───────────────────────────────────────────────────────────────────────────────────────────


def _convert_composite(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, type):
        raise Unserializable(path, f"the class {value.__qualname__} can't be written as JSON; pass an object of it")
    fields = _serialized_fields(value)
    if fields is not None:
        check_no_fields_lost(value, path)
        return {name: to_plain(item, f"{path}{typed_decode.path_step(name)}", depth + 1) for name, item in fields}
    if isinstance(value, Mapping):
        return _convert_mapping(value, path, depth)
    if isinstance(value, msgspec.Struct):  # array_like
        check_no_fields_lost(value, path)
        value = [*_struct_tag(value), *(getattr(value, name) for name in value.__struct_fields__)]
    if isinstance(value, list | tuple | deque):
        if hasattr(value, "_fields"):
            check_no_fields_lost(value, path)
        return [to_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return _sort_items([to_plain(item, f"{path}[*]", depth + 1) for item in value])
    raise Unserializable(path, why_unserializable(value))


def _serialized_fields(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return names and values of the fields of an object; None if it isn't written by fields."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        if kind.__struct_config__.array_like:
            return None
        tag = kind.__struct_config__.tag
        head = [] if tag is None else [(kind.__struct_config__.tag_field or "type", tag)]
        names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
        body = [(wire, getattr(value, name)) for wire, name in names]
        return [*head, *(pair for pair in body if pair[1] is not msgspec.UNSET)]
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return [(attribute.name, getattr(value, attribute.name)) for attribute in attributes]
    return None


def _struct_tag(value: msgspec.Struct) -> list[Any]:
    tag = type(value).__struct_config__.tag
    return [] if tag is None else [tag]


def _convert_mapping(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in value.items():
        text = _convert_key(key, path)
        if text in made:
            raise Unserializable(path, f"two keys are both written as {text!r:.60}: JSON has strings for keys only")
        made[text] = to_plain(item, f"{path}{typed_decode.path_step(text)}", depth + 1)
    return made


def _convert_key(key: Any, path: str) -> str:
    """Convert a key as json.dumps does."""
    if isinstance(key, Enum):
        key = key.value
    text = typed_decode.key_to_text(key)
    if text is None:
        instead = "key.item()" if callable(getattr(type(key), "tolist", None)) else "str(key)"
        raise Unserializable(
            path, f"the key {key!r:.60} is not a string, finite number, boolean or None; pass {instead}"
        )
    return _check_text(text, path)


def _sort_items(items: list[Any]) -> list[Any]:
    """Sort the items of a set, independent of the hash seed: numbers by value, all else by its JSON."""
    if all(isinstance(item, int | float) for item in items):
        return sorted(items)
    return sorted(items, key=encode_json)
