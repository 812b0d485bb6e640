"""Values on their way into and out of a history: plain JSON, and nothing is lost in silence.

msgspec writes at C speed, but it writes NaN as null and the key 1 as "1". So a value is looked through first: what is
plain JSON already (nearly every payload) is written at once; anything else is turned into plain JSON step by step,
and what JSON can't hold is refused with its path. Reading goes by annotation only: no class that a payload names is
ever imported or called.
"""

from __future__ import annotations

import dataclasses
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

from durablecli.errors import Mismatch, Unserializable, UsageError
from durablecli.model import custom_objects, shapes

PAYLOAD_LIMIT = 16 * 1024 * 1024
DEEPEST = 200

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder().decode
_read_members = msgspec.json.Decoder(dict[str, Raw]).decode
_ATOMS = frozenset({str, int, bool, type(None)})
_NUMBERS = _ATOMS | {float}
_TEXT = frozenset({str})
_SCALARS = (datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray, memoryview)


def encode(value: Any, limit: int = PAYLOAD_LIMIT) -> Raw:
    """The JSON of a value; raises Unserializable with the path, or UsageError if it has more than `limit` bytes.

    Beyond plain JSON: dataclasses, enums, Structs, named tuples, sets (sorted), dates and times, UUID, Decimal, bytes
    (base64), paths, pydantic models, and every class that has `to_json`.
    """
    data = _encode(value)
    if len(data) > limit:
        raise UsageError(
            f"the payload has {len(data):,} bytes, the limit is {limit:,}: keep it in a file and pass its path"
        )
    return Raw(data)


