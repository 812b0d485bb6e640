"""The form of each verb: what the verb will do, the fields to fill in, and the call that does it.

A form is made from the present status, so that it names the work that runs again, or the children that end too.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from durablecli.client import SAME_INPUT, Client, DurableOrchestrationStatus, EntityStatus, MessageItem, Query
from durablecli.errors import InvalidInput, WrongState
from durablecli.http.dashboard.checked_form import CheckedForm, InvalidForm
from durablecli.model.status import ENDED_STATUSES
from durablecli.plurals import format_count

_MAX_DESCENDANTS = 1_000
_MAX_NAMED = 5
_MAX_EDITED_INPUT = 64 * 1024
_LIVE_STATUSES = ("Pending", "Running", "Suspended")


class FormField(NamedTuple):
    """A field: `kind` is text, number, json, lines, checkbox, choice or select; `choices` are values with labels."""

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    suggestions: tuple[str, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()
    is_required: bool = False
    rows: int = 4


class VerbForm(NamedTuple):
    """What a verb will do, in sentences; `listed` names the work or the instances concerned, `initial` fills fields."""

    effects: list[str]
    submit: str
    fields: Sequence[FormField]
    listed: Sequence[str] = ()
    initial: Mapping[str, str] = MappingProxyType({})


class InstanceVerb(NamedTuple):
    """A verb of instances. `perform` returns the id of the instance to show afterwards."""

    describe: Callable[[Client, DurableOrchestrationStatus], VerbForm]
    perform: Callable[[Client, str, CheckedForm], str]
    done: str


class EntityVerb(NamedTuple):
    """A verb of entities."""

    describe: Callable[[Client, EntityStatus], VerbForm]
    perform: Callable[[Client, str, CheckedForm], None]
    done: str


_REASON = FormField("reason", "Reason", hint="Recorded in the history.")
_DUE_FIELDS = (
    FormField("delay", "Not before: delay", hint="90 (seconds), 10m, 1h30m or 30d."),
    FormField("at", "Not before: time", hint="Such as 2026-12-01T09:00Z (UTC if no zone)."),
)


# ── instances ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _describe_raise_event(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    names = tuple(dict.fromkeys(wait.name for wait in status.waiting_for if wait.kind == "event" and wait.name))
    effects = [f"Sends an external event to {status.instance_id}."]
    if status.suspended is not None:
        effects.append("It is suspended, so the event is kept until it is resumed.")
    elif names:
        effects.append(f"It waits for {', '.join(names[:10])}. An event of another name is kept until it waits for it.")
    else:
        effects.append("It waits for no event now. The event is kept until the orchestrator waits for it.")
    return VerbForm(
        effects,
        "Raise event",
        [
            FormField("event", "Name of the event", suggestions=names, is_required=True),
            FormField("data", "Data", "json", "JSON; empty means null."),
        ],
        initial={"event": names[0]} if len(names) == 1 else {},
    )


def _raise_event(client: Client, instance: str, form: CheckedForm) -> str:
    name, data = form.required("event"), form.json("data")
    form.check()
    client.raise_event(instance, name, data)
    return instance


def _describe_terminate(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    effects = [
        f"Ends {status.instance_id} at once, with the status Terminated. This can't be undone.",
        "Activities that are running are asked to stop, and their results are dropped.",
    ]
    children = find_descendants(client, status.instance_id, _LIVE_STATUSES)
    if not children:
        effects.append("It has no sub-orchestrations that are still running.")
        return VerbForm(effects, "Terminate", [_REASON])
    effects.append(f"{_count(children, 'sub-orchestration')} that {_verb(children)} not ended will be terminated too:")
    keep = FormField("keep-children", "Leave its sub-orchestrations running", "checkbox", "Their results are dropped.")
    return VerbForm(effects, "Terminate", [_REASON, keep], children)


def _terminate(client: Client, instance: str, form: CheckedForm) -> str:
    client.terminate(instance, form.word("reason"), recursive=not form.checked("keep-children"))
    return instance


def _describe_suspend(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    effects = [
        f"Pauses {status.instance_id}: its orchestrator doesn't run until you resume it.",
        "Activities that are running go on. Results, events and timers that arrive are kept.",
    ]
    return VerbForm(effects, "Suspend", [_REASON])


def _suspend(client: Client, instance: str, form: CheckedForm) -> str:
    client.suspend(instance, form.word("reason"))
    return instance


def _describe_resume(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    kept = 0 if status.suspended is None else status.suspended.kept
    arrived = f"The {format_count(kept, 'arrival')} kept meanwhile will be handled in order." if kept else ""
    effects = [f"Lets {status.instance_id} go on.", arrived or "Nothing has arrived for it since it was suspended."]
    return VerbForm(effects, "Resume", [_REASON])


def _resume(client: Client, instance: str, form: CheckedForm) -> str:
    client.resume(instance, form.word("reason"))
    return instance


def _describe_rewind(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    again = client.rewind_preview(status.instance_id)
    effects = [
        f"Retries the failed work of {status.instance_id} and continues from there. Completed results are kept.",
        f"{format_count(len(again), 'call')} will run again:" if again else "No call will run again.",
    ]
    if status.engine.alive:
        effects.insert(
            1,
            "It runs the code that the engine has loaded. If you have changed the code, restart the engine first; "
            "durable dev has loaded it already.",
        )
    caught = [each for each in _preview_all_failures(client, status.instance_id) if each not in again]
    if not caught:
        return VerbForm(effects, "Rewind", [_REASON], again)
    hint = ", ".join(caught[:_MAX_NAMED]) + (f" and {len(caught) - _MAX_NAMED:,} more" if caught[_MAX_NAMED:] else "")
    label = f"Also retry {format_count(len(caught), 'call')} whose failure the orchestrator has caught"
    return VerbForm(effects, "Rewind", [FormField("caught", label, "checkbox", f"{hint}."), _REASON], again)


def _preview_all_failures(client: Client, instance: str) -> list[str]:
    """Describe all calls that have failed; none if they can't be retried together."""
    try:
        return client.rewind_preview(instance, failed_activities=True)
    except WrongState:
        return []


def _rewind(client: Client, instance: str, form: CheckedForm) -> str:
    client.rewind(instance, form.word("reason"), failed_activities=form.checked("caught"))
    return instance


def _describe_restart(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    version = f" and version {status.version}" if status.version else ""
    same = "The same id: its history is replaced" + ("" if status.ended else " (it has to end first)")
    choices = (("new", "A new id: both are kept"), ("same", same))
    effects = [f"Starts {status.name} again from the beginning, with the input{version} of {status.instance_id}."]
    fields = [FormField("id-choice", "Instance id", "choice", choices=choices)]
    if (shown := _show_input(status)) is None:
        return VerbForm(effects, "Restart", fields)
    rows = min(12, shown.count("\n") + 2)
    fields.append(FormField("input", "Input", "json", "JSON; change it to start with another input.", rows=rows))
    return VerbForm(effects, "Restart", fields, initial={"input": shown})


def _show_input(status: DurableOrchestrationStatus) -> str | None:
    """Return the input as text to edit; None if it is too long for that."""
    text = json.dumps(status.input_, indent=2, ensure_ascii=False)
    return text if len(text) <= _MAX_EDITED_INPUT else None


def _restart(client: Client, instance: str, form: CheckedForm) -> str:
    chosen = form.choice("id-choice", ("new", "same"), "new")
    shown = _show_input(client.get_status(instance, explain_waits=False))
    is_same = not form.has("input") or form.word("input") == shown
    data = SAME_INPUT if is_same else form.json("input")
    form.check()
    try:
        return client.restart(instance, chosen == "new", client_input=data)
    except InvalidInput as error:
        form.errors["input"] = str(error)
        raise InvalidForm from None


def _describe_purge(client: Client, status: DurableOrchestrationStatus) -> VerbForm:
    records = f" and its history of {format_count(status.records, 'record')}" if status.records else ""
    effects = [f"Deletes {status.instance_id}{records} from the disk. This can't be undone."]
    if status.set_aside is not None:
        effects.append(f"It is quarantined ({status.set_aside.reason}); the messages kept for it are deleted too.")
    children = find_descendants(client, status.instance_id, tuple(sorted(ENDED_STATUSES)))
    if children:
        effects.append(f"{_count(children, 'sub-orchestration')} that ended will be deleted with it:")
    return VerbForm(effects, "Purge", [], children)


def _purge(client: Client, instance: str, form: CheckedForm) -> str:
    is_quarantined = client.get_status(instance, explain_waits=False).set_aside is not None
    client.purge_instance_history(instance, force=is_quarantined)
    return ""


INSTANCE_FORMS = {
    "raise-event": InstanceVerb(_describe_raise_event, _raise_event, "The event was sent."),
    "suspend": InstanceVerb(_describe_suspend, _suspend, "The instance was suspended."),
    "resume": InstanceVerb(_describe_resume, _resume, "The instance was resumed."),
    "rewind": InstanceVerb(_describe_rewind, _rewind, "The instance was rewound: its failed work runs again."),
    "restart": InstanceVerb(_describe_restart, _restart, "The instance was started again; this is its new run."),
    "terminate": InstanceVerb(_describe_terminate, _terminate, "The instance was terminated."),
    "purge": InstanceVerb(_describe_purge, _purge, "The instance was deleted."),
}


# ── entities ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _describe_signal(client: Client, status: EntityStatus) -> VerbForm:
    entity, published = status.entity_id, client.published()
    operations = tuple((published and published.operations(entity.name)) or ())
    effects = [f"Sends an operation to {entity}, without waiting for its result."]
    if not status.exists:
        effects.append("It has no state now; the operation begins with its initial one.")
    fields = [
        FormField("operation", "Operation", suggestions=operations, is_required=True),
        FormField("input", "Input", "json", "JSON; empty means null."),
        *_DUE_FIELDS,
    ]
    return VerbForm(effects, "Signal", fields)


def _signal(client: Client, entity: str, form: CheckedForm) -> None:
    operation, data, at = form.required("operation"), form.json("input"), form.due_time("delay", "at")
    form.check()
    client.signal_entity(entity, operation, data, at=at)


def _describe_delete(client: Client, status: EntityStatus) -> VerbForm:
    queued = len(status.queued)
    before = f", after the {format_count(queued, 'operation')} queued before it" if queued else ""
    effects = [f"Deletes the state of {status.entity_id}{before}. This can't be undone."]
    if status.locked_by is not None:
        effects.append(f"Its lock stays with {status.locked_by.instance}.")
    fields = [FormField("force", "Drop the queued operations", "checkbox", "Their callers get a failure.")]
    return VerbForm(effects, "Delete state", fields if queued else [])


def _delete(client: Client, entity: str, form: CheckedForm) -> None:
    client.delete_entity(entity, force=form.checked("force"))


def _describe_entity_purge(client: Client, status: EntityStatus) -> VerbForm:
    effects = [f"Deletes {status.entity_id} and its log from the disk. This can't be undone."]
    if status.set_aside is not None:
        effects.append(f"It is quarantined ({status.set_aside.reason}); the messages kept for it are deleted too.")
    return VerbForm(effects, "Purge", [])


def _purge_entity(client: Client, entity: str, form: CheckedForm) -> None:
    if client.entity(entity).set_aside is None:
        client.purge_entities([entity])
    elif error := client.control("purge", [MessageItem(entity, force=True)])[entity]:
        raise error


ENTITY_FORMS = {
    "signal": EntityVerb(_describe_signal, _signal, "The operation was sent."),
    "delete": EntityVerb(_describe_delete, _delete, "The state was deleted."),
    "purge": EntityVerb(_describe_entity_purge, _purge_entity, "The entity was deleted."),
}


def find_descendants(client: Client, instance: str, statuses: Iterable[str]) -> list[str]:
    """Return the sub-orchestrations below an instance with these statuses, parents first, up to a limit.

    The search goes on only below those that have one of the statuses, as the engine's does.
    """
    wanted, found = tuple(statuses), dict[str, None]()
    waiting = deque([instance])
    while waiting and len(found) < _MAX_DESCENDANTS:
        rows = client.page(Query(parent=waiting.popleft(), status=wanted, limit=_MAX_DESCENDANTS, reverse=True)).rows
        new = [row.id for row in islice(rows, _MAX_DESCENDANTS - len(found)) if row.id not in found]
        found.update(dict.fromkeys(new))
        waiting.extend(new)
    return list(found)


def _verb(found: list[str]) -> str:
    return "has" if len(found) == 1 else "have"


def _count(found: list[str], noun: str) -> str:
    return f"{format_count(len(found), noun)}{' or more' if len(found) >= _MAX_DESCENDANTS else ''}"
