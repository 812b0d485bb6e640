"""Which objects a field can hold so that all of them is there when they are read: those of the classes it names.

A field is read by its annotation. An object of a subclass is written whole, and read as the class that the annotation
names: the fields that only the subclass has would be lost. That is refused where it is written.
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
    """Raises Unserializable if a field of this object holds more than is read back."""
    kind: Any = type(value)
    for name, classes in classes_by_field(kind).items():
        check_no_subclass_fields_lost(getattr(value, name, None), classes, f"{path}{typed_decode.path_step(name)}")


def check_no_subclass_fields_lost(value: Any, classes: FieldClasses, path: str) -> None:
    """Raises Unserializable if this, or what is in it, belongs to a subclass of `classes` that has more fields."""
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
    """By the name of a field, the classes with fields that its annotation names; only fields that name some."""
    found = {name: find_field_classes(hint) for name, hint in resolve_type_hints(kind).items()}
    return {name: classes for name, classes in found.items() if classes}


def find_field_classes(annotation: Any) -> FieldClasses:
    """The classes with fields that an annotation names; none if it allows anything."""
    found: set[type] = set()
    return frozenset(found) if _collect_classes(annotation, found) else frozenset()


def has_serializer(metadata: Iterable[Any]) -> bool:
    """Whether an annotation of pydantic's says how its values are written: PlainSerializer, SerializeAsAny and such."""
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
    """Whether the class makes its objects: which class they are of is its own affair."""
    return callable(getattr(kind, "from_json", None))


@functools.lru_cache(maxsize=1024)
def field_names(kind: Any) -> tuple[str, ...] | None:
    """The fields that objects of a class are written by; None for a class that has none to be written by."""
    if (fields := pydantic_models.get_model_fields(kind)) is not None:
        return tuple(fields)
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else tuple(attribute.name for attribute in attributes)
