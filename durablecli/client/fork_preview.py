"""The preview of a fork: which work it would run again, and whether it is possible at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from durablecli.model.events import Record
from durablecli.replay.fork_plan import plan_fork


class ForkPreview(NamedTuple):
    """The execution that is forked, and the work that runs again, one line each."""

    execution: str
    lines: list[str]


def describe_fork(execution: str, records: Iterable[Record], before: int) -> ForkPreview:
    """Describe a fork of a history. Raises WrongState if it isn't possible."""
    plan = plan_fork(list(records), before, "fork", "0")
    lines = [
        *(f"activity {event.name}{_label(event.label)} (id {n})" for n, event in plan.activities),
        *(f"operation {event.name} of {event.entity} (id {n})" for n, event in plan.calls),
        *(f"sub-orchestration {event.name}{_label(event.label)} (id {n}), as a new one" for n, event in plan.children),
        *(f"timer (id {n}), due {event.fire_at:%Y-%m-%d %H:%M:%SZ}" for n, event in plan.timers),
    ]
    return ForkPreview(execution, lines)


def _label(label: str | None) -> str:
    return f" [{label}]" if label else ""
