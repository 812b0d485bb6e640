"""The verbs that the dashboard offers for an instance or an entity: each as a button, or with the reason why not."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlencode

from durablecli.client import DurableOrchestrationStatus, EntityStatus, MessageItem
from durablecli.client.entity_reader import why_entity_refuses
from durablecli.client.transitions import describe_status, why_not_allowed, will_have_ended

INSTANCE_VERBS = {
    "raise-event": "Raise event…",
    "suspend": "Suspend…",
    "resume": "Resume…",
    "rewind": "Rewind…",
    "restart": "Restart…",
    "terminate": "Terminate…",
    "purge": "Purge…",
}
ENTITY_VERBS = {"signal": "Signal…", "delete": "Delete state…", "purge": "Purge…"}
_DANGEROUS = frozenset({"terminate", "purge", "delete"})


class VerbButton(NamedTuple):
    """A button that opens the form of a verb. `why_not` is empty if the verb is allowed."""

    verb: str
    label: str
    href: str
    why_not: str
    is_dangerous: bool


def instance_buttons(status: DurableOrchestrationStatus) -> list[VerbButton]:
    """Return the buttons for an instance, in the order of their use."""
    return [
        _make_button(verb, label, status.instance_id, why_instance_refuses(verb, status))
        for verb, label in INSTANCE_VERBS.items()
    ]


def entity_buttons(status: EntityStatus) -> list[VerbButton]:
    """Return the buttons for an entity."""
    entity = str(status.entity_id)
    return [_make_button(verb, label, entity, _why_refused(verb, status)) for verb, label in ENTITY_VERBS.items()]


def verb_url(verb: str, id: str) -> str:
    """Return the URL of the form of a verb. The id is in the query, because it may hold any character."""
    return f"/ui/do/{verb}?{urlencode({'id': id}, quote_via=quote, safe='')}"


def why_instance_refuses(verb: str, status: DurableOrchestrationStatus) -> str:
    """Return why a verb can't be applied to an instance now, as words that follow "because"; empty if it can."""
    if status.set_aside is not None:
        return "" if verb == "purge" else "it is quarantined: its history is damaged"
    if verb == "raise-event":
        return f"it {describe_status(status)}: it accepts no more events" if will_have_ended(status) else ""
    if verb == "restart":
        return ""
    refusal = why_not_allowed(verb, status, MessageItem(status.instance_id))
    if refusal:
        return f"it {describe_status(status)}: {refusal.removesuffix(', or use --force')}"
    if verb in ("suspend", "resume") and (verb == "suspend") == (status.status_name == "Suspended"):
        return "it is suspended already" if verb == "suspend" else "it isn't suspended"
    return ""


def _why_refused(verb: str, status: EntityStatus) -> str:
    if verb == "signal":
        return ""
    if status.set_aside is not None:
        return "" if verb == "purge" else "it is quarantined: its log is damaged"
    refusal = why_entity_refuses(verb, status) if status else "nothing was ever sent to it"
    return f"it {refusal.removesuffix(' (durable entity delete)')}" if refusal else ""


def _make_button(verb: str, label: str, id: str, why_not: str) -> VerbButton:
    return VerbButton(verb, label, verb_url(verb, id), why_not, verb in _DANGEROUS)
