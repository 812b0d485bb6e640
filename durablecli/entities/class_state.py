"""The state of a class entity: a JSON object of its attributes, each read by its annotation.

An object is made without arguments, then given what was saved. So a field that is added later has its default, and what
the code doesn't know any more is kept as it is.
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

from durablecli.entities.context import CONTEXT, DurableEntity, DurableEntityContext
from durablecli.errors import Mismatch
from durablecli.model import payloads, round_trip, typed_decode
from durablecli.model.annotations import hints_of
from durablecli.model.payloads import decode, encode

_SHARED_SAFELY = (type(None), bool, int, float, str, bytes)
_CONTAINERS = (list, dict, set, bytearray)


class Members(Protocol):
    """What an object of a class is made of: makes one from a state, and a state of one."""

    def make(self, state: Raw, context: DurableEntityContext) -> Any: ...
    def save(self, subject: Any, limit: int) -> Raw: ...


def members(kind: type) -> Members:
    """How objects of this class keep their state."""
    return Fields(kind) if issubclass(kind, msgspec.Struct) else Attributes(kind)


class Attributes:
    """Of an ordinary class, or a dataclass."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._hints = {name: hint for name, hint in hints_of(kind).items() if not _is_apart(hint)}
        found_classes = {name: round_trip.classes_in(hint) for name, hint in self._hints.items()}
        self._classes = {name: classes for name, classes in found_classes.items() if classes}
        self._slots = _slots(kind)
        found = _defaults(kind)
        self._plain = {name: found[name] for name in self._hints if name in found and _is_shared_safely(found[name])}
        self._copied = {name: found[name] for name in self._hints if name in found and name not in self._plain}
        # Without an annotation it may be meant as a constant: it is copied as well, and saved once it differs.
        rest = found.keys() - hints_of(kind).keys()
        self._perhaps = {name: found[name] for name in rest if isinstance(found[name], _CONTAINERS)}
        self._unsaved = {name for name in dir(kind) if isinstance(_static(kind, name), functools.cached_property)}
        self._wants_context = issubclass(kind, DurableEntity)
        if self._wants_context:
            self._unsaved.add(CONTEXT)
        self._has_init = kind.__init__ is not object.__init__
        self._set = _set_one_by_one if self._slots else _set_all

    def make(self, state: Raw, context: DurableEntityContext) -> Any:
        saved = self._read(state) if state else None
        subject = self._kind.__new__(self._kind)
        if self._plain:
            self._set(subject, self._plain)
        for values in (self._copied, self._perhaps):
            if values:
                self._set(subject, copy.deepcopy(values))
        if self._wants_context:
            vars(subject)[CONTEXT] = context
        if self._has_init:
            subject.__init__()
        if saved:
            self._set(subject, saved)
        return subject

    def save(self, subject: Any, limit: int) -> Raw:
        values = getattr(subject, "__dict__", {})
        if self._slots:
            values = {name: getattr(subject, name) for name in self._slots if hasattr(subject, name)} | values
        if self._unsaved or self._perhaps:
            values = {name: value for name, value in values.items() if not self._is_left_out(name, value)}
        for name, classes in self._classes.items():
            round_trip.check(values.get(name), classes, f"${typed_decode.step(name)}")
        return encode(values, limit)

    def _is_left_out(self, name: str, value: Any) -> bool:
        return name in self._unsaved or (name in self._perhaps and bool(value == self._perhaps[name]))

    def _read(self, state: Raw) -> dict[str, Any]:
        hints = self._hints
        made = {}
        for name, raw in payloads.members(state).items():
            try:
                made[name] = decode(raw, hints.get(name, Any))
            except Mismatch as error:
                path = typed_decode.step(name) + error.path[1:]
                raise Mismatch(f"${path}", f"the saved state: {error.reason}") from None
        return made


class Fields:
    """Of a msgspec.Struct."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        config = kind.__struct_config__
        self._names = list(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
        self._is_plain = config.tag is None and not config.array_like
        self._wants_context = issubclass(kind, DurableEntity)

    def make(self, state: Raw, context: DurableEntityContext) -> Any:
        subject = decode(state, self._kind) if state else self._kind()
        if self._wants_context:
            vars(subject)[CONTEXT] = context
        return subject

    def save(self, subject: Any, limit: int) -> Raw:
        if not self._is_plain:
            return encode(subject, limit)
        round_trip.check_fields(subject, "$")
        values = {key: getattr(subject, name) for key, name in self._names}
        return encode({key: value for key, value in values.items() if value is not msgspec.UNSET}, limit)


# ── looking at classes ─────────────────────────────────────────────────────────────────────────────────────────────


def _is_apart(hint: Any) -> bool:
    """Whether an annotation says that this is no attribute of the single object."""
    origin = typing.get_origin(hint) or hint
    if isinstance(hint, str):
        return hint.startswith(("ClassVar", "typing.ClassVar", "Final", "typing.Final"))
    return origin in (typing.ClassVar, typing.Final, dataclasses.KW_ONLY) or isinstance(hint, dataclasses.InitVar)


def _slots(kind: type) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for base in reversed(kind.__mro__):
        named = vars(base).get("__slots__", ())
        for name in (named,) if isinstance(named, str) else named:
            if not name.endswith("__"):  # as __dict__ and __weakref__ do
                found[f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") else name] = None
    return tuple(found)


def _defaults(kind: type) -> dict[str, Any]:
    """What stands in the class and is meant for its objects: no methods, no properties, no slots."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base not in (object, DurableEntity):
            found |= {name: value for name, value in vars(base).items() if not name.startswith("__")}
    return {name: value for name, value in found.items() if not (hasattr(type(value), "__get__") or callable(value))}


def _is_shared_safely(value: Any) -> bool:
    return type(value) in _SHARED_SAFELY


def _static(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _set_all(subject: Any, values: dict[str, Any]) -> None:
    subject.__dict__.update(values)


def _set_one_by_one(subject: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        with suppress(AttributeError):  # it was saved when the class still had such a slot
            object.__setattr__(subject, name, value)
