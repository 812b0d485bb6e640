"""The laws of entities, held against every commit: a model of its own, which shares no code with the folds.

It knows what each operation does, what waits at each entity, and who asked for which locks. After every commit:

    What was sent has been received, once and in order. What was done is what stood first in line, and did what it says.
    Who holds a lock, or waits for one, still asks for it; who asks holds the first of his locks and waits at the next.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import msgspec
from msgspec.structs import replace

from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.store.journal.commits import Commit, HistoryWrite
from tests.properties.entity_programs import TOLD

State = dict[str, Any] | None
Sent = tuple[str, str, Any, int, bool, bool]


class Deed:
    """What one operation does to a state, by the rules of the society."""

    def __init__(self, id: str, state: State, event: ev.EntityOperationReceived) -> None:
        self.before, order, name = state, msgspec.json.decode(event.input), event.name
        self.signals: list[tuple[str, str, Any, bool]] = []
        self.starts: list[tuple[str, str]] = []
        self.result: Any = None
        self.failed: str | None = None
        self.tag: str = order["tag"]
        self.state: State = None
        if name == "delete":
            return
        new = copy.deepcopy(state) or {"n": 0, "items": [], "tags": []}
        if name in ("add", "set"):
            new["n"] = order["by"] + (new["n"] if name == "add" else 0)
        elif name == "append":
            new["items"].append(order["by"])
        elif name == "tell":
            self.signals = [(order["to"], TOLD, {"tag": f"{self.tag}>", "by": 1}, order["later"])]
        elif name == "begin":
            self.starts = [(order["id"], f"kid of {self.tag}")]
        elif name == "fail":
            self.failed, self.state = self.tag, state
            return
        self.result = {"tag": self.tag, "n": new["n"]}
        if name == "get":
            self.result["tags"] = new["tags"]
            self.state = new if id.startswith("@book") else state  # a class keeps its defaults once it was made
        elif name != "destruct":
            new["tags"].append(self.tag)
            self.state = new


class Figure:
    """One entity: what waits, in the order in which it is to be done, and who holds its lock."""

    def __init__(self, id: str, execution: str) -> None:
        self.id, self.execution, self.n = id, execution, 0
        self.state: State = None
        self.line: list[tuple[int, Any, bool]] = []  # n, event, whether the lock's holder sent it under the lock
        self.scheduled: dict[int, ev.EntityOperationReceived] = {}
        self.holder: ev.Origin | None = None
        self.deeds: list[tuple[Deed, ev.EntityOperationReceived]] = []

    def asking(self) -> list[ev.Origin]:
        return [event.sender for _, event, _ in self.line if isinstance(event, ev.EntityLockReceived)]

    def see(self, n: int, at: Any, event: Any) -> None:
        assert n == self.n + 1, f"{self.id}: n {n} after {self.n}"
        self.n = n
        match event:
            case ev.EntityOperationReceived(scheduled_time=due) if due is not None:
                self.scheduled[n] = event
            case ev.EntityOperationReceived() | ev.EntityDeletionReceived() | ev.EntityLockReceived():
                self.stand(n, event)
            case ev.TimerFired():
                due = self.scheduled[event.timer].scheduled_time
                assert due is not None
                assert at >= due, "done too early"
                self.stand(event.timer, replace(self.scheduled.pop(event.timer), scheduled_time=None))
            case ev.EntityUnlockReceived():
                assert self.holder == event.sender or event.sender in self.asking()
                if self.holder == event.sender:
                    self.holder = None
                    self.line = [
                        (n, event, False)
                        for _, (n, event, _) in sorted(enumerate(self.line), key=lambda one: (not one[1][2], one[0]))
                    ]
                else:
                    self.line = [one for one in self.line if getattr(one[1], "sender", None) != event.sender]
            case ev.EntityBatch():
                self.do(event)
            case ev.EntityStarted():
                assert n == 1
            case _:
                raise AssertionError(f"{self.id}: {event}")
        if self.holder is None and self.line and isinstance(self.line[0][1], ev.EntityLockReceived):
            self.holder = self.line.pop(0)[1].sender

    def stand(self, n: int, event: Any) -> None:
        sender, holder = getattr(event, "sender", None), self.holder
        ours = sender is not None and holder is not None and _who(sender) == _who(holder)
        self.line.append((n, event, ours and isinstance(event, ev.EntityOperationReceived)))

    def do(self, batch: ev.EntityBatch) -> None:
        turn = [one for one in self.line if one[2] or self.holder is None]
        done = turn[: [n for n, _, _ in turn].index(batch.upto) + 1]
        self.line = [one for one in self.line if one not in done]
        before, results, signals, starts = self.state, [], [], []
        for n, event, _ in done:
            if isinstance(event, ev.EntityDeletionReceived):
                self.state = None
                continue
            assert isinstance(event, ev.EntityOperationReceived), f"{event} is no operation"
            deed = Deed(self.id, self.state, event)
            self.state = deed.state
            self.deeds.append((deed, event))
            signals += deed.signals
            starts += deed.starts
            if deed.failed or event.expects_reply:
                results.append((n, None if deed.failed else deed.result, deed.failed))
        assert [(r.n, _plain(r.result), r.failure and r.failure.message) for r in batch.results] == results
        assert [(s.entity, s.name, _plain(s.input), s.scheduled_time is not None) for s in batch.signals] == signals
        assert [(s.instance, _plain(s.input)["who"]) for s in batch.starts] == starts
        assert batch.deleted == (before is not None and self.state is None)
        assert _plain(batch.state) == (self.state if self.state != before else None)

    def anew(self, n: int, snapshot: ev.EntitySnapshot, carried: list[ev.Record]) -> None:
        """The file begins anew: it must say the same, and what waits must wait again."""
        assert (n, snapshot.upto) == (self.n + 1, self.n)
        assert _plain(snapshot.state) == self.state
        assert (snapshot.lock.sender if snapshot.lock is not None else None) == self.holder
        inside, outside = ([event for _, event, inner in self.line if inner == under] for under in (True, False))
        assert [record.event for record in carried] == [*inside, *outside, *self.scheduled.values()]
        self.n, self.line, self.scheduled = n, [], {}
        for record in carried:
            self.see(*record)

    @property
    def waiting(self) -> int:
        return len(self.line) + len(self.scheduled)


class Ask:
    """A request for locks, from its decision until it is given back or its execution ends."""

    def __init__(self, entities: tuple[str, ...]) -> None:
        self.entities = entities
        self.granted = False


class Annals:
    """All that was committed so far. `marks` says what came up."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.live: dict[str, str] = {}
        self.suspended: set[str] = set()
        self.asks: dict[tuple[str, str, int], Ask] = {}
        self.marks: set[str] = set()
        self.tags: list[str] = []
        self.received: list[tuple[str, str]] = []

    def commit(self, commit: Commit) -> None:
        self.sent: dict[tuple[str, str, str], list[Sent]] = defaultdict(list)
        self.got: dict[tuple[str, str, str], list[Sent]] = defaultdict(list)
        self.answers: dict[tuple[str, str, int], Any] = {}
        self.heard: dict[tuple[str, str, int], Any] = {}
        self.started: set[str] = set()
        lived = set(self.live)
        for purged in commit.purged:
            if is_entity_id(purged.instance):
                figure = self.figures.pop(purged.instance)
                assert (figure.state, figure.holder, figure.waiting) == (None, None, 0), "purged, and not empty"
                self.marks.add("entity purged")
            else:
                self._over(purged.instance, purged.execution, "Purged")
        for write in commit.writes:
            if not is_entity_id(write.instance):
                for record in _records(write):
                    self._member(write.instance, write.execution, record)
        self.undelivered: set[str] = set()
        for write in commit.writes:
            if is_entity_id(write.instance):
                self._entity(write)
        self._balance(lived)

    # ── members ────────────────────────────────────────────────────────────────────────────────────────────────

    def _member(self, id: str, execution: str, record: ev.Record) -> None:
        n, _, event = record
        match event:
            case ev.ExecutionStarted():
                assert id not in self.live, f"{id} was started while it lived"
                self.live[id] = execution
                self.started.add(id)
            case ev.EntityOperationCalled():
                self._send(id, execution, n, event.entity, event.name, event.input, True, False)
            case ev.EntityOperationSignaled():
                late = event.scheduled_time is not None
                self._send(id, execution, n, event.entity, event.name, event.input, False, late)
            case ev.EntityOperationCompleted():
                self.heard[id, execution, event.task] = _plain(event.result)
            case ev.EntityOperationFailed():
                self.heard[id, execution, event.task] = event.failure.message
            case ev.EntityLockRequested():
                assert list(event.entities) == sorted(set(event.entities))
                self.asks[id, execution, n] = Ask(event.entities)
            case ev.EntityLockGranted():
                self.asks[id, execution, event.task].granted = True
                self.marks.add("granted")
            case ev.EntityUnlockSent():
                self.marks.add("released" if self.asks.pop((id, execution, event.lock)).granted else "cancelled")
            case ev.ExecutionCompleted():
                kind = event.failure.type.rpartition(".")[2] if event.failure is not None else None
                assert kind in (None, "Leave"), event.failure
                self._over(id, execution, event.status)
            case ev.ContinueAsNew():
                self._over(id, execution, "ContinuedAsNew")
            case ev.ExecutionSuspended():
                self.suspended.add(id)
                self._mark(id, execution, "suspended")
            case ev.ExecutionResumed():
                self.suspended.discard(id)
            case ev.ExecutionTerminated(reason="purged" | "replaced by a new start"):
                self._mark(id, execution, event.reason)

    def _send(
        self, id: str, execution: str, n: int, entity: str, name: str, input: Any, waits: bool, late: bool
    ) -> None:
        self.sent[id, execution, entity].append((entity, name, _plain(input), n, waits, late))

    def _over(self, id: str, execution: str, how: str) -> None:
        if self.live.get(id) == execution:
            del self.live[id]
        self.suspended.discard(id)
        self._mark(id, execution, how)
        self.asks = {key: ask for key, ask in self.asks.items() if key[:2] != (id, execution)}

    def _mark(self, id: str, execution: str, how: str) -> None:
        for key, ask in self.asks.items():
            if key[:2] == (id, execution):
                self.marks.add(f"{how} while {'holding' if ask.granted else 'asking'}")

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def _entity(self, write: HistoryWrite) -> None:
        records, id = _records(write), write.instance
        if write.first == 1:
            assert id not in self.figures, f"{id} began while it was there"
            self.figures[id] = Figure(id, write.execution)
        figure = self.figures[id]
        assert figure.execution == write.execution
        if write.rewrites_file:
            n, _, snapshot = records[0]
            assert isinstance(snapshot, ev.EntitySnapshot)
            carried, records = records[1 : figure.waiting + 1], records[figure.waiting + 1 :]
            self.marks.add("compacted, with something that waits" if carried else "compacted")
            if figure.holder is not None:
                self.marks.add("compacted under lock")
            figure.anew(n, snapshot, carried)
        for record in records:
            figure.see(*record)
            self._look(figure, record)

    def _look(self, figure: Figure, record: ev.Record) -> None:
        n, _, event = record
        match event:
            case ev.EntityOperationReceived(sender=sender):
                if sender is None:
                    assert event.message is not None
                    self.received.append((figure.id, event.message))
                else:
                    late = event.scheduled_time is not None
                    entry = (figure.id, event.name, _plain(event.input), sender.n, event.expects_reply, late)
                    self.got[sender.instance, sender.execution, figure.id].append(entry)
            case ev.EntityDeletionReceived():
                assert event.message is not None
                self.received.append((figure.id, event.message))
                self.marks.add("deleted")
            case ev.EntityLockReceived() if event.sender in figure.asking():
                self.marks.add("waited for a lock")
            case ev.TimerFired():
                self.marks.add("scheduled")
            case ev.EntityBatch():
                self._done(figure, n, event)

    def _done(self, figure: Figure, n: int, batch: ev.EntityBatch) -> None:
        for signal in batch.signals:
            late = signal.scheduled_time is not None
            self._send(figure.id, figure.execution, n, signal.entity, signal.name, signal.input, False, late)
        for start in batch.starts:
            self.marks.add("not started" if start.undelivered else "started")
            assert start.instance in self.started or start.undelivered
            if start.undelivered:
                self.undelivered.add(start.instance)
        if len(figure.deeds) > 1:
            self.marks.add("several at once")
        for deed, event in figure.deeds:
            self.tags.append(deed.tag)
            if deed.failed:
                self.marks.add("failed")
            if event.expects_reply:
                assert event.sender is not None
                key = (event.sender.instance, event.sender.execution, event.sender.n)
                self.answers[key] = deed.failed or deed.result
            if event.sender is not None and event.sender.instance in self.suspended:
                self.marks.add("done for a suspended one")
        figure.deeds.clear()

    # ── between them ───────────────────────────────────────────────────────────────────────────────────────────

    def _balance(self, lived: set[str]) -> None:
        assert self.sent == self.got, "sent and received differ"
        assert self.undelivered <= lived | self.started, "a start was refused, and the id was free"
        for key, answer in self.heard.items():
            assert self.answers[key] == answer, "an answer to something else"
        for key in self.answers.keys() - self.heard.keys():
            assert self.live.get(key[0]) != key[1], f"{key} was never told"
        holders = {_key(figure.holder) for figure in self.figures.values() if figure.holder is not None}
        asking = {_key(sender) for figure in self.figures.values() for sender in figure.asking()}
        assert holders | asking <= self.asks.keys(), "a lock for somebody who doesn't ask for it any more"
        for key, ask in self.asks.items():
            at = [self.figures.get(entity) for entity in ask.entities]
            has = [figure is not None and figure.holder is not None and _key(figure.holder) == key for figure in at]
            waits = [figure is not None and key in map(_key, figure.asking()) for figure in at]
            mine = sum(has)
            assert has == [i < mine for i in range(len(at))]
            assert waits == [i == mine for i in range(len(at))]
            assert ask.granted <= (mine == len(at))  # a turn that is being spread is told when it is whole
            assert self.live[key[0]] == key[1]


def _who(origin: ev.Origin) -> tuple[str, str]:
    return origin.instance, origin.execution


def _key(origin: ev.Origin) -> tuple[str, str, int]:
    return origin.instance, origin.execution, origin.n


def _plain(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw) if raw else None


def _records(write: HistoryWrite) -> list[ev.Record]:
    start = codec.crc_seed(write.instance, write.execution)
    return [codec.decode_record(line, start) for line in write.lines]
