"""Tells schedules about their runs: a signal to the entity of the schedule, in the commit that begins or ends a run.

A run is an instance with the tag of a schedule, however it was started. Its sub-orchestrations have the tag too, and
aren't runs.
"""

from __future__ import annotations

from durablecli.engine.cycle import Cycle
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.payloads import encode
from durablecli.model.schedule_options import RUN_ENDED, SCHEDULE_ENTITY, SCHEDULE_TAG


def notify_schedule(cycle: Cycle, started: ev.ExecutionStarted, operation: str) -> None:
    """Send a notice about an instance to its schedule, if it is a run."""
    if started.tags and started.parent is None:
        _send(cycle, started.tags, started.instance, operation)


def notify_of_refused_start(cycle: Cycle, tags: dict[str, str], id: str) -> None:
    """Tell a schedule that its run can't start: an instance with that id exists."""
    if tags:
        _send(cycle, tags, id, RUN_ENDED)


def _send(cycle: Cycle, tags: dict[str, str], instance: str, operation: str) -> None:
    name = tags.get(SCHEDULE_TAG)
    if not name:
        return
    try:
        entity = str(EntityId(SCHEDULE_ENTITY, name))
    except ValueError:
        return  # a tag that somebody has made up
    cycle.send(entity, None, ev.EntityOperationReceived(operation, encode(instance)))
