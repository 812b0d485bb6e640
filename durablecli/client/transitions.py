"""Which verbs an instance refuses as it stands, and why."""

from __future__ import annotations

from durablecli.client.orchestration_status import DurableOrchestrationStatus
from durablecli.store.inbox.messages import MessageItem


def why_not_allowed(kind: str, current: DurableOrchestrationStatus, item: MessageItem) -> str:
    """Why such a verb may not touch the instance; empty if it may."""
    return _CHECKS[kind](current, item)


def status_name(current: DurableOrchestrationStatus) -> str:
    """Its runtime status in one word."""
    return current.runtime_status.value if current.runtime_status else "unknown"


def will_have_ended(current: DurableOrchestrationStatus) -> bool:
    """Whether a message that is posted now will find the instance ended."""
    return current.ended or current.ends


def describe_status(current: DurableOrchestrationStatus) -> str:
    """Its state in words, as they follow its id."""
    return "is being terminated" if current.ends else f"is {status_name(current)}"


def _refuse_ended(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "nothing is left to do" if will_have_ended(current) else ""


def _refuse_unless_failed(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "" if status_name(current) == "Failed" else "only a failed instance can be rewound"


def _refuse_live(current: DurableOrchestrationStatus, item: MessageItem) -> str:
    return "" if will_have_ended(current) or item.force else "terminate it first, or use --force"


_CHECKS = {
    "terminate": _refuse_ended,
    "suspend": _refuse_ended,
    "resume": _refuse_ended,
    "rewind": _refuse_unless_failed,
    "purge": _refuse_live,
}
