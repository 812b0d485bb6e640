"""The sequence of messages between the participants of one execution, from the records of its history.

Equal messages in a row are counted, repetitions become loops, and of a long history messages are summed up over parts
of it. So the sequence stays small however long the history is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.plurals import format_count

ORCHESTRATION = "orchestration"
CLIENT = "client"
MAX_STEPS = 80
_MAX_PARTICIPANTS = 9
_MAX_ENTITIES_OF_A_NAME = 3
_LONGEST_LOOP = 8
_MIN_REPETITIONS = 3
_WINDOWS = 8


class SequenceParticipant(msgspec.Struct, frozen=True):
    """One column: `kind` is client, orchestration, activity, entity, child or others. `count` is how many it stands
    for."""

    kind: str
    name: str
    count: int = 1


class SequenceMessage(msgspec.Struct, frozen=True, gc=False):
    """One arrow, or a note on the orchestration if both ends are it. `style` is call, result, failure, signal or note.

    `sender` and `receiver` are indexes of participants. `count` messages were sent from `since` to `until`, the first
    one by record `n`.
    """

    sender: int
    receiver: int
    text: str
    style: str
    n: int
    since: datetime
    until: datetime
    count: int = 1


class SequenceLoop(msgspec.Struct, frozen=True, gc=False):
    """Messages that repeat `count` times; those given are of the first time."""

    messages: tuple[SequenceMessage, ...]
    count: int


class SequenceGap(msgspec.Struct, frozen=True, gc=False):
    """Messages that are left out."""

    count: int


SequenceStep = SequenceMessage | SequenceLoop | SequenceGap


class MessageSequence(msgspec.Struct, frozen=True):
    """The columns, the steps in order, and whether messages are summed up over parts of the history."""

    participants: tuple[SequenceParticipant, ...]
    steps: tuple[SequenceStep, ...]
    summed: bool = False


class _Sent(msgspec.Struct, gc=False):
    sender: tuple[str, str]
    receiver: tuple[str, str]
    text: str
    style: str
    n: int
    at: datetime


_SELF = (ORCHESTRATION, "")
_CLIENT = (CLIENT, "")


def build_sequence(records: Iterable[ev.Record]) -> MessageSequence:
    """Build the sequence of a history."""
    sent = _MessageFinder().find(records)
    columns, participants = _choose_columns(sent)
    messages = [
        SequenceMessage(columns[each.sender], columns[each.receiver], each.text, each.style, each.n, each.at, each.at)
        for each in sent
    ]
    home = columns.get(_SELF, 0)
    steps = _find_loops(_count_equal(messages, home))
    if _size(steps) <= MAX_STEPS:
        return MessageSequence(participants, tuple(steps))
    summed = _find_loops(_sum_windows(messages))
    return MessageSequence(participants, tuple(_cut(summed)), summed=True)


# ── the messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _MessageFinder:
    """`_calls` has the participant of each call, `_timers` whether a timer is the back-off of a retry."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[str, str]] = {}
        self._timers: dict[int, str] = {}
        self._caller = _CLIENT
        self._sent: list[_Sent] = []

    def find(self, records: Iterable[ev.Record]) -> list[_Sent]:
        for record in records:
            self._add(record)
        return self._sent

    def _send(
        self, record: ev.Record, sender: tuple[str, str], receiver: tuple[str, str], text: str, style: str = "call"
    ) -> None:
        self._sent.append(_Sent(sender, receiver, text, style, record.n, record.at))

    def _note(self, record: ev.Record, text: str) -> None:
        self._send(record, _SELF, _SELF, text, "note")

    def _add(self, record: ev.Record) -> None:
        event = record.event
        match event:
            case ev.TaskScheduled():
                self._call(
                    record, ("activity", event.name), "call" if event.attempt == 1 else f"attempt {event.attempt}"
                )
            case ev.SubOrchestrationInstanceCreated():
                self._call(record, ("child", event.name), "start" if event.attempt == 1 else f"attempt {event.attempt}")
            case ev.EntityOperationCalled():
                self._call(record, ("entity", event.entity), event.name)
            case ev.TaskCompleted() | ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                if event.task in self._calls:
                    self._send(record, self._calls[event.task], _SELF, "result", "result")
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                if event.task in self._calls:
                    error = event.failure.type.rpartition(".")[2]
                    self._send(record, self._calls[event.task], _SELF, error, "failure")
            case ev.TimerCreated():
                kind = "timer" if event.retry_of is None else "back-off"
                self._timers[record.n] = kind
                self._note(record, f"{kind} {_format_wait(event.fire_at - record.at)}")
            case ev.TimerFired():
                if self._timers.get(event.timer) == "timer":
                    self._note(record, "timer fired")
            case ev.ExecutionStarted():
                self._start(record, event)
            case _:
                self._add_other(record)

    def _call(self, record: ev.Record, callee: tuple[str, str], text: str) -> None:
        self._calls[record.n] = callee
        self._send(record, _SELF, callee, text)

    def _start(self, record: ev.Record, event: ev.ExecutionStarted) -> None:
        if event.parent is not None:
            self._caller = ("parent", event.parent.instance)
        self._send(record, self._caller, _SELF, f"start {event.name}")

    def _add_other(self, record: ev.Record) -> None:
        event = record.event
        match event:
            case ev.EventAwaited():
                self._note(record, f"waits for event {event.name}")
            case ev.EventRaised():
                sender = ("others", event.sender.instance) if event.sender else _CLIENT
                self._send(record, sender, _SELF, f"event {event.name}", "signal")
            case ev.EventSent():
                self._send(record, _SELF, ("others", event.instance), f"event {event.name}", "signal")
            case ev.EntityOperationSignaled():
                self._send(record, _SELF, ("entity", event.entity), event.name, "signal")
            case ev.EntityLockRequested():
                self._call(record, ("entity", event.entities[0] if event.entities else "?"), "lock")
            case ev.EntityLockGranted():
                if event.task in self._calls:
                    self._send(record, self._calls[event.task], _SELF, "granted", "result")
            case ev.TaskCanceled():
                if event.task in self._calls:
                    self._send(record, _SELF, self._calls[event.task], "cancel", "signal")
            case ev.EntityUnlockSent():
                if event.lock in self._calls:
                    self._send(record, _SELF, self._calls[event.lock], "unlock", "signal")
            case _:
                self._add_control(record)

    def _add_control(self, record: ev.Record) -> None:
        event = record.event
        match event:
            case ev.ExecutionSuspended():
                self._send(record, _CLIENT, _SELF, "suspend", "signal")
            case ev.ExecutionResumed():
                self._send(record, _CLIENT, _SELF, "resume", "signal")
            case ev.ExecutionTerminated():
                self._send(record, _CLIENT, _SELF, "terminate", "signal")
            case ev.ExecutionRewound():
                self._send(record, _CLIENT, _SELF, "rewind", "signal")
            case ev.ExecutionBlocked():
                self._note(record, "blocked")
            case ev.ExecutionUnblocked():
                self._note(record, "unblocked")
            case ev.ContinueAsNew():
                self._note(record, "continue_as_new")
            case ev.ExecutionCompleted():
                style = "failure" if event.status == "Failed" else "result"
                self._send(record, _SELF, self._caller, event.status, style)
            case _:
                pass


