"""The rows of the index: summaries as the values of its columns, and back."""

from __future__ import annotations

from typing import Any

import msgspec

from durablecli.model.entity_id import is_entity_id
from durablecli.model.failure_report import FailureCause
from durablecli.model.status import InstanceSummary, PendingWait
from durablecli.store.query import decode_tags, encode_tags, from_micros, to_micros

COLUMNS = (
    "id, name, status, execution, parent, version, created, updated, records, bytes, next_due, owes, waiting,"
    " blocked, blocked_at, locked_by, queued, failure, tags"
)
"""All columns but the first, `entity`."""

_encode = msgspec.json.Encoder().encode
_decode_waits = msgspec.json.Decoder(tuple[PendingWait, ...]).decode
_decode_failure = msgspec.json.Decoder(FailureCause).decode


def row_key(instance: str) -> tuple[bool, str]:
    """Return the primary key of a row."""
    # Queries for entities never pass the instances, and vice versa.
    return is_entity_id(instance), instance


def to_row(each: InstanceSummary) -> tuple[object, ...]:
    """Return the values of a row, for all columns."""
    return (
        *row_key(each.id),
        each.name,
        each.status,
        each.execution,
        each.parent,
        each.version,
        to_micros(each.created),
        to_micros(each.updated),
        each.records,
        each.bytes,
        None if each.next_due is None else to_micros(each.next_due),
        each.has_pending_work,
        _encode(each.waiting).decode() if each.waiting else None,
        each.blocked,
        None if each.blocked_at is None else to_micros(each.blocked_at),
        each.locked_by,
        each.queued,
        None if each.failure is None else _encode(each.failure).decode(),
        encode_tags(each.tags),
    )


def to_summary(row: tuple[Any, ...]) -> InstanceSummary:
    """Return the summary in a row, which is given without its first column."""
    instance, name, status, execution, parent, version, created, updated, records, size, *rest = row
    due, owes, waiting, blocked, blocked_at, locked_by, queued, failure, tags = rest
    return InstanceSummary(
        instance,
        name,
        status,
        execution,
        parent,
        version,
        from_micros(created),
        from_micros(updated),
        records,
        size,
        None if due is None else from_micros(due),
        bool(owes),
        _decode_waits(waiting) if waiting else (),
        blocked,
        None if blocked_at is None else from_micros(blocked_at),
        locked_by,
        queued,
        failure=_decode_failure(failure) if failure else None,
        tags=decode_tags(tags),
    )
