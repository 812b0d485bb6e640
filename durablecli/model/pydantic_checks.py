"""Rejects pydantic objects that would lose data: secrets, excluded fields, subclasses, bytes.

pydantic itself omits these, or writes something else, without an error.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from durablecli.errors import Unserializable
from durablecli.model import pydantic_models, typed_decode
from durablecli.model.round_trip import (
    FieldClasses,
    check_no_fields_lost,
    check_no_subclass_fields_lost,
    field_names,
    find_field_classes,
    has_serializer,
)
from durablecli.model.unserializable import SECRET_ADVICE, why_unserializable

_SECRET_MASK = "**********"  # noqa: S105 - what pydantic shows instead of a secret
_ATOM_TYPES = frozenset({str, int, float, bool, type(None)})
_BASE64_CONFIG = "model_config = ConfigDict(ser_json_bytes='base64', val_json_bytes='base64')"


class _ModelField(NamedTuple):
    """A field. One with a serializer of the author's own isn't checked."""

    name: str
    info: Any
    classes: FieldClasses
    has_serializer: bool


def dump_without_loss(value: Any) -> Any:
    """Return the object as plain JSON; raises Unserializable with the path of data that would be lost."""
    secrets: list[str] = []
    _check_value(value, "$", secrets)
    try:
        found = pydantic_models.dump_model(value)
    except ValueError as error:
        if (unknown := _find_numpy_error(value)) is not None:
            raise unknown from error
        if not isinstance(error, UnicodeDecodeError):
            raise
        where = next((path for path, item in _iter_values(value, "$") if _is_non_utf8_bytes(item)), "$")
        raise Unserializable(
            where, f"bytes that aren't UTF-8 can't be written: give the model {_BASE64_CONFIG}"
        ) from None
    _check_validators(value, found)
    if secrets and _contains_mask(found):
        raise Unserializable(secrets[0], f"a secret is written as {_SECRET_MASK}, and its value lost; {SECRET_ADVICE}")
    return found


def _check_validators(value: Any, dump: Any) -> None:
    """Reject an object that its validators change again when it is read, such as euros into cents."""
    kind: Any = type(value)
    if not pydantic_models.has_validators(kind):
        return
    try:
        again = pydantic_models.load_model(kind, dump)
        is_same = bool(again == value) or pydantic_models.dump_model(again) == dump
    except Exception:  # noqa: BLE001 - the author's code; the error is raised where the object is read
        return
    if not is_same:
        raise Unserializable(
            "$",
            f"the validators of {kind.__qualname__} change its values again when it is read; let them leave valid "
            "values unchanged",
        )


def _find_numpy_error(value: Any) -> Unserializable | None:
    """Return the error for the first numpy value: that of pydantic has no path."""
    return next(
        (Unserializable(path, why_unserializable(item)) for path, item in _iter_values(value, "$") if _is_numpy(item)),
        None,
    )


def _is_non_utf8_bytes(value: Any) -> bool:
    try:
        return isinstance(value, bytes) and value.decode() is None
    except UnicodeDecodeError:
        return True


def _is_numpy(value: Any) -> bool:
    return callable(getattr(type(value), "tolist", None))


def _iter_values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield all values in an object with their paths."""
    kind: Any = type(value)
    if isinstance(value, Mapping):
        inner = [(typed_decode.path_step(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple | set | frozenset | deque):
        inner = [(f"[{index}]", item) for index, item in enumerate(value)]
    else:
        inner = [(typed_decode.path_step(name), getattr(value, name, None)) for name in field_names(kind) or ()]
    for step, item in inner:
        yield f"{path}{step}", item
        if type(item) not in _ATOM_TYPES:
            yield from _iter_values(item, f"{path}{step}")


def _check_value(value: Any, path: str, secrets: list[str]) -> None:
    """Reject a value that would lose data, and note the paths of secrets."""
    kind: Any = type(value)
    if kind in _ATOM_TYPES:
        return
    if callable(getattr(kind, "get_secret_value", None)):
        if value.get_secret_value():
            secrets.append(path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_value(item, f"{path}{typed_decode.path_step(key)}", secrets)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for index, item in enumerate(value):
            _check_value(item, f"{path}[{index}]", secrets)
    elif pydantic_models.is_pydantic(kind):
        _check_model_fields(value, path, secrets)
    elif (names := field_names(kind)) is not None:
        check_no_fields_lost(value, path)
        for name in names:
            _check_value(getattr(value, name, None), f"{path}{typed_decode.path_step(name)}", secrets)


def _check_model_fields(value: Any, path: str, secrets: list[str]) -> None:
    kind: Any = type(value)
    for field in _get_model_fields(kind):
        item = getattr(value, field.name, None)
        where = f"{path}{typed_decode.path_step(field.name)}"
        if not field.has_serializer:
            _check_field(value, field, item, where)
        _check_value(item, where, secrets)
    _check_value(getattr(value, "__pydantic_extra__", None) or {}, path, secrets)


def _check_field(value: Any, field: _ModelField, item: Any, where: str) -> None:
    if _is_excluded(field.info, item) and not _is_default(field.info, item):
        raise Unserializable(
            where,
            "the field is excluded (exclude=True), so its value would be lost; remove exclude, or reset the field",
        )
    if type(item) is bytes and not field.info.metadata and not _round_trips_bytes(type(value)):
        raise Unserializable(
            where, f"bytes are written in another way than they are read: give the model {_BASE64_CONFIG}"
        )
    check_no_subclass_fields_lost(item, field.classes, where)


def _is_excluded(info: Any, item: Any) -> bool:
    condition = getattr(info, "exclude_if", None)
    return bool(info.exclude) or (condition is not None and bool(condition(item)))


def _is_default(info: Any, item: Any) -> bool:
    try:
        return bool(info.get_default(call_default_factory=True) == item)
    except Exception:  # noqa: BLE001 - a factory, or an `==`, of the author's
        return False


def _round_trips_bytes(kind: Any) -> bool:
    config = pydantic_models.get_config(kind)
    return bool(config.get("ser_json_bytes", "utf8") == config.get("val_json_bytes", "utf8"))


def _contains_mask(dump: Any) -> bool:
    if isinstance(dump, dict):
        return any(map(_contains_mask, dump.values()))
    return any(map(_contains_mask, dump)) if isinstance(dump, list) else bool(dump == _SECRET_MASK)


@functools.lru_cache(maxsize=1024)
def _get_model_fields(kind: Any) -> tuple[_ModelField, ...]:
    decorators = kind.__pydantic_decorators__
    own = {name for each in decorators.field_serializers.values() for name in each.info.fields}
    has_all = bool(decorators.model_serializers) or "*" in own
    return tuple(
        _ModelField(
            name, info, find_field_classes(info.annotation), has_all or name in own or has_serializer(info.metadata)
        )
        for name, info in (pydantic_models.get_model_fields(kind) or {}).items()
    )