def decode(raw: Raw | bytes, annotation: Any = Any) -> Any:
    """The value of a payload, built by the annotation; raises Mismatch with the path. Without one: plain JSON."""
    try:
        if annotation is not Raw and custom_objects.may_be_in(raw):
            return shapes.build(_read(raw), annotation, "$")
        if annotation is Any:
            return _read(raw)
        return shapes.reader(annotation)(raw)
    except msgspec.ValidationError as error:
        raise Mismatch(*shapes.located(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Mismatch("$", f"this is no JSON: {error}") from None
    except RecursionError:
        raise Mismatch("$", "the JSON is nested too deep") from None


def members(raw: Raw | bytes) -> dict[str, Raw]:
    """The members of a JSON object, undecoded; raises Mismatch."""
    try:
        return _read_members(raw)
    except msgspec.ValidationError as error:
        raise Mismatch(*shapes.located(error)) from None


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _encode(value: Any) -> bytes:
    try:
        if _is_plain(value, 0):
            return _write(value)
    except (ValueError, RecursionError):
        pass  # a lone surrogate, or too many digits: found below, with its path
    if isinstance(value, Raw):
        return bytes(value)
    try:
        return _write(_plain(value, "$", 0))
    except RecursionError:
        raise Unserializable("$", "is nested too deep, or contains itself") from None


def _is_plain(value: Any, depth: int) -> bool:
    """Whether msgspec writes this as it stands. Looks at types in bulk: a long list of numbers costs one pass in C."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is float:
        return isfinite(value)
    if kind is dict:
        if value and not _TEXT.issuperset(map(type, value)):
            return False
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    kinds = set(map(type, items))
    if kinds <= _ATOMS:
        return True
    if kinds <= _NUMBERS:
        return all(isfinite(item) for item in items if type(item) is float)
    return depth < DEEPEST and all(_is_plain(item, depth + 1) for item in items)


def _plain(value: Any, path: str, depth: int) -> Any:
    """The same value in None, bool, int, float, str, list and dict."""
    if depth > DEEPEST:
        raise Unserializable("$", f"is nested deeper than {DEEPEST} levels, or contains itself")
    if value is None or isinstance(value, bool):
        return value
    if (hook := _hook(type(value))) is not None:
        data = _plain(_hooked(hook, value, path), path, depth + 1)
        return custom_objects.in_envelope(type(value), data)
    if isinstance(value, Enum):
        return _plain(value.value, path, depth + 1)
    if isinstance(value, str | int | float):
        return _atom(value, path)
    if isinstance(value, _SCALARS):
        return _scalar(value, path)
    if isinstance(value, PurePath):
        return _text(str(value), path)
    if isinstance(value, Raw):
        return _read(value)
    return _composite(value, path, depth)


def _hook(kind: type) -> Callable[[Any], Any] | None:
    """How a class says it is written: `to_json` (static, or of the instance), or pydantic's `model_dump`."""
    if callable(hook := getattr(kind, "to_json", None)):
        return hook  # type: ignore[no-any-return]
    if callable(dump := getattr(kind, "model_dump", None)):
        return lambda value: dump(value, mode="json")
    return None


def _hooked(hook: Callable[[Any], Any], value: Any, path: str) -> Any:
    try:
        return hook(value)
    except Exception as error:
        name = type(value).__qualname__
        raise Unserializable(path, f"{name} couldn't be written: {type(error).__name__}: {error}") from error


def _atom(value: str | float, path: str) -> Any:
    if isinstance(value, str):
        return _text(str.__str__(value), path)
    if isinstance(value, float):
        if not isfinite(value):
            raise Unserializable(path, f"{float.__repr__(value)} is no JSON number; pass None or a string")
        return float.__float__(value)
    if type(value) is not int:
        name = type(value).__qualname__
        raise Unserializable(path, f"{name} is a kind of int that JSON would not keep; pass int(value)")
    try:
        _write(value)
    except ValueError:
        raise Unserializable(path, "an integer of more than 4,300 digits; pass it as a string") from None
    return value


def _text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unserializable(path, f"the text holds a lone surrogate at {error.start}; pass bytes instead") from None
    return text


def _scalar(value: Any, path: str) -> Any:
    kind = next(base for base in type(value).__mro__ if base in _SCALARS)
    if type(value) is not kind and kind in (datetime, date, time):
        return value.isoformat()
    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError, BufferError) as error:
        raise Unserializable(path, f"{type(value).__qualname__} can't be written: {error}") from None


def _composite(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, type):
        raise Unserializable(path, f"the class {value.__qualname__} can't be written as JSON; pass an object of it")
    fields = _fields(value)
    if fields is not None:
        return {name: _plain(item, f"{path}{shapes.step(name)}", depth + 1) for name, item in fields}
    if isinstance(value, Mapping):
        return _mapping(value, path, depth)
    if isinstance(value, msgspec.Struct):  # array_like
        value = [*_struct_tag(value), *(getattr(value, name) for name in value.__struct_fields__)]
    if isinstance(value, list | tuple | deque):
        return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return _sorted([_plain(item, f"{path}[*]", depth + 1) for item in value])
    raise Unserializable(path, _refusal(value))


def _fields(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Names and values of what is written as an object by its fields; None if it isn't."""
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


def _mapping(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    made = {_key(key, path): _plain(item, f"{path}{shapes.step(key)}", depth + 1) for key, item in value.items()}
    if len(made) != len(value):
        raise Unserializable(path, "two keys are written alike")
    return made


def _key(key: Any, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return _text(str.__str__(key), path)
    raise Unserializable(path, f"the key {key!r:.60} is no string, and JSON has no other keys; pass str(key)")


def _sorted(items: list[Any]) -> list[Any]:
    """One order for equal sets, whatever the hash seed: numbers by value, all else by its JSON."""
    if all(isinstance(item, int | float) for item in items):
        return sorted(items)
    return sorted(items, key=_write)


def _refusal(value: Any) -> str:
    name = type(value).__qualname__
    if hasattr(type(value), "__await__"):
        return f"{name} is not a value yet; did you forget yield or await?"
    if hasattr(type(value), "__next__") or name in ("range", "dict_keys", "dict_values", "dict_items"):
        return f"{name} can't be written as JSON; pass list(...) of it"
    return f"{name} can't be written as JSON; make it a dataclass, or give it to_json and from_json"
