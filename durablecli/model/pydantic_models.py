"""Objects of pydantic models and dataclasses: how they are written and read.

They are written by field names, and read by names and aliases, so that JSON from elsewhere matches too. Only a model in
which the alias of one field is the name of another is written by aliases. Computed fields are written if reading
ignores them. This module doesn't import pydantic: its classes are recognized by their attributes.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from durablecli.errors import Unserializable
from durablecli.model.json_codec import encode_json

_MIN_BY_NAME_VERSION = (2, 11)


def is_pydantic(kind: Any) -> bool:
    """Whether a class is a pydantic model or dataclass."""
    return hasattr(kind, "__pydantic_validator__")


def get_model_fields(kind: Any) -> Mapping[str, Any] | None:
    """Return the fields of a pydantic class by name; None for any other class."""
    if not is_pydantic(kind):
        return None
    found = getattr(kind, "__pydantic_fields__", None)
    return getattr(kind, "model_fields", {}) if found is None else found


def get_accepted_keys(kind: Any) -> list[set[str]] | None:
    """Return for each field the keys under which it is read; None if the class isn't pydantic's."""
    found = get_model_fields(kind)
    return None if found is None else [{name, *_validation_aliases(info)} for name, info in found.items()]


def load_model(kind: Any, value: Any) -> Any:
    """Make an object of this class from plain JSON. Raises what pydantic raises."""
    options = {"by_alias": True, "by_name": True} if _supports_by_name() else {}
    if hasattr(kind, "model_validate_json"):
        return kind.model_validate_json(encode_json(value), **options)
    return kind.__pydantic_validator__.validate_json(encode_json(value), **options)


def dump_model(value: Any) -> Any:
    """Return an object as plain JSON. Raises Unserializable, or what pydantic raises."""
    kind: Any = type(value)
    options = {"mode": "json", "round_trip": _needs_round_trip(kind), "by_alias": _is_written_by_alias(kind)}
    if not hasattr(kind, "model_dump"):
        return kind.__pydantic_serializer__.to_python(value, **options)
    return value.model_dump(**{name: options[name] for name in _supported_dump_options(kind)})


@functools.lru_cache(maxsize=1024)
def _needs_round_trip(kind: Any) -> bool:
    """Whether it must be dumped for a round trip: without computed fields, and with the text of Json fields."""
    tree = list(_iter_model_classes(kind, set()))
    computed = [each for each in tree if each.__pydantic_decorators__.computed_fields]
    infos = [info for each in tree for _, info in _field_items(each)]
    has_json = any("Json" in f"{info.annotation!r} {info.metadata!r}" for info in infos)
    return not computed or has_json or any(get_config(each).get("extra", "ignore") != "ignore" for each in computed)


def get_config(kind: Any) -> Mapping[str, Any]:
    """Return the configuration of a pydantic class."""
    return getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}


@functools.lru_cache(maxsize=1024)
def has_validators(kind: Any) -> bool:
    """Whether the author's validators run when an object of this class is read, or one in its fields."""
    return any(_has_own_validators(each) for each in _iter_model_classes(kind, set()))


def _has_own_validators(kind: Any) -> bool:
    found = kind.__pydantic_decorators__
    metadata = [type(each).__name__ for _, info in _field_items(kind) for each in info.metadata]
    return bool(found.field_validators or found.model_validators) or any("Validator" in name for name in metadata)


@functools.lru_cache(maxsize=1024)
def _supported_dump_options(kind: Any) -> tuple[str, ...]:
    """Return the options that its `model_dump` takes, which may be the author's own."""
    taken = inspect.signature(kind.model_dump).parameters.values()
    names = {each.name for each in taken}
    takes_all = any(each.kind is each.VAR_KEYWORD for each in taken)
    return tuple(name for name in ("mode", "round_trip", "by_alias") if takes_all or name in names)


def _supports_by_name() -> bool:
    """Whether this version of pydantic can read both names and aliases."""
    version = str(getattr(sys.modules.get("pydantic"), "VERSION", "0.0")).split(".")
    return tuple(int(part) for part in version[:2]) >= _MIN_BY_NAME_VERSION


# ── names or aliases ─────────────────────────────────────────────────────────────────────────────────────────────────


@functools.lru_cache(maxsize=1024)
def _is_written_by_alias(kind: Any) -> bool:
    found = list(_iter_model_classes(kind, set()))
    if not _supports_by_name():
        return True
    clashes = [clash for each in found for clash in _find_alias_clashes(each)]
    if clashes and not all(_reads_alias_it_writes(info, name) for each in found for name, info in _field_items(each)):
        raise Unserializable(
            "$", f"{clashes[0]}, and not all fields are written by the alias by which they are read: rename one of them"
        )
    return bool(clashes)


def _iter_model_classes(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield the class, and the pydantic classes in the annotations of its fields."""
    seen.add(kind)
    yield kind
    for _, info in _field_items(kind):
        for part in _iter_annotation_classes(info.annotation):
            if is_pydantic(part) and part not in seen:
                yield from _iter_model_classes(part, seen)


def _iter_annotation_classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _iter_annotation_classes(part)


def _field_items(kind: Any) -> list[tuple[str, Any]]:
    return list((get_model_fields(kind) or {}).items())


def _find_alias_clashes(kind: Any) -> Iterator[str]:
    """Yield a line for each field whose alias is the name of another."""
    names = {name for name, _ in _field_items(kind)}
    for name, info in _field_items(kind):
        for alias in _validation_aliases(info):
            if alias in names and alias != name:
                yield f"{kind.__qualname__}: the alias of {name} is the name of another field, {alias}"


def _reads_alias_it_writes(info: Any, name: str) -> bool:
    return (info.serialization_alias or info.alias or name) in (_validation_aliases(info) or [name])


def _validation_aliases(info: Any) -> list[str]:
    """Return the keys from which a field is read: its aliases, or the first part of an alias path."""
    alias = info.validation_alias or info.alias
    found = [] if alias is None else getattr(alias, "choices", [alias])
    return [each if isinstance(each, str) else str(each.path[0]) for each in found]
