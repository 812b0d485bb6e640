"""Values to and from payloads, which are plain JSON. Nothing is lost silently.

msgspec writes at C speed, but it writes NaN as null. So a value is checked first: plain JSON (nearly every payload) is
written at once; anything else is converted to plain JSON step by step, and a value that JSON can't hold is rejected
with its path. Reading goes by annotation only: a payload never imports or calls a class that it names, except classes
of a loaded Azure app (see custom_objects).

Every value that enters a hub passes `encode`, or `check_nesting` if it is JSON already, so none is nested too deep to
be read again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from durablecli.errors import Mismatch, Unserializable, UsageError
from durablecli.limits import MAX_NESTING_DEPTH, PAYLOAD_LIMIT
from durablecli.model import custom_objects, typed_decode
from durablecli.model.boxed_text import BOX_PREFIX, box_text, is_boxed, unbox
from durablecli.model.custom_objects import APP_MODULES
from durablecli.model.json_codec import decode_json, encode_json
from durablecli.model.plain_encode import ATOM_TYPES, TOO_DEEP, TOO_DEEP_OR_CYCLIC, is_plain, to_plain

__all__ = [
    "TOO_DEEP",
    "RecordedPayload",
    "check_nesting",
    "decode",
    "decode_members",
    "encode",
    "to_displayable",
]

_BOX_LENGTH = len(BOX_PREFIX)
_decode_json_members = msgspec.json.Decoder(dict[str, Raw]).decode


def encode(value: Any, limit: int = PAYLOAD_LIMIT) -> Raw:
    """Encode a value; raises Unserializable with the path, or UsageError if the JSON has more than `limit` bytes.

    Beyond plain JSON: dataclasses, enums, Structs, named tuples, sets (sorted), dates and times, UUID, Decimal, bytes
    (base64), paths, pydantic models, and every class that has `to_json`. Keys that are numbers, booleans or None
    become strings, as json.dumps writes them. A Raw already is JSON, or a text in a box (see boxed_text).
    """
    data: bytes | None = None
    try:
        if type(value) in ATOM_TYPES or is_plain(value):
            data = encode_json(value)
    except (ValueError, RecursionError):
        pass  # a lone surrogate or too many digits: reported below, with its path
    if data is None:
        data = _encode_other(value)
    if len(data) > limit:
        raise UsageError(
            f"the payload has {len(data):,} bytes, the limit is {limit:,}: keep it in a file and pass its path"
        )
    if data[:_BOX_LENGTH] == BOX_PREFIX and not isinstance(value, Raw):
        return box_text(data.decode())
    return Raw(data)


class RecordedPayload:
    """An annotation for a payload as it is recorded: a Raw, also if it holds a text in a box."""


_RAW_ANNOTATIONS = (Raw, RecordedPayload)


def decode(raw: Raw | bytes, annotation: Any = Any) -> Any:
    """Decode a payload by an annotation, or else as plain JSON; raises Mismatch with the path."""
    if memoryview(raw)[:_BOX_LENGTH] == BOX_PREFIX:  # inline: every payload passes here
        if annotation is RecordedPayload:
            return Raw(raw)
        raw = unbox(raw)
    try:
        if APP_MODULES and annotation not in _RAW_ANNOTATIONS and custom_objects.may_contain_envelope(raw):
            return typed_decode.build(decode_json(raw), annotation, "$")
        if annotation is Any:
            return decode_json(raw)
        if annotation is RecordedPayload:
            return Raw(raw)
        return typed_decode.get_decoder(annotation)(raw)
    except msgspec.ValidationError as error:
        raise Mismatch(*typed_decode.split_validation_error(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Mismatch("$", f"invalid JSON: {error}") from None
    except RecursionError:
        raise Mismatch("$", TOO_DEEP) from None


def decode_members(raw: Raw | bytes) -> dict[str, Raw]:
    """Split a JSON object into its members, undecoded; raises Mismatch."""
    try:
        return _decode_json_members(unbox(raw))
    except msgspec.ValidationError as error:
        raise Mismatch(*typed_decode.split_validation_error(error)) from None


def check_nesting(data: bytes) -> None:
    """Raise Unserializable for JSON that is nested deeper than the limit.

    It is parsed only if it has enough brackets; counting them is cheap.
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
    """Return a payload for display: what a box holds, as JSON on one line.

    A payload nested deeper than the limit, by an older version, is replaced by a text.
    """
    if is_boxed(payload):
        shown = bytes(unbox(payload))
        return Raw(msgspec.json.format(shown, indent=-1) if b"\n" in shown or b"\r" in shown else shown)
    if memoryview(payload).nbytes <= 2 * MAX_NESTING_DEPTH:
        return payload
    data = bytes(payload)
    try:
        check_nesting(data)
    except Unserializable:
        return Raw(encode_json(f"nested deeper than {MAX_NESTING_DEPTH} levels, not shown ({len(data):,} bytes)"))
    return payload


def _encode_other(value: Any) -> bytes:
    """Encode a value that isn't plain JSON."""
    if isinstance(value, Raw):
        return _check_raw(bytes(value))
    try:
        return encode_json(to_plain(value))
    except RecursionError:
        raise Unserializable("$", TOO_DEEP_OR_CYCLIC) from None


def _check_raw(data: bytes) -> bytes:
    """Check given JSON, and put it on one line, as histories need it."""
    try:
        decode_json(data)
        check_nesting(data)
        return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data
    except RecursionError:
        raise Unserializable("$", TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unserializable("$", f"the Raw holds invalid JSON: {error}") from None
