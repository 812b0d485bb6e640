"""Heartbeats: signs of life of a running activity, for its time-out and its status; never recorded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.model.event_base import NULL
from durablecli.model.payloads import encode

MAX_DETAILS_BYTES = 2048
"""The size of the details of a heartbeat, as JSON."""


class ReportedHeartbeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an activity has given its last sign of life, and what it said; `null` if nothing."""

    at: datetime
    details: Raw = NULL


def make_heartbeat(details: Any, at: datetime) -> ReportedHeartbeat:
    """Make a heartbeat. Raises Unserializable for details that JSON can't hold, UsageError for more than 2 KiB."""
    if details is None:
        return ReportedHeartbeat(at)
    raw = encode(details)
    if len(raw) > MAX_DETAILS_BYTES:
        raise UsageError(f"the details of a heartbeat have {len(raw):,} bytes, the limit is {MAX_DETAILS_BYTES:,}")
    return ReportedHeartbeat(at, raw)