def _format_wait(length: timedelta) -> str:
    seconds = max(0.0, length.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.1f} s".replace(".0 ", " ")


# ── the participants ─────────────────────────────────────────────────────────────────────────────────────────────────


def _choose_columns(sent: Sequence[_Sent]) -> tuple[dict[tuple[str, str], int], tuple[SequenceParticipant, ...]]:
    """Return the column of each participant, and the columns: entities of one name share a column if they are many."""
    used: Counter[tuple[str, str]] = Counter()
    for each in sent:
        used[each.sender] += 1
        used[each.receiver] += each.receiver != each.sender
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    entities: dict[str, list[tuple[str, str]]] = {}
    for participant in used:
        if participant[0] == "entity":
            entities.setdefault(parse_entity_name(participant[1]), []).append(participant)
        else:
            key = ("others", "") if participant[0] == "others" else participant
            groups.setdefault(key, []).append(participant)
    for name, ids in entities.items():
        if len(ids) > _MAX_ENTITIES_OF_A_NAME:
            groups["entity", f"@{name}"] = ids
        else:
            groups.update({each: [each] for each in ids})
    fixed = [key for key in (_CLIENT, _SELF) if key in groups]
    rest = sorted((key for key in groups if key not in fixed), key=lambda key: -sum(used[each] for each in groups[key]))
    kept, dropped = rest[:_MAX_PARTICIPANTS], rest[_MAX_PARTICIPANTS:]
    if dropped:
        members = [member for key in (*dropped, ("others", "")) if key in groups for member in groups.pop(key)]
        kept = [key for key in kept if key != ("others", "")]
        groups["others", ""] = members
        kept.append(("others", ""))
    order = {key: at for at, key in enumerate(groups)}
    parents = [key for key in kept if key[0] == "parent"]
    others = sorted((key for key in kept if key[0] != "parent"), key=lambda key: (key[0] == "others", order[key]))
    keys = [*parents, *fixed, *others]
    columns = {member: at for at, key in enumerate(keys) for member in groups[key]}
    return columns, tuple(_to_participant(key, groups[key]) for key in keys)


