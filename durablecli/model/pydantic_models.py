"""Objects of pydantic's models and dataclasses: how they are written, and read back.

They are written by the names of their fields, and read by names and by aliases, so that JSON from elsewhere fits as
well. Only a model in which the alias of one field is the name of another is written by aliases. Computed fields are
written where reading ignores them. Nothing here imports pydantic: its classes say by themselves what they are.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from durablecli.errors import Unserializable

_write = msgspec.json.Encoder().encode
_BY_NAME_SINCE = (2, 11)


def is_one(kind: Any) -> bool:
    """Whether a class is pydantic's: a model, or a dataclass."""
    return hasattr(kind, "__pydantic_validator__")


def fields(kind: Any) -> Mapping[str, Any] | None:
    """The fields of a model or dataclass of pydantic's, by name; None for any other class."""
    if not is_one(kind):
        return None
    found = getattr(kind, "__pydantic_fields__", None)
    return getattr(kind, "model_fields", {}) if found is None else found


def keys(kind: Any) -> list[set[str]] | None:
    """For each field the keys under which it is read; None for a class that isn't pydantic's."""
    found = fields(kind)
    return None if found is None else [{name, *_aliases(info)} for name, info in found.items()]


def read(kind: Any, value: Any) -> Any:
    """An object of this class, from plain JSON. Raises what pydantic raises."""
    options = {"by_alias": True, "by_name": True} if _reads_names() else {}
    if hasattr(kind, "model_validate_json"):
        return kind.model_validate_json(_write(value), **options)
    return kind.__pydantic_validator__.validate_json(_write(value), **options)


def dumped(value: Any) -> Any:
    """The object in plain JSON. Raises Unserializable, or what pydantic raises."""
    kind: Any = type(value)
    options = {"mode": "json", "round_trip": _is_round_trip(kind), "by_alias": _is_written_by_alias(kind)}
    if not hasattr(kind, "model_dump"):
        return kind.__pydantic_serializer__.to_python(value, **options)
    return value.model_dump(**{name: options[name] for name in _options_of_dump(kind)})


@functools.lru_cache(maxsize=1024)
def _is_round_trip(kind: Any) -> bool:
    """Whether only what can be read again is written: no computed fields, and the text of a Json field."""
    tree = list(_tree(kind, set()))
    computed = [each for each in tree if each.__pydantic_decorators__.computed_fields]
    infos = [info for each in tree for _, info in _named_fields(each)]
    has_json = any("Json" in f"{info.annotation!r} {info.metadata!r}" for info in infos)
    return not computed or has_json or any(config(each).get("extra", "ignore") != "ignore" for each in computed)


def config(kind: Any) -> Mapping[str, Any]:
    """The settings of a model or dataclass of pydantic's."""
    return getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}


@functools.lru_cache(maxsize=1024)
def has_validators(kind: Any) -> bool:
    """Whether validators of the author's run when an object of this class, or one in its fields, is read."""
    return any(_validates(each) for each in _tree(kind, set()))


def _validates(kind: Any) -> bool:
    found = kind.__pydantic_decorators__
    metadata = [type(each).__name__ for _, info in _named_fields(kind) for each in info.metadata]
    return bool(found.field_validators or found.model_validators) or any("Validator" in name for name in metadata)


@functools.lru_cache(maxsize=1024)
def _options_of_dump(kind: Any) -> tuple[str, ...]:
    """Those that its `model_dump` takes, which may be the author's own."""
    taken = inspect.signature(kind.model_dump).parameters.values()
    names = {each.name for each in taken}
    takes_all = any(each.kind is each.VAR_KEYWORD for each in taken)
    return tuple(name for name in ("mode", "round_trip", "by_alias") if takes_all or name in names)


def _reads_names() -> bool:
    """Whether this pydantic can be asked to read names beside aliases."""
    version = str(getattr(sys.modules.get("pydantic"), "VERSION", "0.0")).split(".")
    return tuple(int(part) for part in version[:2]) >= _BY_NAME_SINCE


# ── names or aliases ───────────────────────────────────────────────────────────────────────────────────────────────


@functools.lru_cache(maxsize=1024)
def _is_written_by_alias(kind: Any) -> bool:
    found = list(_tree(kind, set()))
    if not _reads_names():
        return True
    clashes = [clash for each in found for clash in _clashes(each)]
    if clashes and not all(_reads_what_it_writes(info, name) for each in found for name, info in _named_fields(each)):
        raise Unserializable(
            "$", f"{clashes[0]}, and not all fields are written by the alias by which they are read: rename one of them"
        )
    return bool(clashes)


def _tree(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """The class, and those that the annotations of its fields name."""
    seen.add(kind)
    yield kind
    for _, info in _named_fields(kind):
        for part in _classes(info.annotation):
            if is_one(part) and part not in seen:
                yield from _tree(part, seen)


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _classes(part)


def _named_fields(kind: Any) -> list[tuple[str, Any]]:
    return list((fields(kind) or {}).items())


def _clashes(kind: Any) -> Iterator[str]:
    """A line for each field whose alias is the name of another."""
    names = {name for name, _ in _named_fields(kind)}
    for name, info in _named_fields(kind):
        for alias in _aliases(info):
            if alias in names and alias != name:
                yield f"{kind.__qualname__}: the alias of {name} is the name of another field, {alias}"


def _reads_what_it_writes(info: Any, name: str) -> bool:
    return (info.serialization_alias or info.alias or name) in (_aliases(info) or [name])


def _aliases(info: Any) -> list[str]:
    """The keys at which a field is looked for: its alias, several, or where the path to it begins."""
    alias = info.validation_alias or info.alias
    found = [] if alias is None else getattr(alias, "choices", [alias])
    return [each if isinstance(each, str) else str(each.path[0]) for each in found]
