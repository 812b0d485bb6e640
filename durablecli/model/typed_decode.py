"""Builds objects from plain JSON, by annotation.

msgspec handles what it knows, at C speed. The rest is built here: classes with `from_json` or pydantic's
`model_validate`, unions of classes, enums of any value, paths and the like, and all that contains them. Where an
annotation can't be checked (an unresolved name, a type variable) the JSON is left unchanged.
"""

from __future__ import annotations

import collections
import collections.abc
import functools
import types
import typing
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

from durablecli.errors import Mismatch
from durablecli.model import custom_objects, pydantic_models
from durablecli.model.annotations import is_unresolved
from durablecli.model.fields import Field, get_fields
from durablecli.model.json_codec import decode_json

_NATIVE_TYPES = frozenset(
    {type(None), bool, int, float, str, bytes, bytearray, datetime, date, time, timedelta, UUID, Decimal}
    | {list, tuple, dict, set, frozenset, Raw}
)
_SUBCLASSABLE_TYPES = (str, int, float, datetime, date, time)
_LIST_PROTOCOLS = (collections.abc.Iterable, collections.abc.Collection, collections.abc.Sequence)
_CONCRETE_TYPES: dict[Any, type] = {
    **dict.fromkeys((*_LIST_PROTOCOLS, collections.abc.MutableSequence), list),
    **dict.fromkeys((collections.abc.Set, collections.abc.MutableSet), set),
    **dict.fromkeys((collections.abc.Mapping, collections.abc.MutableMapping), dict),
}
_UNION_ORIGINS = (typing.Union, types.UnionType)
_MISSING_FIELD = "Object missing required field"
_NEW_FIELD_HINT = " (a field that was added later needs a default)"
_WRAPPER_ORIGINS = (typing.Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired)


def path_step(key: object) -> str:
    """Return one step of a path: `.name`, or `["any other key"]`."""
    text = str(key)
    if text.isidentifier():
        return f".{text}"
    return '["{}"]'.format(text.encode("utf-8", "backslashreplace").decode())


def key_to_text(key: object) -> str | None:
    """Return a dict key as json.dumps writes it; None if it can't be one."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return int.__repr__(key)
    return float.__repr__(key) if isinstance(key, float) and isfinite(key) else None


def split_validation_error(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return path and reason of msgspec's error."""
    reason, _, path = str(error).partition(" - at `")
    return path.rstrip("`") or "$", reason + (_NEW_FIELD_HINT if reason.startswith(_MISSING_FIELD) else "")


def get_decoder(annotation: Any) -> Callable[[Raw | bytes], Any]:
    """Return the cached decoder for an annotation. It raises Mismatch, or msgspec's ValidationError."""
    try:
        return _get_cached_decoder(annotation)
    except TypeError:  # an annotation that can't be hashed
        return _make_decoder(annotation)


def _make_decoder(annotation: Any) -> Callable[[Raw | bytes], Any]:
    if _is_unconstrained(unwrap_annotation(annotation)):
        return decode_json
    if not _needs_build(annotation, frozenset()):
        try:
            decoder = msgspec.json.Decoder(annotation)
        except (TypeError, NameError, AttributeError):
            pass  # a union that msgspec can't tell apart, or a name that doesn't resolve
        else:
            return functools.partial(_decode_native, decoder, annotation)
    return lambda raw: build(decode_json(raw), annotation, "$")


_get_cached_decoder = functools.lru_cache(maxsize=1024)(_make_decoder)


def _decode_native(decoder: msgspec.json.Decoder[Any], annotation: Any, raw: Raw | bytes) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        # msgspec's error lacks keys and missing array items; build reports them.
        if "[...]" in str(error) or "`array` of " in str(error):
            build(decode_json(raw), annotation, "$")
        raise


# ── annotations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def unwrap_annotation(annotation: Any) -> Any:
    """Remove wrappers from an annotation: Annotated, NewType, aliases and the like."""
    while True:
        origin = typing.get_origin(annotation)
        if origin in _WRAPPER_ORIGINS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # `type Name = …` of Python 3.12
            annotation = annotation.__value__
        else:
            return annotation


