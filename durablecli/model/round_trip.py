"""Checks that all fields of an object are read back, which depends on the annotations of the fields that hold it.

A field is read by its annotation. An object of a subclass is written with all its fields, but read as the class in the
annotation: fields that only the subclass has would be lost. Writing such an object is rejected.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from durablecli.errors import Unserializable
from durablecli.model import pydantic_models, typed_decode
from durablecli.model.annotations import is_unresolved, resolve_type_hints

FieldClasses = frozenset[type]


def check_no_fields_lost(value: Any, path: str) -> None:
    """Raise Unserializable if a field of this object holds more than is read back."""
    kind: Any = type(value)
    for name, classes in classes_by_field(kind).items():
        check_no_subclass_fields_lost(getattr(value, name, None), classes, f"{path}{typed_decode.path_step(name)}")


def check_no_subclass_fields_lost(value: Any, classes: FieldClasses, path: str) -> None:
    """Raise Unserializable if this, or a value in it, is of a subclass of `classes` with more fields."""
    kind: Any = type(value)
    if kind in classes:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_no_subclass_fields_lost(item, classes, f"{path}{typed_decode.path_step(key)}")
    elif isinstance(value, list | tuple | set | frozenset | deque) and not hasattr(value, "_fields"):
        for index, item in enumerate(value):
            check_no_subclass_fields_lost(item, classes, f"{path}[{index}]")
    elif bases := [each for each in classes if issubclass(kind, each)]:
        base = max(bases, key=lambda each: len(each.__mro__))
        kept = field_names(base) or ()
        if lost := [name for name in field_names(kind) or () if name not in kept]:
            raise Unserializable(
                path,
                f"a {kind.__qualname__}, where the annotation says {base.__qualname__}: {', '.join(lost)} would be "
                f"lost; annotate it as {base.__qualname__} | {kind.__qualname__}",
            )


@functools.lru_cache(maxsize=1024)
def classes_by_field(kind: Any) -> Mapping[str, FieldClasses]:
    """Return the classes with fields in each field's annotation, by its name; without fields that have none."""
    found = {name: find_field_classes(hint) for name, hint in resolve_type_hints(kind).items()}
    return {name: classes for name, classes in found.items() if classes}


def find_field_classes(annotation: Any) -> FieldClasses:
    """Return the classes with fields in an annotation; none if it allows anything."""
    found: set[type] = set()
    return frozenset(found) if _collect_classes(annotation, found) else frozenset()


def has_serializer(metadata: Iterable[Any]) -> bool:
    """Whether a pydantic annotation has a serializer: PlainSerializer, SerializeAsAny or the like."""
    return any("Seriali" in type(each).__name__ for each in metadata)


def _collect_classes(annotation: Any, found: set[type]) -> bool:
    if has_serializer(getattr(annotation, "__metadata__", ())):
        return False
    kind = typed_decode.unwrap_annotation(annotation)
    if kind is Any or kind is object or is_unresolved(kind) or isinstance(kind, typing.TypeVar):
        return False
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
        return True
    if isinstance(origin, type) and field_names(origin) is not None and not _has_from_json(origin):
        found.add(origin)
        return True
    return all(_collect_classes(part, found) for part in typing.get_args(kind) if part is not Ellipsis)


def _has_from_json(kind: type) -> bool:
    """Whether the class has its own way of making objects."""
    return callable(getattr(kind, "from_json", None))


@functools.lru_cache(maxsize=1024)
def field_names(kind: Any) -> tuple[str, ...] | None:
    """Return the fields by which objects of a class are written; None if there are none."""
    if (fields := pydantic_models.get_model_fields(kind)) is not None:
        return tuple(fields)
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else tuple(attribute.name for attribute in attributes)
