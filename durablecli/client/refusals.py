"""Which verbs an instance refuses as it stands, and why."""

from __future__ import annotations

from durablecli.client.status import DurableOrchestrationStatus
from durablecli.store.mailbox import Item


def refusal_of(kind: str, current: DurableOrchestrationStatus, item: Item) -> str:
    """Why such a verb may not touch the instance; empty if it may."""
    return _REFUSALS[kind](current, item)


def word_of(current: DurableOrchestrationStatus) -> str:
    """Its runtime status in one word."""
    return current.runtime_status.value if current.runtime_status else "unknown"


def _ended(current: DurableOrchestrationStatus, item: Item) -> str:
    return "nothing is left to do" if current.ended else ""


def _not_failed(current: DurableOrchestrationStatus, item: Item) -> str:
    return "" if word_of(current) == "Failed" else "only a failed instance can be rewound"


def _live(current: DurableOrchestrationStatus, item: Item) -> str:
    return "" if current.ended or item.force else "terminate it first, or use --force"


_REFUSALS = {"terminate": _ended, "suspend": _ended, "resume": _ended, "rewind": _not_failed, "purge": _live}
