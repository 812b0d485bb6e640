"""The fields of a class, as JSON and as its __init__ name them."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from typing import Any, NamedTuple

import msgspec

from durablecli.model.annotations import resolve_type_hints


class Field(NamedTuple):
    """A field of a class: its key in JSON, its name in Python, its annotation, and whether it is required."""

    key: str
    name: str
    annotation: Any
    required: bool
    in_init: bool = True


@functools.lru_cache(maxsize=1024)
def get_fields(kind: Any) -> tuple[Field, ...] | None:
    """Return the fields of a Struct, dataclass, attrs class, TypedDict or named tuple; None for any other class."""
    if issubclass(kind, msgspec.Struct):
        return _struct_fields(kind)
    if dataclasses.is_dataclass(kind):
        hints, nothing = resolve_type_hints(kind), dataclasses.MISSING
        return tuple(
            Field(
                key=f.name,
                name=f.name,
                annotation=hints.get(f.name, Any),
                required=f.init and f.default is nothing and f.default_factory is nothing,
                in_init=f.init,
            )
            for f in dataclasses.fields(kind)
        )
    if hasattr(kind, "__attrs_attrs__"):
        return _attrs_fields(kind)
    if typing.is_typeddict(kind):
        return tuple(
            Field(name, name, hint, _is_required_key(kind, name, hint))
            for name, hint in resolve_type_hints(kind).items()
        )
    if issubclass(kind, tuple) and hasattr(kind, "_field_defaults"):
        hints = resolve_type_hints(kind)
        return tuple(Field(n, n, hints.get(n, Any), n not in kind._field_defaults) for n in kind._fields)
    return None


def _is_required_key(kind: Any, name: str, hint: Any) -> bool:
    """Whether a TypedDict requires a key. Its own set of these is wrong where annotations are postponed."""
    origin = typing.get_origin(hint)
    if origin in (typing.Required, typing.NotRequired):
        return origin is typing.Required
    return name in kind.__required_keys__


def _attrs_fields(kind: Any) -> tuple[Field, ...]:
    """Return the fields of an attrs class, whose __init__ names a field `_x` `x`, or by its alias."""
    hints, nothing = resolve_type_hints(kind), sys.modules["attr"].NOTHING
    return tuple(
        Field(
            key=each.name,
            name=each.name if not each.init else getattr(each, "alias", None) or each.name.lstrip("_"),
            annotation=hints.get(each.name, Any),
            required=each.init and each.default is nothing,
            in_init=each.init,
        )
        for each in kind.__attrs_attrs__
    )


def _struct_fields(kind: type[msgspec.Struct]) -> tuple[Field, ...]:
    hints, nothing = resolve_type_hints(kind), msgspec.NODEFAULT
    keys, names, defaults = kind.__struct_encode_fields__, kind.__struct_fields__, kind.__struct_defaults__
    defaults = (nothing,) * (len(names) - len(defaults)) + defaults
    parts = zip(keys, names, defaults, strict=True)
    return tuple(Field(key, name, hints.get(name, Any), default is nothing) for key, name, default in parts)