def _is_unconstrained(kind: Any) -> bool:
    if kind is None or kind is Any or kind is object or is_unresolved(kind) or isinstance(kind, typing.TypeVar):
        return True
    return getattr(kind, "__module__", "") == "inspect" and getattr(kind, "__qualname__", "") == "_empty"


def _needs_build(annotation: Any, seen: frozenset[Any]) -> bool:
    """Whether msgspec can't handle some part of this annotation."""
    kind = unwrap_annotation(annotation)
    origin = typing.get_origin(kind) or kind
    if kind is Any or kind is object or kind in _NATIVE_TYPES or kind in _CONCRETE_TYPES or origin is typing.Literal:
        return False
    if _is_unconstrained(kind):
        return True
    parts = [part for part in typing.get_args(kind) if part is not Ellipsis]
    if any(_needs_build(part, seen) for part in parts) or (_is_dict(origin) and parts and _key_needs_build(parts[0])):
        return True
    if origin in _UNION_ORIGINS or origin in _NATIVE_TYPES or origin in _CONCRETE_TYPES or kind in seen:
        return False
    if not isinstance(origin, type) or _find_constructor(origin) is not None:
        return True
    if issubclass(origin, Enum):
        return not _is_plain_enum(origin)
    shape: Any = origin
    fields = get_fields(shape)
    return fields is None or any(_needs_build(field.annotation, seen | {kind}) for field in fields)


def _is_dict(kind: Any) -> bool:
    return kind in _CONCRETE_TYPES or (isinstance(kind, type) and issubclass(kind, dict))


def _key_needs_build(annotation: Any) -> bool:
    """Whether msgspec reads such dict keys only as strings, or not at all."""
    kind = unwrap_annotation(annotation)
    return typing.get_origin(kind) in _UNION_ORIGINS or kind in (bool, type(None))


def _is_plain_enum(kind: type[Enum]) -> bool:
    types_of_values = {type(member.value) for member in kind}
    return types_of_values in ({str}, {int})


def _find_constructor(kind: type) -> Callable[[Any], Any] | None:
    """Find how objects of a class are made: by `from_json`, or pydantic's ways."""
    if callable(hook := getattr(kind, "from_json", None)):
        return hook  # type: ignore[no-any-return]
    if pydantic_models.is_pydantic(kind):
        return functools.partial(pydantic_models.load_model, kind)
    return getattr(kind, "model_validate", None)


# ── building ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def build(value: Any, annotation: Any, path: str) -> Any:
    """Build an object of `annotation` from plain JSON; raises Mismatch."""
    if (named := custom_objects.find_envelope_class(value, path)) is not None:
        data = build(custom_objects.envelope_data(value), Any, path)
        return _call_constructor(_find_constructor(named), named, data, path)
    kind = unwrap_annotation(annotation)
    if _is_unconstrained(kind):
        return _replace_envelopes(value, path) if custom_objects.APP_MODULES else value
    origin = typing.get_origin(kind) or kind
    arguments = typing.get_args(kind)
    if origin in _UNION_ORIGINS:
        return _build_union(value, arguments, path)
    if not isinstance(origin, type):
        return _build_leaf(value, annotation, path)
    if (hook := _find_constructor(origin)) is not None:
        return _call_constructor(hook, origin, value, path)
    origin = _CONCRETE_TYPES.get(origin, origin)
    if issubclass(origin, Enum) and not _is_plain_enum(origin):
        return _build_enum(value, origin, path)
    if (fields := get_fields(origin)) is not None:
        parameters = getattr(origin, "__parameters__", ())
        return _build_from_fields(value, origin, fields, dict(zip(parameters, arguments, strict=False)), path)
    if issubclass(origin, dict):
        return _build_dict(value, origin, arguments, path)
    if issubclass(origin, list | tuple | set | frozenset | collections.deque):
        return _build_sequence(value, origin, arguments, path)
    if issubclass(origin, PurePath) and isinstance(value, str):
        return origin(value)
    if origin not in _NATIVE_TYPES and issubclass(origin, _SUBCLASSABLE_TYPES) and not issubclass(origin, Enum):
        return _build_subclass(value, origin, path)
    return _build_leaf(value, annotation, path)