def _to_participant(key: tuple[str, str], members: Sequence[tuple[str, str]]) -> SequenceParticipant:
    kind, name = key
    if kind == "others":
        if len(members) == 1:
            return SequenceParticipant("others", members[0][1])
        return SequenceParticipant("others", format_count(len(members), "other"), len(members))
    return SequenceParticipant(kind, name or kind, len(members))


# ── fewer messages ───────────────────────────────────────────────────────────────────────────────────────────────────


def _key(message: SequenceMessage) -> tuple[int, int, str, str]:
    return message.sender, message.receiver, message.text, message.style


def _merge(messages: Iterable[SequenceMessage]) -> list[SequenceMessage]:
    """Count equal messages, in the order in which each was first sent."""
    found: dict[tuple[int, int, str, str], list[SequenceMessage]] = {}
    for message in messages:
        found.setdefault(_key(message), []).append(message)
    return [
        each[0]
        if len(each) == 1
        else msgspec.structs.replace(each[0], count=sum(one.count for one in each), until=each[-1].until)
        for each in found.values()
    ]


def _count_equal(messages: Sequence[SequenceMessage], home: int) -> list[SequenceMessage]:
    """Count equal messages between two changes of direction: what is sent in one turn, or received before the next."""
    merged: list[SequenceMessage] = []
    phase: list[SequenceMessage] = []
    direction: tuple[bool, bool] | None = None
    for message in messages:
        now = (message.sender == home, message.receiver == home)
        if now != direction:
            merged += _merge(phase)
            phase, direction = [], now
        phase.append(message)
    return merged + _merge(phase)


def _sum_windows(messages: Sequence[SequenceMessage]) -> list[SequenceMessage]:
    """Sum up the messages in a few parts of equal length; the first and the last stay by themselves."""
    if len(messages) < 2:
        return list(messages)
    middle = messages[1:-1]
    size = max(1, -(-len(middle) // _WINDOWS))
    summed = [each for at in range(0, len(middle), size) for each in _merge(middle[at : at + size])]
    return [messages[0], *summed, messages[-1]]


def _find_loops(messages: Sequence[SequenceMessage]) -> list[SequenceStep]:
    ids: dict[tuple[int, int, str, str], int] = {}
    keys = [ids.setdefault(_key(message), len(ids)) for message in messages]
    steps: list[SequenceStep] = []
    at = 0
    while at < len(messages):
        length, count = _longest_repetition(keys, at)
        if count >= _MIN_REPETITIONS and length > 1:
            steps.append(SequenceLoop(tuple(messages[at : at + length]), count))
            at += length * count
        else:
            steps.append(messages[at])
            at += 1
    return steps


def _longest_repetition(keys: Sequence[int], at: int) -> tuple[int, int]:
    """Return the length of the block that repeats from here and covers the most, and how often it repeats."""
    best = (1, 1)
    for length in range(2, _LONGEST_LOOP + 1):
        if at + length >= len(keys) or keys[at] != keys[at + length]:
            continue
        block, count = keys[at : at + length], 1
        while keys[at + count * length : at + (count + 1) * length] == block:
            count += 1
        if count >= _MIN_REPETITIONS and length * count > best[0] * best[1]:
            best = (length, count)
    return best


def _size(steps: Iterable[SequenceStep]) -> int:
    return sum(len(step.messages) if isinstance(step, SequenceLoop) else 1 for step in steps)


def _cut(steps: Sequence[SequenceStep]) -> list[SequenceStep]:
    """Leave out the middle of what is still too long."""
    if _size(steps) <= MAX_STEPS:
        return list(steps)
    head, tail = list(steps[: MAX_STEPS // 2]), list(steps[-MAX_STEPS // 4 :])
    return [*head, SequenceGap(len(steps) - len(head) - len(tail)), *tail]
