"""Checks what a decorator or durable.yaml says about a schedule."""

from __future__ import annotations

from typing import Any

from durablecli.errors import DurableError
from durablecli.model.entity_id import EntityId
from durablecli.model.ids import check_instance_id
from durablecli.model.payloads import encode
from durablecli.model.schedule_options import OVERLAP_POLICIES, SCHEDULE_ENTITY
from durablecli.model.suggestions import did_you_mean
from durablecli.scheduling.due_times import parse_due_times

_MAX_NAME_LENGTH = 60
"""The id of a run is made of the name and the due time."""


def check_schedule(name: str, schedule: object, timezone: object, overlap: object, input: Any) -> None:
    """Check a schedule. Raises ValueError, in words."""
    _check_name(name)
    if not isinstance(schedule, str):
        raise ValueError(f"the schedule is a text such as '0 3 * * *', not {type(schedule).__name__}")
    if not isinstance(timezone, str):
        raise ValueError(f"the timezone is a name such as 'Europe/Vienna', not {type(timezone).__name__}")
    parse_due_times(schedule, timezone)
    if overlap not in OVERLAP_POLICIES:
        hint = did_you_mean(str(overlap), OVERLAP_POLICIES)
        raise ValueError(f"overlap is skip, queue or allow, not {overlap!r}{hint}")
    try:
        encode(input)
    except (TypeError, ValueError, DurableError) as error:
        raise ValueError(f"the input can't be stored as JSON: {error}") from None


def _check_name(name: str) -> None:
    if len(name) > _MAX_NAME_LENGTH:
        raise ValueError(f"the name has {len(name)} characters, at most {_MAX_NAME_LENGTH} are allowed")
    try:
        check_instance_id(name)
        EntityId(SCHEDULE_ENTITY, name)
    except (DurableError, ValueError) as error:
        raise ValueError(f"{name!r} can't be the name of a schedule: {error}") from None
