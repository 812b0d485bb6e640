"""Plain JSON to bytes and back, at the speed of msgspec's own types."""

from __future__ import annotations

import msgspec

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode
