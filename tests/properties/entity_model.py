"""The properties of entities, checked after every commit by a model that shares no code with the folds.

It knows the effect of each operation, the queue of each entity, and all requests for locks. After every commit:

    All sent messages were received, once and in order. Operations ran in order of the queue, with the right effect.
    The holder of a lock, and each request in a queue, still has an open request. A request holds the first of its locks
    and waits for the next.
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
from tests.properties.entity_programs import RELAYED_OPERATION

State = dict[str, Any] | None
Sent = tuple[str, str, Any, int, bool, bool]


class ModelOperation:
    """Apply one operation to a state, by the rules of the programs."""

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
            self.signals = [(order["to"], RELAYED_OPERATION, {"tag": f"{self.tag}>", "by": 1}, order["later"])]
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


class ModelEntity:
    """One entity: its queue in order, and the holder of its lock."""

    def __init__(self, id: str, execution: str) -> None:
        self.id, self.execution, self.n = id, execution, 0
        self.state: State = None
        self.queue: list[tuple[int, Any, bool]] = []  # n, event, whether the lock's holder sent it under the lock
        self.scheduled: dict[int, ev.EntityOperationReceived] = {}
        self.holder: ev.Origin | None = None
        self.operations: list[tuple[ModelOperation, ev.EntityOperationReceived]] = []

    def waiting_lock_requests(self) -> list[ev.Origin]:
        return [event.sender for _, event, _ in self.queue if isinstance(event, ev.EntityLockReceived)]

    def apply(self, n: int, at: Any, event: Any) -> None:
        assert n == self.n + 1, f"{self.id}: n {n} after {self.n}"
        self.n = n
        match event:
            case ev.EntityOperationReceived(scheduled_time=due) if due is not None:
                self.scheduled[n] = event
            case ev.EntityOperationReceived() | ev.EntityDeletionReceived() | ev.EntityLockReceived():
                self.enqueue(n, event)
            case ev.TimerFired():
                due = self.scheduled[event.timer].scheduled_time
                assert due is not None
                assert at >= due, "done too early"
                self.enqueue(event.timer, replace(self.scheduled.pop(event.timer), scheduled_time=None))
            case ev.EntityUnlockReceived():
                assert self.holder == event.sender or event.sender in self.waiting_lock_requests()
                if self.holder == event.sender:
                    self.holder = None
                    self.queue = [
                        (n, event, False)
                        for _, (n, event, _) in sorted(enumerate(self.queue), key=lambda one: (not one[1][2], one[0]))
                    ]
                else:
                    self.queue = [one for one in self.queue if getattr(one[1], "sender", None) != event.sender]
            case ev.EntityBatch():
                self.apply_batch(event)
            case ev.EntityStarted():
                assert n == 1
            case _:
                raise AssertionError(f"{self.id}: {event}")
        if self.holder is None and self.queue and isinstance(self.queue[0][1], ev.EntityLockReceived):
            self.holder = self.queue.pop(0)[1].sender

    def enqueue(self, n: int, event: Any) -> None:
        sender, holder = getattr(event, "sender", None), self.holder
        ours = sender is not None and holder is not None and _execution_of(sender) == _execution_of(holder)
        self.queue.append((n, event, ours and isinstance(event, ev.EntityOperationReceived)))

    def apply_batch(self, batch: ev.EntityBatch) -> None:
        runnable = [one for one in self.queue if one[2] or self.holder is None]
        done = runnable[: [n for n, _, _ in runnable].index(batch.upto) + 1]
        self.queue = [one for one in self.queue if one not in done]
        before, results, signals, starts = self.state, [], [], []
        for n, event, _ in done:
            if isinstance(event, ev.EntityDeletionReceived):
                self.state = None
                continue
            assert isinstance(event, ev.EntityOperationReceived), f"{event} is no operation"
            deed = ModelOperation(self.id, self.state, event)
            self.state = deed.state
            self.operations.append((deed, event))
            signals += deed.signals
            starts += deed.starts
            if deed.failed or event.expects_reply:
                results.append((n, None if deed.failed else deed.result, deed.failed))
        assert [(r.n, _decode(r.result), r.failure and r.failure.message) for r in batch.results] == results
        assert [(s.entity, s.name, _decode(s.input), s.scheduled_time is not None) for s in batch.signals] == signals
        assert [(s.instance, _decode(s.input)["who"]) for s in batch.starts] == starts
        assert batch.deleted == (before is not None and self.state is None)
        assert _decode(batch.state) == (self.state if self.state != before else None)

    def apply_snapshot(self, n: int, snapshot: ev.EntitySnapshot, carried: list[ev.Record]) -> None:
        """Check a compacted log: it must have the same state, and the same pending records."""
        assert (n, snapshot.upto) == (self.n + 1, self.n)
        assert _decode(snapshot.state) == self.state
        assert (snapshot.lock.sender if snapshot.lock is not None else None) == self.holder
        inside, outside = ([event for _, event, inner in self.queue if inner == under] for under in (True, False))
        assert [record.event for record in carried] == [*inside, *outside, *self.scheduled.values()]
        self.n, self.queue, self.scheduled = n, [], {}
        for record in carried:
            self.apply(record.n, record.at, record.event)

    @property
    def pending_count(self) -> int:
        return len(self.queue) + len(self.scheduled)


class LockRequest:
    """A request for locks, from its decision until its release or the end of its execution."""

    def __init__(self, entities: tuple[str, ...]) -> None:
        self.entities = entities
        self.granted = False


class EntityModel:
    """All that was committed so far. `marks` says what came up."""

    def __init__(self) -> None:
        self.entities: dict[str, ModelEntity] = {}
        self.live_executions: dict[str, str] = {}
        self.suspended: set[str] = set()
        self.lock_requests: dict[tuple[str, str, int], LockRequest] = {}
        self.coverage: set[str] = set()
        self.applied_tags: list[str] = []
        self.received_messages: list[tuple[str, str]] = []

    def apply_commit(self, commit: Commit) -> None:
        self.sent: dict[tuple[str, str, str], list[Sent]] = defaultdict(list)
        self.delivered: dict[tuple[str, str, str], list[Sent]] = defaultdict(list)
        self.returned_outcomes: dict[tuple[str, str, int], Any] = {}
        self.received_outcomes: dict[tuple[str, str, int], Any] = {}
        self.started: set[str] = set()
        lived = set(self.live_executions)
        for purged in commit.purged:
            if is_entity_id(purged.instance):
                figure = self.entities.pop(purged.instance)
                assert (figure.state, figure.holder, figure.pending_count) == (None, None, 0), "purged, and not empty"
                self.coverage.add("entity purged")
            else:
                self._end_execution(purged.instance, purged.execution, "Purged")
        for write in commit.writes:
            if not is_entity_id(write.instance):
                for record in _parse_records(write):
                    self._apply_orchestration_record(write.instance, write.execution, record)
        self.undelivered: set[str] = set()
        for write in commit.writes:
            if is_entity_id(write.instance):
                self._apply_entity_write(write)
        self._check_messages({(purged.instance, purged.execution) for purged in commit.purged})
        self._check_invariants(lived)

    # ── instances ────────────────────────────────────────────────────────────────────────────────────────────────

    def _apply_orchestration_record(self, id: str, execution: str, record: ev.Record) -> None:
        n, event = record.n, record.event
        match event:
            case ev.ExecutionStarted():
                assert id not in self.live_executions, f"{id} was started while it lived"
                self.live_executions[id] = execution
                self.started.add(id)
            case ev.EntityOperationCalled():
                self._record_send(id, execution, n, event.entity, event.name, event.input, True, False)
            case ev.EntityOperationSignaled():
                late = event.scheduled_time is not None
                self._record_send(id, execution, n, event.entity, event.name, event.input, False, late)
            case ev.EntityOperationCompleted():
                self.received_outcomes[id, execution, event.task] = _decode(event.result)
            case ev.EntityOperationFailed():
                self.received_outcomes[id, execution, event.task] = event.failure.message
            case ev.EntityLockRequested():
                assert list(event.entities) == sorted(set(event.entities))
                self.lock_requests[id, execution, n] = LockRequest(event.entities)
            case ev.EntityLockGranted():
                self.lock_requests[id, execution, event.task].granted = True
                self.coverage.add("granted")
            case ev.EntityUnlockSent():
                self.coverage.add(
                    "released" if self.lock_requests.pop((id, execution, event.lock)).granted else "cancelled"
                )
            case ev.ExecutionCompleted():
                kind = event.failure.type.rpartition(".")[2] if event.failure is not None else None
                assert kind in (None, "LeaveSection"), event.failure
                self._end_execution(id, execution, event.status)
            case ev.ContinueAsNew():
                self._end_execution(id, execution, "ContinuedAsNew")
            case ev.ExecutionSuspended():
                self.suspended.add(id)
                self._note_lock_requests(id, execution, "suspended")
            case ev.ExecutionResumed():
                self.suspended.discard(id)
            case ev.ExecutionTerminated(reason="purged" | "replaced by a new start"):
                self._note_lock_requests(id, execution, event.reason)

    def _record_send(
        self, id: str, execution: str, n: int, entity: str, name: str, input: Any, waits: bool, late: bool
    ) -> None:
        self.sent[id, execution, entity].append((entity, name, _decode(input), n, waits, late))

    def _end_execution(self, id: str, execution: str, reason: str) -> None:
        if self.live_executions.get(id) == execution:
            del self.live_executions[id]
        self.suspended.discard(id)
        self._note_lock_requests(id, execution, reason)
        self.lock_requests = {key: ask for key, ask in self.lock_requests.items() if key[:2] != (id, execution)}

    def _note_lock_requests(self, id: str, execution: str, reason: str) -> None:
        for key, ask in self.lock_requests.items():
            if key[:2] == (id, execution):
                self.coverage.add(f"{reason} while {'holding' if ask.granted else 'asking'}")

    # ── entities ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _apply_entity_write(self, write: HistoryWrite) -> None:
        records, id = _parse_records(write), write.instance
        if write.first == 1:
            assert id not in self.entities, f"{id} began while it was there"
            self.entities[id] = ModelEntity(id, write.execution)
        figure = self.entities[id]
        assert figure.execution == write.execution
        if write.rewrites_file:
            n, snapshot = records[0].n, records[0].event
            assert isinstance(snapshot, ev.EntitySnapshot)
            carried, records = records[1 : figure.pending_count + 1], records[figure.pending_count + 1 :]
            self.coverage.add("compacted, with something that waits" if carried else "compacted")
            if figure.holder is not None:
                self.coverage.add("compacted under lock")
            figure.apply_snapshot(n, snapshot, carried)
        for record in records:
            figure.apply(record.n, record.at, record.event)
            self._note_entity_record(figure, record)

    def _note_entity_record(self, figure: ModelEntity, record: ev.Record) -> None:
        n, event = record.n, record.event
        match event:
            case ev.EntityOperationReceived(sender=sender):
                if sender is None:
                    assert event.message is not None
                    self.received_messages.append((figure.id, event.message))
                else:
                    late = event.scheduled_time is not None
                    entry = (figure.id, event.name, _decode(event.input), sender.n, event.expects_reply, late)
                    self.delivered[sender.instance, sender.execution, figure.id].append(entry)
            case ev.EntityDeletionReceived():
                assert event.message is not None
                self.received_messages.append((figure.id, event.message))
                self.coverage.add("deleted")
            case ev.EntityLockReceived() if event.sender in figure.waiting_lock_requests():
                self.coverage.add("waited for a lock")
            case ev.TimerFired():
                self.coverage.add("scheduled")
            case ev.EntityBatch():
                self._note_batch(figure, n, event)

    def _note_batch(self, figure: ModelEntity, n: int, batch: ev.EntityBatch) -> None:
        for signal in batch.signals:
            late = signal.scheduled_time is not None
            self._record_send(figure.id, figure.execution, n, signal.entity, signal.name, signal.input, False, late)
        for start in batch.starts:
            self.coverage.add("not started" if start.undelivered else "started")
            assert start.instance in self.started or start.undelivered
            if start.undelivered:
                self.undelivered.add(start.instance)
        if len(figure.operations) > 1:
            self.coverage.add("several at once")
        for deed, event in figure.operations:
            self.applied_tags.append(deed.tag)
            if deed.failed:
                self.coverage.add("failed")
            if event.expects_reply:
                assert event.sender is not None
                key = (event.sender.instance, event.sender.execution, event.sender.n)
                self.returned_outcomes[key] = deed.failed or deed.result
            if event.sender is not None and event.sender.instance in self.suspended:
                self.coverage.add("done for a suspended one")
        figure.operations.clear()

    # ── messages between them ────────────────────────────────────────────────────────────────────────────────────

    def _check_messages(self, purged: set[tuple[str, str]]) -> None:
        """The commit that purges an execution may have its last messages, and never has its last records."""
        sent, delivered = (
            {key: messages for key, messages in each.items() if key[:2] not in purged}
            for each in (self.sent, self.delivered)
        )
        assert sent == delivered, "sent and received differ"

    def _check_invariants(self, live_before: set[str]) -> None:
        assert self.undelivered <= live_before | self.started, "a start was refused, and the id was free"
        for key, answer in self.received_outcomes.items():
            assert self.returned_outcomes[key] == answer, "an answer to something else"
        for key in self.returned_outcomes.keys() - self.received_outcomes.keys():
            assert self.live_executions.get(key[0]) != key[1], f"{key} was never told"
        holders = {_request_key(figure.holder) for figure in self.entities.values() if figure.holder is not None}
        asking = {
            _request_key(sender) for figure in self.entities.values() for sender in figure.waiting_lock_requests()
        }
        assert holders | asking <= self.lock_requests.keys(), "a lock for somebody who doesn't ask for it any more"
        for key, ask in self.lock_requests.items():
            at = [self.entities.get(entity) for entity in ask.entities]
            has = [
                figure is not None and figure.holder is not None and _request_key(figure.holder) == key for figure in at
            ]
            waits = [figure is not None and key in map(_request_key, figure.waiting_lock_requests()) for figure in at]
            mine = sum(has)
            assert has == [i < mine for i in range(len(at))]
            assert waits == [i == mine for i in range(len(at))]
            assert ask.granted <= (mine == len(at))  # a turn that is being spread is told when it is whole
            assert self.live_executions[key[0]] == key[1]


def _execution_of(origin: ev.Origin) -> tuple[str, str]:
    return origin.instance, origin.execution


def _request_key(origin: ev.Origin) -> tuple[str, str, int]:
    return origin.instance, origin.execution, origin.n


def _decode(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw) if raw else None


def _parse_records(write: HistoryWrite) -> list[ev.Record]:
    start = codec.crc_seed(write.instance, write.execution)
    return [codec.decode_record(line, start) for line in write.lines]
