"""Values to and from payloads: as the `durabletask` SDK encodes them, or as Azure's apps do."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from durabletask.internal import type_discovery
from durabletask.serialization import DEFAULT_DATA_CONVERTER
from msgspec import Raw

from durablecli.model import payloads
from durablecli.model.boxed_text import from_text, to_text


class PayloadCodec(Protocol):
    """Encodes values, and decodes payloads. One that doesn't fit its annotation is decoded as plain JSON."""

    def encode(self, value: Any) -> Raw: ...
    def decode(self, payload: Raw | bytes, annotation: Any = None) -> Any: ...


class _SdkCodec:
    """The SDK's own converter, which reads objects by annotations only."""

    def encode(self, value: Any) -> Raw:
        """Raises TypeError for a value that the SDK can't encode."""
        text = DEFAULT_DATA_CONVERTER.serialize(value)
        if text is None:
            return from_text(None)
        try:
            return from_text(msgspec.json.format(text, indent=-1))
        except msgspec.DecodeError:  # json.dumps writes NaN and infinity, which JSON doesn't have
            return from_text(text)

    def decode(self, payload: Raw | bytes, annotation: Any = None) -> Any:
        return DEFAULT_DATA_CONVERTER.deserialize(to_text(payload), annotation)


class _AzureCodec:
    """Objects with `to_json` and `from_json` come back as objects also without an annotation."""

    def encode(self, value: Any) -> Raw:
        return payloads.encode(value)

    def decode(self, payload: Raw | bytes, annotation: Any = None) -> Any:
        return coerce(payloads.decode(payload), annotation) if payload else None


SDK_CODEC: PayloadCodec = _SdkCodec()
AZURE_CODEC: PayloadCodec = _AzureCodec()


def coerce(value: Any, annotation: Any) -> Any:
    """Return a decoded value as an object of its annotation, if it fits."""
    return DEFAULT_DATA_CONVERTER.coerce(value, annotation)


find_activity_input_type = type_discovery.activity_input_type
find_activity_output_type = type_discovery.activity_output_type
find_entity_input_type = type_discovery.entity_input_type
find_orchestrator_input_type = type_discovery.orchestrator_input_type
