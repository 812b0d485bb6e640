"""What runs for entities just now, as a running engine says: advice with its age, never truth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile

import msgspec

from durablecli.client.status import Engine
from durablecli.model.entities import is_entity
from durablecli.replay.entity import EntityLedger


class Running(msgspec.Struct, frozen=True):
    """Operations of one entity that run together: those that stand first in its line, up to that of record `id`."""

    since: datetime
    id: int
    execution: str

    def among(self, ledger: EntityLedger) -> int:
        """How many of the operations that stand first in the line of the entity these are; none: they are done."""
        if self.execution != ledger.execution:
            return 0
        return sum(1 for _ in takewhile(lambda record: record.n <= self.id, ledger.runnable))


class Runs(msgspec.Struct, frozen=True):
    """The first so many operations in an entity's line run together, since when."""

    since: datetime
    operations: int


class _Entry(Running, frozen=True):
    instance: str


class _Notice(msgspec.Struct, frozen=True):
    at: datetime
    pid: int
    running: tuple[_Entry, ...] = ()


def running_of(info: Mapping[str, object] | None, engine: Engine) -> dict[str, Running]:
    """By entity, what the engine that is alive has said; what an earlier one left says nothing."""
    if info is None or not engine.alive:
        return {}
    try:
        notice = msgspec.convert(info, _Notice)
    except msgspec.ValidationError:
        return {}
    if notice.pid != engine.pid or (engine.since is not None and notice.at < engine.since):
        return {}
    return {each.instance: each for each in notice.running if is_entity(each.instance)}
