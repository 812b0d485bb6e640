"""The JSON schema of the input that a function declares.

It follows the decoding of payloads (model/typed_decode.py): a value that is decoded also fits the schema. Where that
can't be expressed, such as for a class with `from_json` or for what pydantic converts, the schema allows any value.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from datetime import datetime
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.inputs.field_docs import get_annotation_doc, get_class_doc, get_field_docs
from durablecli.model import pydantic_models
from durablecli.model.fields import Field, get_fields
from durablecli.model.payloads import encode
from durablecli.model.typed_decode import unwrap_annotation

Schema = dict[str, Any]
UNCHECKED = "x-unchecked"
"""Marks a schema that is for readers only: its class may accept other values too."""
LENIENT = "x-lenient"
"""Marks a schema whose class converts scalars: only its fields are checked, not their types."""
_UNIONS = (typing.Union, types.UnionType)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_ARRAYS = (list, tuple, set, frozenset, collections.deque, collections.abc.Sequence, collections.abc.MutableSequence)
_MORE_ARRAYS = (collections.abc.Collection, collections.abc.Set, collections.abc.MutableSet)
_DECIMAL: Schema = {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "number", "format": "decimal"}]}
_MISSING = object()


def make_schema(annotation: Any) -> Schema:
    """Return the schema of a type, with the schemas of its classes under `$defs`; `{}` if it allows any value."""
    builder = _SchemaBuilder()
    try:
        found = builder.make(annotation)
    except Exception:  # noqa: BLE001 - the author's types, whose metaclasses and defaults may raise anything
        return {}
    if builder.definitions:
        found = {**found, "$defs": builder.definitions}
    return found


def resolve(schema: Schema, root: Schema) -> Schema:
    """Follow the references of a schema within its root; what stands beside a reference is kept."""
    for _ in range(20):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            break
        target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def default_input(schema: Schema) -> Raw | None:
    """Return the value of an input that isn't given: `{}` if it must be an object, which may have defaults."""
    here = resolve(schema, schema)
    return Raw(b"{}") if here.get("type") == "object" else None


