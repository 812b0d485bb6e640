"""Turns of remote orchestrators: offered to workers, prepared with all that has arrived, and recorded as answered.

Every arrival of such an instance is held. A turn applies all that was held when it was handed out; there is one at a
time. Of a turn that a crash cut off, or that is taken again after a rewind, some decisions are recorded already: the
answer's decisions are matched with them by kind, name and id, and the rest is recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from durablecli.engine.blocking import Blocker
from durablecli.engine.child_starter import ChildStarter
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.remote_answers import TurnAnswered, TurnRefused, TurnRequest
from durablecli.engine.remote_queues import TurnOffer
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.engine.turn_recorder import TurnRecorder
from durablecli.model import events as ev
from durablecli.replay.remote_work import ParentName, RemoteTurn, TurnAnswer, TurnKey
from durablecli.replay.runtime_state import RuntimeState, Turn

_FAILED_OUTCOMES = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed)


class RemoteTurnRunner:
    """Runs the turns of instances whose orchestrators aren't loaded here, where workers are served."""

    def __init__(
        self,
        shared: SharedParts,
        applier: DecisionApplier,
        children: ChildStarter,
        split_turn: SplitTurn,
        blocker: Blocker,
        recorder: TurnRecorder,
        ready: ReadyQueue,
    ) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._registry = shared.registry
        self._messages = shared.messages
        self._pool = shared.options.remote_work
        self._stats = shared.cycle.stats
        self._applier = applier
        self._children = children
        self._split_turn = split_turn
        self._blocker = blocker
        self._recorder = recorder
        self._ready = ready

    def is_remote(self, instance: CachedInstance, event: ev.AnyEvent | None = None) -> bool:
        """Whether workers run the orchestrator of an instance, which `event` may be about to start."""
        if self._pool is None or self._registry is None:
            return False
        started = event if isinstance(event, ev.ExecutionStarted) else instance.runtime_state.started
        return self._registry.find_orchestrator(started.name) is None

    # ── out ────────────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, instance: CachedInstance) -> None:
        """Offer the next turn of an instance to workers, once what it applies is on disk."""
        state = instance.runtime_state
        if (reason := self._blocker.find_reason(instance.id)) is not None:
            self._blocker.block(instance, reason)
            return
        if instance.incomplete or state.incomplete:
            self._children.fail_unstartable(instance)
        if state.blocked is not None:
            self._blocker.unblock(instance)
        if self._has_turn(instance):
            started = state.started
            offer = TurnOffer(instance.id, state.execution, started.name, started.version)
            self._cycle.builder.remote_offers.append(offer)

    def prepare(self, request: TurnRequest) -> None:
        """Prepare the turn for which a worker has room: with all that is held now."""
        assert self._pool is not None
        instance = self._instances.get(request.offer.instance)
        if (
            instance is None
            or instance.runtime_state.execution != request.offer.execution
            or not self._has_turn(instance)
            or self._split_turn.is_splitting(instance.id)
        ):
            self._pool.turns.skip(request)
            return
        previous = None if _was_cut_off(instance) else self._pool.turns.find_session(request)
        if previous is not None:
            instance.runtime_state.turns = None  # they aren't needed while the session lasts
        elif instance.runtime_state.turns is None and not self._instances.reread(instance):
            self._pool.turns.skip(request)
            return
        state = instance.runtime_state
        past, arrivals = _divide_turns(instance)
        time = max(self._cycle.builder.at, state.updated)
        first, upto = (arrivals[0].n, arrivals[-1].n) if arrivals else (0, state.last_n)
        key = TurnKey(instance.id, state.execution, first, upto, time)
        parent = self._name_parent(state.started.parent)
        keeps_session = request.connection.keeps_sessions
        answered = {} if previous is None else dict(state.answered)
        turn = RemoteTurn(key, state.started, tuple(past), tuple(arrivals), parent, keeps_session, previous, answered)
        self._cycle.builder.remote_turns.append((request, turn))

    def _has_turn(self, instance: CachedInstance) -> bool:
        state = instance.runtime_state
        if state.ended or state.suspended is not None or state.blocked is not None:
            return False
        is_cut_off = (instance.incomplete or state.incomplete) and state.has_started
        return is_cut_off or state.next_held(self._cycle.builder.at) is not None

    def _name_parent(self, origin: ev.Origin | None) -> ParentName | None:
        parent = self._instances.get(origin.instance) if origin is not None else None
        if origin is None or parent is None:
            return None
        created = parent.runtime_state.open_decisions.get(origin.n)
        id = created.id if isinstance(created, ev.SubOrchestrationInstanceCreated) else None
        return ParentName(parent.runtime_state.started.name, origin.n if id is None else id)

    # ── back ───────────────────────────────────────────────────────────────────────────────────────────────────

    def refuse(self, refused: TurnRefused) -> None:
        """Block an instance whose turn can't be sent to any worker."""
        instance = self._find(refused.key)
        if instance is not None and _first_arrival(instance) == refused.key.first:
            self._blocker.block(instance, refused.reason)
        self._cycle.builder.settled_turns.append((refused.key, False))

    def record(self, answered: TurnAnswered) -> bool:
        """Record the decisions of a worker. False if that has to wait for another cycle."""
        answer = answered.answer
        instance = self._find(answer.key)
        if instance is None or not self._is_current(instance, answer.key):
            self._drop(answered, instance)
            return True
        if self._split_turn.must_wait(instance.id) or self._ready.must_wait(instance.id):
            return False
        if self._needs_past(instance, answer) and not self._instances.reread(instance):
            self._drop(answered, None)  # it is quarantined now
            return True
        if not self._record(instance, answer):
            return False
        self._stats["turns"] += 1
        is_split = self._split_turn.is_splitting(instance.id)
        (self._split_turn if is_split else self._cycle.builder).settle_remote_turn(answer.key, answered.done)
        if not instance.runtime_state.ended:
            self._ready.add_if_runnable(instance, self._cycle.builder.at)
        return True

    def _find(self, key: TurnKey) -> CachedInstance | None:
        instance = self._instances.get(key.instance)
        if instance is None or instance.runtime_state.execution != key.execution or instance.runtime_state.ended:
            return None
        return instance

    def _is_current(self, instance: CachedInstance, key: TurnKey) -> bool:
        """Whether a turn applies the arrivals that the instance has to apply next."""
        if _first_arrival(instance) != key.first:
            return False
        if not key.first or instance.incomplete or instance.runtime_state.incomplete:
            return True
        return any(held.n == key.upto for held in instance.runtime_state.held)

    def _drop(self, answered: TurnAnswered, instance: CachedInstance | None) -> None:
        """Drop an answer without effect: another one came first, or the execution has ended or is quarantined."""
        self._stats["stale"] += 1
        builder = self._cycle.builder
        builder.settled_turns.append((answered.answer.key, False))
        builder.remote_acks.append((answered.done, "the turn was answered before, or its execution can't go on"))
        if instance is not None:
            self._ready.add(instance.id)

    def _needs_past(self, instance: CachedInstance, answer: TurnAnswer) -> bool:
        """Whether the turns before have to be read again, to complete one or to name the causes of a failure."""
        needs_turns = _was_cut_off(instance) or any(map(_is_failure, answer.decisions))
        return needs_turns and instance.runtime_state.turns is None

    def _record(self, instance: CachedInstance, answer: TurnAnswer) -> bool:
        state, builder = instance.runtime_state, self._cycle.builder
        was_cut_off = _was_cut_off(instance)
        decisions = list(self._complete_decisions(state, answer))
        n, at = state.last_n + 1, max(builder.at, state.updated)
        if was_cut_off:
            recorded = state.turns[-1].decisions if state.turns else []
            events: list[ev.AnyEvent] = _remove_recorded(decisions, recorded)
        else:
            events = [ev.OrchestratorStarted(answer.key.upto, answer.key.time)]
            events += _remove_recorded(decisions, state.kept_decisions)
        instance.carried = answer.carried or ()
        records = _resolve_locks(state, [ev.Record(n + i, at, event) for i, event in enumerate(events)])
        if records and not self._recorder.record_turn(instance, records):
            return False
        if was_cut_off:
            instance.incomplete = instance.runtime_state.incomplete = False
            self._applier.complete_turn(instance)
        return True

    def _complete_decisions(self, state: RuntimeState, answer: TurnAnswer) -> Iterator[ev.Decision]:
        """The decisions, completed by the engine: locks by number, and the causes of a failure."""
        if answer.custom_status is not None and answer.custom_status != state.custom_status:
            yield ev.CustomStatusSet(answer.custom_status)
        for event in answer.decisions:
            if _is_failure(event):
                assert isinstance(event, ev.ExecutionCompleted)
                yield replace(event, causes=_list_failed_outcomes(state, answer.key.upto))
            else:
                yield event


def _resolve_locks(state: RuntimeState, records: list[ev.Record]) -> list[ev.Record]:
    """Give each unlock of a worker the number of the request that it ends, which it names by `request`."""
    known = {asked.request: n for n, asked in state.locks.items() if asked.request}
    for n, asked in state.open_decisions.items():
        if isinstance(asked, ev.EntityLockRequested) and asked.request:
            known[asked.request] = n
    resolved: list[ev.Record] = []
    for record in records:
        event = record.event
        if isinstance(event, ev.EntityLockRequested) and event.request:
            known[event.request] = record.n
        elif isinstance(event, ev.EntityUnlockSent) and event.request and not event.lock:
            event = replace(event, lock=known.get(event.request, 0))
        resolved.append(ev.Record(record.n, record.at, event))
    return resolved


def _divide_turns(instance: CachedInstance) -> tuple[list[Turn], list[ev.Record]]:
    """Return the turns that are over, and the arrivals of the next one: that which was cut off, or all that is held.

    A turn that a rewind repeats has what it had before: what came later may answer decisions of this turn.
    """
    state = instance.runtime_state
    turns = state.turns or []
    if state.held and not _was_cut_off(instance):
        first_kept = min((record.n for record in state.kept_decisions), default=None)
        return turns, [held for held in state.held if first_kept is None or held.n < first_kept]
    mark = turns[-1].mark if turns else 0
    first = next((i for i, turn in enumerate(turns) if turn.mark == mark), len(turns))
    return turns[:first], [turn.arrival for turn in turns[first:]]