def _build_subclass(value: Any, kind: Any, path: str) -> Any:
    """Build an object of the author's subclass of a string, number or date."""
    base = next(each for each in kind.__mro__ if each in _SUBCLASSABLE_TYPES)
    plain = _build_leaf(value, base, path)
    make = kind.fromisoformat if issubclass(kind, datetime | date | time) else kind
    return _call_constructor(make, kind, value if make is not kind else plain, path)


def _replace_envelopes(value: Any, path: str) -> Any:
    """Return plain JSON with envelopes of an Azure app replaced by their objects."""
    if isinstance(value, dict):
        return {key: build(item, Any, path + path_step(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [build(item, Any, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _build_leaf(value: Any, annotation: Any, path: str) -> Any:
    try:
        return msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        inner, reason = split_validation_error(error)
        raise Mismatch(path + inner[1:], _add_advice(reason, annotation)) from None
    except (TypeError, NameError):
        return value  # can't be checked


def _add_advice(reason: str, annotation: Any) -> str:
    if not isinstance(annotation, type) or annotation in _NATIVE_TYPES or annotation.__module__ == "builtins":
        return reason
    if issubclass(annotation, Enum | msgspec.Struct | PurePath):
        return reason
    return f"{reason}; make it a dataclass, or give it to_json and from_json"


def _call_constructor(hook: Callable[[Any], Any] | None, kind: type, value: Any, path: str) -> Any:
    assert hook is not None
    try:
        return hook(value)
    except Exception as error:
        reason = f"{kind.__qualname__} couldn't be made of this: {type(error).__name__}: {error}"
        raise Mismatch(path, reason) from error


def _build_union(value: Any, options: tuple[Any, ...], path: str) -> Any:
    """The first option that fits; a class before another if it leaves fewer keys unread, or lacks fewer."""
    if value is None and type(None) in options:
        return None
    if isinstance(value, bool | int | float) and type(value) in options:
        return value
    real = [option for option in options if option is not type(None)]
    if isinstance(value, dict):
        real.sort(key=lambda option: _misfit_score(value, option))
    failures: list[Mismatch] = []
    try:
        for option in real:
            try:
                return build(value, option, path)
            except Mismatch as error:
                failures.append(error)
        raise _choose_failure(failures, path)
    finally:
        failures.clear()  # by their tracebacks they refer to this frame


def _choose_failure(failures: list[Mismatch], path: str) -> Mismatch:
    """Return the failure to report of a union none of whose options fits."""
    deeper = [error for error in failures if error.path != path]  # of an option that looked right from outside
    if len(failures) == 1 or len(deeper) == 1:
        return [*deeper, *failures][0]
    reasons = "; or ".join(dict.fromkeys(str(error) for error in failures))
    return Mismatch(path, f"fits none of the types it may have ({reasons})")


def _misfit_score(value: dict[str, Any], option: Any) -> tuple[int, int]:
    """How many keys a class would leave unread, and how many of its fields the value lacks."""
    origin = typing.get_origin(unwrap_annotation(option)) or unwrap_annotation(option)
    if not isinstance(origin, type):
        return 0, 0
    if (spellings := pydantic_models.get_accepted_keys(origin)) is None:
        spellings = [{field.key} for field in get_fields(origin) or ()]
    unread = value.keys() - set().union(*spellings) if spellings else ()
    return len(unread), sum(value.keys().isdisjoint(each) for each in spellings)


def _build_enum(value: Any, kind: type[Enum], path: str) -> Any:
    wanted = msgspec.json.encode(value)
    for member in kind:
        try:
            if msgspec.json.encode(member.value) == wanted:
                return member
        except (TypeError, ValueError):
            continue  # a value that JSON can't hold was never written
    raise Mismatch(path, f"{wanted.decode():.60} is not a value of {kind.__qualname__}")


def _build_from_fields(value: Any, kind: Any, fields: Iterable[Field], bound: dict[Any, Any], path: str) -> Any:
    steps = {field.key: path_step(field.key) for field in fields}
    if issubclass(kind, tuple) or (issubclass(kind, msgspec.Struct) and kind.__struct_config__.array_like):
        value, steps = _name_items(value, kind, fields, path)
    elif not isinstance(value, dict):
        raise Mismatch(path, f"Expected `object`, got `{_json_type_name(value)}`")
    made: dict[str, Any] = {}
    later: dict[str, Any] = {}
    for field in fields:
        if field.key in value:
            inner = bound.get(field.annotation, field.annotation)
            item = build(value[field.key], inner, path + steps[field.key])
            (made if field.in_init else later)[field.name] = item
        elif field.required:
            raise Mismatch(path, f"{_MISSING_FIELD} `{field.key}`{_NEW_FIELD_HINT}")
    try:
        found = kind(**made)
        for name, item in later.items():
            object.__setattr__(found, name, item)  # also of a frozen one
        return found
    except (TypeError, ValueError) as error:  # what __post_init__ refuses
        raise Mismatch(path, str(error)) from error


def _name_items(value: Any, kind: Any, fields: Iterable[Field], path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the items of an array by field name, and the path step to each."""
    if not isinstance(value, list):
        raise Mismatch(path, f"Expected `array`, got `{_json_type_name(value)}`")
    tags = 1 if issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is not None else 0
    value = value[tags:]
    keys = [field.key for field in fields]
    if len(value) > len(keys) and issubclass(kind, tuple):
        raise Mismatch(path, f"Expected `array` of length at most {len(keys)}, got {len(value)}")
    return dict(zip(keys, value, strict=False)), {key: f"[{index}]" for index, key in enumerate(keys, tags)}


def _build_dict(value: Any, kind: type[dict[Any, Any]], arguments: tuple[Any, ...], path: str) -> Any:
    if not isinstance(value, dict):
        raise Mismatch(path, f"Expected `object`, got `{_json_type_name(value)}`")
    of_keys = arguments[0] if arguments else Any
    of_values = arguments[1] if len(arguments) > 1 else Any
    made: Any = kind()
    for key, item in value.items():
        inner = f"{path}{path_step(key)}"
        made[_build_key(key, of_keys, inner)] = build(item, of_values, inner)
    return made


def _build_key(key: str, annotation: Any, path: str) -> Any:
    """Build a key by its annotation. Numbers, booleans and None are written as strings."""
    kind = unwrap_annotation(annotation)
    if typing.get_origin(kind) in _UNION_ORIGINS:
        return _build_union_key(key, typing.get_args(kind), path)
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    if kind in (bool, type(None)) or (is_enum and not _is_plain_enum(kind)):
        return _find_key_value(key, kind, path)
    if not is_enum and kind not in (int, float):
        return build(key, annotation, path)
    try:
        return msgspec.convert(key, annotation, strict=False)
    except msgspec.ValidationError as error:
        raise Mismatch(path, f"the key: {split_validation_error(error)[1]}") from None


def _find_key_value(key: str, kind: Any, path: str) -> Any:
    """Find the value of a bool, None or enum by its key."""
    values: Iterable[Any] = (None,) if kind is type(None) else (True, False) if kind is bool else kind
    for value in values:
        if key_to_text(value.value if isinstance(value, Enum) else value) == key:
            return value
    raise Mismatch(path, f"the key {key!r:.60} is not a value of {kind.__qualname__}")


def _build_union_key(key: str, options: Iterable[Any], path: str) -> Any:
    """Build a key by the first type of a union that it matches; str is tried last."""
    for option in sorted(options, key=lambda each: each is str):
        try:
            return _build_key(key, option, path)
        except Mismatch:
            continue
    raise Mismatch(path, f"the key {key!r:.60} fits none of the types it may have")


def _build_sequence(value: Any, kind: Any, arguments: tuple[Any, ...], path: str) -> Any:
    if not isinstance(value, list):
        raise Mismatch(path, f"Expected `array`, got `{_json_type_name(value)}`")
    if issubclass(kind, tuple) and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            raise Mismatch(path, f"Expected `array` of length {len(arguments)}, got {len(value)}")
        parts: Iterable[Any] = arguments
    else:
        parts = [arguments[0] if arguments else Any] * len(value)
    pairs = enumerate(zip(value, parts, strict=True))
    items = [build(item, part, f"{path}[{index}]") for index, (item, part) in pairs]
    try:
        return kind(items)
    except TypeError as error:  # a set of what can't be hashed
        raise Mismatch(path, str(error)) from None


def _json_type_name(value: Any) -> str:
    """Return msgspec's name for the type of a plain JSON value."""
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "array"
    return "null" if value is None else type(value).__name__