class _SchemaBuilder:
    """Makes schemas, and collects those of classes by name."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def make(self, annotation: Any) -> Schema:
        """Return the schema of a type."""
        found = self._make(annotation)
        text = get_annotation_doc(annotation)
        return {**found, "description": text} if text and found else found

    def _make(self, annotation: Any) -> Schema:
        kind = unwrap_annotation(annotation)
        annotation = annotation if _has_metadata(annotation) else kind
        origin = typing.get_origin(kind) or kind
        arguments = typing.get_args(kind)
        if origin in _UNIONS:
            return self._make_union(arguments)
        if not isinstance(origin, type):
            return {} if isinstance(origin, str | typing.ForwardRef | typing.TypeVar) else _make_leaf(annotation)
        if callable(getattr(origin, "from_json", None)):
            return {"title": origin.__qualname__, UNCHECKED: True}
        if pydantic_models.is_pydantic(origin):
            return self._make_pydantic(origin)
        if issubclass(origin, Enum):
            return _make_enum(origin)
        shape: Any = origin
        if (fields := get_fields(shape)) is not None:
            return self._make_object(kind, shape, fields, arguments)
        if origin in _MAPPINGS or issubclass(origin, dict):
            values = self.make(arguments[1]) if len(arguments) > 1 else {}
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        if origin in (*_ARRAYS, *_MORE_ARRAYS) or issubclass(origin, list | tuple | set | frozenset):
            return self._make_array(annotation, origin, arguments)
        if issubclass(origin, PurePath):
            return {"type": "string", "format": "path"}
        return _make_leaf(annotation)

    def _make_union(self, options: tuple[Any, ...]) -> Schema:
        made = [self.make(option) for option in options]
        found = [each for one in made for each in (one["anyOf"] if [*one] == ["anyOf"] else [one])]
        return {} if {} in found else {"anyOf": found}

    def _make_array(self, annotation: Any, origin: type, arguments: tuple[Any, ...]) -> Schema:
        extra = _make_leaf(typing.Annotated[list, *annotation.__metadata__]) if _has_metadata(annotation) else {}
        extra = {key: value for key, value in extra.items() if key in ("minItems", "maxItems")}
        if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
            items = [self.make(each) for each in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        found = self.make(arguments[0]) if arguments else {}
        return {"type": "array", **({"items": found} if found else {}), **extra}

    def _make_pydantic(self, kind: Any) -> Schema:
        try:
            found = _read_pydantic_schema(kind)
        except Exception:  # noqa: BLE001 - the author's types, of which pydantic may know no schema
            return {"title": kind.__qualname__, UNCHECKED: True}
        marks = {LENIENT: True, **({UNCHECKED: True} if _converts(kind) else {})}
        inner = found.pop("$defs", {})
        own = inner if "$ref" in found else {**inner, kind.__name__: found}
        own = {name: {**each, **marks} for name, each in own.items()}
        if any(self.definitions.get(name, each) != each for name, each in own.items()):
            return {"title": kind.__qualname__, UNCHECKED: True}  # two classes of one name
        self.definitions |= own
        return found if "$ref" in found else {"$ref": f"#/$defs/{kind.__name__}"}

    def _make_object(self, kind: Any, origin: Any, fields: tuple[Field, ...], arguments: tuple[Any, ...]) -> Schema:
        if issubclass(origin, tuple) or (issubclass(origin, msgspec.Struct) and origin.__struct_config__.array_like):
            return {"type": "array"}
        if kind not in self._names:
            taken = set(self._names.values()) | set(self.definitions)
            base = origin.__qualname__.rpartition(".")[2]
            name = next(each for each in (base, *(f"{base}{n}" for n in range(2, 10_000))) if each not in taken)
            self._names[kind] = name
            self.definitions[name] = {}
            bound = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
            self.definitions[name] = self._describe_object(origin, fields, bound)
        return {"$ref": f"#/$defs/{self._names[kind]}"}

    def _describe_object(self, kind: Any, fields: tuple[Field, ...], bound: dict[Any, Any]) -> Schema:
        docs: dict[str, str] = get_field_docs(kind)
        properties: dict[str, Schema] = {}
        tag = kind.__struct_config__ if issubclass(kind, msgspec.Struct) else None
        if tag is not None and tag.tag_field:
            properties[tag.tag_field] = {"const": tag.tag}
        for field in fields:
            annotation = bound.get(field.annotation, field.annotation)
            found = self.make(annotation)
            text = get_annotation_doc(annotation) or docs.get(field.name) or docs.get(field.key)
            default = {} if field.required else _find_default(kind, field.name)
            properties[field.key] = {**found, **({"description": text} if text else {}), **default}
        required = [field.key for field in fields if field.required]
        doc = get_class_doc(kind)
        return {
            "title": kind.__qualname__.rpartition(".")[2],
            **({"description": doc} if doc else {}),
            "type": "object",
            "properties": properties,
            **({"required": required} if required else {}),
            **({"additionalProperties": False} if tag is not None and tag.forbid_unknown_fields else {}),
        }


def _has_metadata(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Annotated


def _read_pydantic_schema(kind: Any) -> Schema:
    from pydantic import TypeAdapter  # installed: the class is one of its own

    found: Schema = TypeAdapter(kind).json_schema(mode="validation")
    return found


def _converts(kind: Any) -> bool:
    """Whether a pydantic class accepts values that its schema doesn't have: by aliases or the author's validators."""
    accepted = pydantic_models.get_accepted_keys(kind) or []
    return any(len(keys) > 1 for keys in accepted) or pydantic_models.has_validators(kind)


def _make_enum(kind: type[Enum]) -> Schema:
    if issubclass(kind, Flag):
        return {"title": kind.__qualname__, "type": "integer"}  # members can be combined
    try:
        values = [msgspec.to_builtins(member.value) for member in kind]
    except (TypeError, ValueError):
        return {"title": kind.__qualname__, UNCHECKED: True}
    return {"enum": values}


def _make_leaf(annotation: Any) -> Schema:
    """Return msgspec's schema of a type without parts; of a subclass of str, a number or a date, that of its base."""
    if annotation is Any or annotation is object:
        return {}
    if unwrap_annotation(annotation) is Decimal:
        return _DECIMAL
    try:
        found = msgspec.json.schema(annotation)
        return {**found, "format": "date-time"} if unwrap_annotation(annotation) is datetime else found
    except Exception:  # noqa: BLE001 - msgspec knows no schema of it; the author's metaclass may raise anything
        kind = unwrap_annotation(annotation)
        base = kind.__mro__[1] if isinstance(kind, type) and len(kind.__mro__) > 2 else None
        return {} if base is None else _make_leaf(base)


def _find_default(kind: Any, name: str) -> Schema:
    """Return the default value of a field as part of its schema; nothing if it isn't one value."""
    value = _read_default(kind, name)
    if value is _MISSING or value is msgspec.UNSET:
        return {}
    try:
        return {"default": msgspec.json.decode(encode(value))}
    except Exception:  # noqa: BLE001 - a value that JSON can't hold; encoding may run code of the author's
        return {}


def _read_default(kind: Any, name: str) -> Any:
    if issubclass(kind, msgspec.Struct):
        found = dict(zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False))
        value: Any = found.get(name, _MISSING)
        factory = getattr(value, "factory", None) if type(value).__module__.startswith("msgspec") else None
        return _call_plain_factory(factory) if factory is not None else value
    if (fields := getattr(kind, "__dataclass_fields__", None)) is not None:
        field = fields.get(name)
        if field is None:
            return _MISSING
        made = _call_plain_factory(field.default_factory)
        return made if type(field.default).__name__ == "_MISSING_TYPE" else field.default
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        value = next((each.default for each in attributes if each.name == name or each.alias == name), _MISSING)
        return _call_plain_factory(value.factory) if hasattr(value, "takes_self") else value
    return getattr(kind, "_field_defaults", {}).get(name, _MISSING)


def _call_plain_factory(factory: Any) -> Any:
    return factory() if factory in (list, dict, set, tuple, frozenset) else _MISSING