def _was_cut_off(instance: CachedInstance) -> bool:
    return (instance.incomplete or instance.runtime_state.incomplete) and instance.runtime_state.has_started


def _first_arrival(instance: CachedInstance) -> int:
    """The first arrival of the turn to run next; 0 if it applies none."""
    _, arrivals = _divide_turns(instance)
    return arrivals[0].n if arrivals else 0


def _is_failure(event: ev.AnyEvent) -> bool:
    return isinstance(event, ev.ExecutionCompleted) and event.status == "Failed"


def _list_failed_outcomes(state: RuntimeState, upto: int) -> tuple[int, ...]:
    """All failed outcomes that an execution has had: a rewind forgets them, as the SDKs do."""
    applied = (turn.arrival for turn in state.turns or ())
    arrivals = [*applied, *(held for held in state.held if held.n <= upto)]
    return tuple(sorted(record.n for record in arrivals if isinstance(record.event, _FAILED_OUTCOMES)))


def _remove_recorded(decisions: Iterable[ev.Decision], recorded: Iterable[ev.Record]) -> list[ev.AnyEvent]:
    """The decisions that aren't recorded yet. Of equal ones each is matched once."""
    known = Counter(_identify(record.event) for record in recorded)
    rest: list[ev.AnyEvent] = []
    for event in decisions:
        if known[identity := _identify(event)]:
            known[identity] -= 1
        else:
            rest.append(event)
    return rest


def _identify(event: ev.AnyEvent) -> tuple[object, ...]:
    target = getattr(event, "entity", None) or getattr(event, "instance", None)
    return type(event), getattr(event, "name", None), getattr(event, "id", None), target
