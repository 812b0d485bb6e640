"""Which verbs an instance refuses as it stands, and why."""

from __future__ import annotations

from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.store.inbox.messages import MessageItem


def refusal_of(kind: str, current: DurableOrchestrationStatus, item: MessageItem) -> str:
    """Why such a verb may not touch the instance; empty if it may."""
    return _REFUSALS[kind](current, item)


def word_of(current: DurableOrchestrationStatus) -> str:
    """Its runtime status in one word."""
    return current.runtime_status.value if current.runtime_status else "unknown"


def will_have_ended(current: DurableOrchestrationStatus) -> bool:
    """Whether a message that is posted now will find the instance ended."""
    return current.ended or current.ends


def state_of(current: DurableOrchestrationStatus) -> str:
    """Its state in words, as they follow its id."""
    return "is being terminated" if current.ends else f"is {word_of(current)}"


def _ended(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "nothing is left to do" if will_have_ended(current) else ""


def _not_failed(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "" if word_of(current) == "Failed" else "only a failed instance can be rewound"


def _live(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "" if will_have_ended(current) or item.force else "terminate it first, or use --force"


_REFUSALS = {"terminate": _ended, "suspend": _ended, "resume": _ended, "rewind": _not_failed, "purge": _live}
