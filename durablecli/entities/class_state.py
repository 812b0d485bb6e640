"""The state of a class entity: a JSON object of its attributes, each read by its annotation.

An object is made without arguments, then gets the saved attributes. So a field that is added later has its default, and
attributes that the code no longer knows are kept.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import typing
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from durablecli.entities.context import CONTEXT_ATTRIBUTE, DurableEntity, DurableEntityContext
from durablecli.errors import Mismatch
from durablecli.model import payloads, round_trip, typed_decode
from durablecli.model.annotations import resolve_type_hints
from durablecli.model.payloads import decode, encode

_IMMUTABLE_TYPES = (type(None), bool, int, float, str, bytes)
_CONTAINER_TYPES = (list, dict, set, bytearray)


class StateFields(Protocol):
    """Converts a state to an object of a class, and back."""

    def load(self, state: Raw, context: DurableEntityContext) -> Any: ...
    def save(self, entity_object: Any, limit: int) -> Raw: ...


def make_state_fields(kind: type) -> StateFields:
    """Make the StateFields of a class."""
    return StructFields(kind) if issubclass(kind, msgspec.Struct) else AttributeFields(kind)


class AttributeFields:
    """Those of an ordinary class or a dataclass."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._hints = {name: hint for name, hint in resolve_type_hints(kind).items() if not _is_class_level(hint)}
        found_classes = {name: round_trip.find_field_classes(hint) for name, hint in self._hints.items()}
        self._classes = {name: classes for name, classes in found_classes.items() if classes}
        self._slots = _slot_names(kind)
        found = _class_defaults(kind)
        self._shared_defaults = {
            name: found[name] for name in self._hints if name in found and _is_immutable(found[name])
        }
        self._copied_defaults = {
            name: found[name] for name in self._hints if name in found and name not in self._shared_defaults
        }
        # Without an annotation it may be a constant: it is copied too, and saved only if it was changed.
        rest = found.keys() - resolve_type_hints(kind).keys()
        self._possible_constants = {name: found[name] for name in rest if isinstance(found[name], _CONTAINER_TYPES)}
        self._unsaved_names = {
            name for name in dir(kind) if isinstance(_get_static_attribute(kind, name), functools.cached_property)
        }
        self._wants_context = issubclass(kind, DurableEntity)
        if self._wants_context:
            self._unsaved_names.add(CONTEXT_ATTRIBUTE)
        self._has_init = kind.__init__ is not object.__init__
        self._set_attributes = _set_one_by_one if self._slots else _set_all

    def load(self, state: Raw, context: DurableEntityContext) -> Any:
        saved = self._decode_state(state) if state else None
        entity_object = self._kind.__new__(self._kind)
        if self._shared_defaults:
            self._set_attributes(entity_object, self._shared_defaults)
        for values in (self._copied_defaults, self._possible_constants):
            if values:
                self._set_attributes(entity_object, copy.deepcopy(values))
        if self._wants_context:
            vars(entity_object)[CONTEXT_ATTRIBUTE] = context
        if self._has_init:
            entity_object.__init__()
        if saved:
            self._set_attributes(entity_object, saved)
        return entity_object

    def save(self, entity_object: Any, limit: int) -> Raw:
        values = getattr(entity_object, "__dict__", {})
        if self._slots:
            values = {
                name: getattr(entity_object, name) for name in self._slots if hasattr(entity_object, name)
            } | values
        if self._unsaved_names or self._possible_constants:
            values = {name: value for name, value in values.items() if not self._is_unsaved(name, value)}
        for name, classes in self._classes.items():
            round_trip.check_no_subclass_fields_lost(values.get(name), classes, f"${typed_decode.path_step(name)}")
        return encode(values, limit)

    def _is_unsaved(self, name: str, value: Any) -> bool:
        return name in self._unsaved_names or (
            name in self._possible_constants and bool(value == self._possible_constants[name])
        )

    def _decode_state(self, state: Raw) -> dict[str, Any]:
        hints = self._hints
        made = {}
        for name, raw in payloads.decode_members(state).items():
            try:
                made[name] = decode(raw, hints.get(name, Any))
            except Mismatch as error:
                path = typed_decode.path_step(name) + error.path[1:]
                raise Mismatch(f"${path}", f"the saved state: {error.reason}") from None
        return made


class StructFields:
    """Those of a msgspec.Struct."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        config = kind.__struct_config__
        self._names = list(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
        self._is_plain = config.tag is None and not config.array_like
        self._wants_context = issubclass(kind, DurableEntity)

    def load(self, state: Raw, context: DurableEntityContext) -> Any:
        entity_object = decode(state, self._kind) if state else self._kind()
        if self._wants_context:
            vars(entity_object)[CONTEXT_ATTRIBUTE] = context
        return entity_object

    def save(self, entity_object: Any, limit: int) -> Raw:
        if not self._is_plain:
            return encode(entity_object, limit)
        round_trip.check_no_fields_lost(entity_object, "$")
        values = {key: getattr(entity_object, name) for key, name in self._names}
        return encode({key: value for key, value in values.items() if value is not msgspec.UNSET}, limit)


# ── inspecting classes ───────────────────────────────────────────────────────────────────────────────────────────────


def _is_class_level(hint: Any) -> bool:
    """Whether an annotation is of a class attribute, not of an instance attribute."""
    origin = typing.get_origin(hint) or hint
    if isinstance(hint, str):
        return hint.startswith(("ClassVar", "typing.ClassVar", "Final", "typing.Final"))
    return origin in (typing.ClassVar, typing.Final, dataclasses.KW_ONLY) or isinstance(hint, dataclasses.InitVar)


def _slot_names(kind: type) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for base in reversed(kind.__mro__):
        named = vars(base).get("__slots__", ())
        for name in (named,) if isinstance(named, str) else named:
            if not name.endswith("__"):  # as __dict__ and __weakref__ do
                found[f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") else name] = None
    return tuple(found)


def _class_defaults(kind: type) -> dict[str, Any]:
    """Return the class attributes that are defaults of its objects: no methods, properties or slots."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base not in (object, DurableEntity):
            found |= {name: value for name, value in vars(base).items() if not name.startswith("__")}
    return {name: value for name, value in found.items() if not (hasattr(type(value), "__get__") or callable(value))}


def _is_immutable(value: Any) -> bool:
    return type(value) in _IMMUTABLE_TYPES


def _get_static_attribute(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _set_all(entity_object: Any, values: dict[str, Any]) -> None:
    entity_object.__dict__.update(values)


def _set_one_by_one(entity_object: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        with suppress(AttributeError):  # saved when the class still had this slot
            object.__setattr__(entity_object, name, value)
