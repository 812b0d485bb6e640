"""Values on their way into and out of a history: plain JSON, and nothing is lost in silence.

msgspec writes at C speed, but it writes NaN as null. So a value is looked through first: what is plain JSON already
(nearly every payload) is written at once; anything else is turned into plain JSON step by step, and what JSON can't
hold is refused with its path. Reading goes by annotation only: no class that a payload names is ever imported or
called, but for the classes of a loaded Azure app (see custom_objects).

Every value that enters a hub passes `encode`, or `check_nesting` where it is JSON already: so none is nested deeper
than anybody can read again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from durablecli.errors import Mismatch, Unserializable, UsageError
from durablecli.limits import MAX_NESTING_DEPTH, PAYLOAD_LIMIT
from durablecli.model import custom_objects, typed_decode
from durablecli.model.custom_objects import APP_MODULES
from durablecli.model.json_codec import decode_json, encode_json
from durablecli.model.plain_encode import TOO_DEEP, TOO_DEEP_OR_CYCLIC, is_plain, to_plain

__all__ = [
    "TOO_DEEP",
    "check_nesting",
    "decode",
    "decode_members",
    "encode",
    "to_displayable",
]

_decode_json_members = msgspec.json.Decoder(dict[str, Raw]).decode


def encode(value: Any, limit: int = PAYLOAD_LIMIT) -> Raw:
    """The JSON of a value; raises Unserializable with the path, or UsageError if it has more than `limit` bytes.

    Beyond plain JSON: dataclasses, enums, Structs, named tuples, sets (sorted), dates and times, UUID, Decimal, bytes
    (base64), paths, pydantic models, and every class that has `to_json`. Keys that are numbers, booleans or None
    become strings, as json.dumps writes them. A Raw is taken as JSON.
    """
    data = _encode_value(value)
    if len(data) > limit:
        raise UsageError(
            f"the payload has {len(data):,} bytes, the limit is {limit:,}: keep it in a file and pass its path"
        )
    return Raw(data)


def decode(raw: Raw | bytes, annotation: Any = Any) -> Any:
    """The value of a payload, built by the annotation; raises Mismatch with the path. Without one: plain JSON."""
    try:
        if APP_MODULES and annotation is not Raw and custom_objects.may_contain_envelope(raw):
            return typed_decode.build(decode_json(raw), annotation, "$")
        if annotation is Any:
            return decode_json(raw)
        return typed_decode.get_decoder(annotation)(raw)
    except msgspec.ValidationError as error:
        raise Mismatch(*typed_decode.split_validation_error(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Mismatch("$", f"invalid JSON: {error}") from None
    except RecursionError:
        raise Mismatch("$", TOO_DEEP) from None


def decode_members(raw: Raw | bytes) -> dict[str, Raw]:
    """The members of a JSON object, undecoded; raises Mismatch."""
    try:
        return _decode_json_members(raw)
    except msgspec.ValidationError as error:
        raise Mismatch(*typed_decode.split_validation_error(error)) from None


def check_nesting(data: bytes) -> None:
    """Refuse JSON that is nested deeper than the limit, with Unserializable.

    It is read only if it has brackets enough; counting them costs next to nothing.
    """
    if len(data) <= 2 * MAX_NESTING_DEPTH or data.count(b"[") + data.count(b"{") <= MAX_NESTING_DEPTH:
        return
    try:
        if is_plain(decode_json(data)):
            return
    except RecursionError:
        pass
    raise Unserializable("$", TOO_DEEP)


def to_displayable(payload: Raw) -> Raw:
    """A payload for a display; one nested deeper than the limit, from an older version, is described instead."""
    if memoryview(payload).nbytes <= 2 * MAX_NESTING_DEPTH:
        return payload
    data = bytes(payload)
    try:
        check_nesting(data)
    except Unserializable:
        return Raw(encode_json(f"nested deeper than {MAX_NESTING_DEPTH} levels, not shown ({len(data):,} bytes)"))
    return payload


def _encode_value(value: Any) -> bytes:
    try:
        if is_plain(value):
            return encode_json(value)
    except (ValueError, RecursionError):
        pass  # a lone surrogate, or too many digits: found below, with its path
    if isinstance(value, Raw):
        return _check_raw(bytes(value))
    try:
        return encode_json(to_plain(value))
    except RecursionError:
        raise Unserializable("$", TOO_DEEP_OR_CYCLIC) from None


def _check_raw(data: bytes) -> bytes:
    """JSON as it was given: on one line, as histories need it, and not nested too deep."""
    try:
        decode_json(data)
        check_nesting(data)
        return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data
    except RecursionError:
        raise Unserializable("$", TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unserializable("$", f"the Raw holds invalid JSON: {error}") from None
