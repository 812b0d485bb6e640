"""Work for code that runs elsewhere, as values: offers to workers, and their answers.

Each kind of work has a key that names what an answer answers. It stays valid when the engine restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext
from durablecli.replay.runtime_state import Turn


class TurnKey(NamedTuple):
    """A turn of a remote orchestrator: the execution, and the held arrivals that the turn applies.

    They are those from record `first` to `upto`. `first` is 0 if nothing is held, as after a rewind. `time` is the
    current time of the turn.
    """

    instance: str
    execution: str
    first: int
    upto: int
    time: datetime


class ActivityKey(NamedTuple):
    """A remote activity: the execution, and the `n` of the decision that called it."""

    instance: str
    execution: str
    n: int


class EntityBatchKey(NamedTuple):
    """Operations of a remote entity: the execution of its log, and the `n` of the last one."""

    entity: str
    execution: str
    upto: int


RemoteWorkKey = TurnKey | ActivityKey | EntityBatchKey


class ParentName(NamedTuple):
    """The name of a child's parent, and the id of the call: a worker receives them beside the origin."""

    name: str
    id: int


class RemoteTurn(NamedTuple):
    """One turn of a remote orchestrator: what was applied and decided before, and the arrivals that it applies.

    A worker that `keeps_session` is sent no `past` if it answered the turn before, `previous`: it still has the rest.
    Without the past `answered` has the decisions that the arrivals answer, by number.
    """

    key: TurnKey
    started: ev.ExecutionStarted
    past: tuple[Turn, ...]
    arrivals: tuple[ev.Record, ...]
    parent: ParentName | None = None
    keeps_session: bool = False
    previous: TurnKey | None = None
    answered: Mapping[int, ev.Decision] = {}


class RemoteActivity(NamedTuple):
    """One call of a remote activity. `version` is that of the call, or else of the orchestration. `trace` is the parent
    of its span, if the execution is traced."""

    key: ActivityKey
    task: ev.TaskScheduled
    version: str | None = None
    trace: TraceContext | None = None


class RemoteOperation(NamedTuple):
    """One operation of a remote entity. `trace` is the parent of its span, if there is one."""

    n: int
    name: str
    input: Raw
    expects_reply: bool
    trace: TraceContext | None = None


class RemoteEntityBatch(NamedTuple):
    """Operations of one remote entity, to run one after another, beginning with this state."""

    key: EntityBatchKey
    state: Raw
    operations: tuple[RemoteOperation, ...]


RemoteWork = RemoteTurn | RemoteActivity | RemoteEntityBatch


class TurnAnswer(NamedTuple):
    """The decisions of a worker in a turn: events in the order of its actions.

    `custom_status` is None where the worker gives none. An `EntityUnlockSent` names its lock by `request` only, and the
    engine finds the number. `carried` are the events that `continue_as_new` carries over; None leaves that to
    the engine, as does an answer that doesn't continue as new.
    """

    key: TurnKey
    decisions: tuple[ev.Decision, ...]
    custom_status: Raw | None = None
    carried: tuple[ev.EventRaised, ...] | None = None
    requires_history: bool = False
    """The worker has decided nothing, as it needs the past of the turn, which it wasn't sent."""


class ActivityAnswer(NamedTuple):
    """The result of a remote activity, or its failure."""

    key: ActivityKey
    result: Raw = ev.NULL
    failure: Failure | None = None


class OperationAnswer(NamedTuple):
    """The result of one operation of a remote entity, or its failure."""

    result: Raw = ev.NULL
    failure: Failure | None = None


class EntityBatchAnswer(NamedTuple):
    """The results of a batch, in the order of its operations, the new state, and what the operations have sent.

    There may be fewer results than operations: the rest runs in the next batch. `failure` is that of the whole batch.
    Without a `state` the entity has none any more.
    """

    key: EntityBatchKey
    results: tuple[OperationAnswer, ...]
    state: Raw = ev.ABSENT
    signals: tuple[ev.EntityOperationSignal, ...] = ()
    starts: tuple[ev.EntityOperationStart, ...] = ()
    failure: Failure | None = None


Answer = TurnAnswer | ActivityAnswer | EntityBatchAnswer
