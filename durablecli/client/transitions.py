"""Transitions: which verbs an instance allows in its present status, and why it refuses the others."""

from __future__ import annotations

from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.store.inbox.messages import MessageItem


def why_not_allowed(kind: str, current: DurableOrchestrationStatus, item: MessageItem) -> str:
    """Return why the verb must not be applied to the instance; empty if it may be."""
    return _CHECKS[kind](current, item)


def will_have_ended(current: DurableOrchestrationStatus) -> bool:
    """Whether a message that is posted now will find the instance ended."""
    return current.ended or current.ends


def describe_status(current: DurableOrchestrationStatus) -> str:
    """Describe the status in words that follow the instance id."""
    return "is being terminated" if current.ends else f"is {current.status_name}"


def _refuse_ended(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "nothing is left to do" if will_have_ended(current) else ""


def _refuse_unless_failed(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "" if current.status_name == "Failed" else "only a failed instance can be rewound"


def _refuse_live(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "" if will_have_ended(current) or item.force else "terminate it first, or use --force"


_CHECKS = {
    "terminate": _refuse_ended,
    "suspend": _refuse_ended,
    "resume": _refuse_ended,
    "rewind": _refuse_unless_failed,
    "purge": _refuse_live,
}
