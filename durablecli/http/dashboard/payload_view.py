"""Payloads on a page: formatted JSON of limited size, because a payload may have megabytes."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from durablecli.model.boxed_text import unbox

MAX_SHOWN_BYTES = 32 * 1024
_PREVIEW_BYTES = 160
_MAX_FORMATTED_BYTES = 1024 * 1024


class PayloadView(msgspec.Struct, frozen=True):
    """A payload for display: `text` is all of it, or only its beginning if `is_cut`."""

    name: str
    text: str
    size: int
    is_cut: bool


def show_payload(name: str, payload: Raw) -> PayloadView:
    """A payload formatted for people; of a large one, the beginning as it is."""
    view = _open(payload)
    if view.nbytes > _MAX_FORMATTED_BYTES:
        return _cut(name, bytes(view[:MAX_SHOWN_BYTES]), view.nbytes)
    try:
        text = msgspec.json.format(bytes(view), indent=2)
    except (msgspec.DecodeError, RecursionError):
        text = bytes(view)
    if len(text) > MAX_SHOWN_BYTES:
        return _cut(name, text[:MAX_SHOWN_BYTES], view.nbytes)
    return PayloadView(name, text.decode("utf-8", "replace"), view.nbytes, False)


def preview_payload(name: str, payload: Raw) -> PayloadView:
    """The beginning of a payload, as it is."""
    view = _open(payload)
    if view.nbytes > _PREVIEW_BYTES:
        return _cut(name, bytes(view[:_PREVIEW_BYTES]), view.nbytes)
    return PayloadView(name, bytes(view).decode("utf-8", "replace"), view.nbytes, False)


def _open(payload: Raw) -> memoryview:
    """The JSON that a payload holds; a box that is too large to be parsed for a page is left closed."""
    view = memoryview(payload)
    return memoryview(unbox(payload)) if view.nbytes <= _MAX_FORMATTED_BYTES else view


def _cut(name: str, data: bytes, size: int) -> PayloadView:
    return PayloadView(name, data.decode("utf-8", "ignore"), size, True)
