"""Properties of event waits over random programs: which are active, and changed code never waits for a lost outcome."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import durablecli as df
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.payloads import encode
from durablecli.replay.composite_tasks import CompositeTask, WhenAll, WhenAny
from durablecli.replay.errors import NonDeterminismError
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.replay import replay
from durablecli.replay.runtime_state import answered_decision, fold_history
from durablecli.replay.tasks import EventTask, Task
from tests.support.executor_harness import ExecutorHarness, no_traits

Context = df.DurableOrchestrationContext
Step = tuple[str, Any]
NAMES = ("red", "blue")

property_settings = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


class Program:
    """An orchestrator that makes tasks, composes them by their positions, and yields some; it shows what it awaits."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.tasks: list[Task[Any]] = []
        self.awaited: list[Task[Any]] = []
        self.taken: list[bool] = []

    def _witness(self) -> Any:
        """What an event is read by: notes whether its wait was to take one at that moment."""
        position = len(self.tasks)

        class Witness:
            @staticmethod
            def from_json(value: Any) -> Any:
                is_new = position == len(self.tasks)
                self.taken.append(is_new or self.tasks[position].id in expected_takers(self))
                return value

        return Witness

    def __call__(self, context: Context) -> Iterator[Any]:
        self.tasks, self.awaited, self.taken = [], [], []
        for verb, given_ in self.steps:
            match verb:
                case "wait":
                    self.tasks.append(context.wait_for_external_event(given_, self._witness()))
                case "call":
                    self.tasks.append(context.call_activity("F"))
                case "yield":
                    if self.tasks:
                        self.awaited.append(self.tasks[given_ % len(self.tasks)])
                        yield self.awaited[-1]
                case "look":
                    if self.tasks:
                        task = self.tasks[given_ % len(self.tasks)]
                        assert (task.result is not None) <= task.is_completed
                case "rest":
                    yield from self._as_completed(context, given_)
                case _:
                    chosen = self._chosen(given_)
                    self.tasks.append(context.task_all(chosen) if verb == "all" else context.task_any(chosen))

    def _as_completed(self, context: Context, positions: list[int]) -> Iterator[Any]:
        """A race that goes on with what is left of it, twice."""
        chosen = list(dict.fromkeys(self._chosen(positions)))
        for _ in range(2):
            if chosen:
                self.awaited.append(context.task_any(chosen))
                winner: Any = yield self.awaited[-1]
                chosen.remove(winner)

    def _chosen(self, positions: list[int]) -> list[Task[Any]]:
        return [self.tasks[each % len(self.tasks)] for each in positions] if self.tasks else []


# ── the rule, written down once more and without any cleverness ──────────────────────────────────────────────────────


def event_waits_below(task: Task[Any]) -> set[EventTask[Any]]:
    if isinstance(task, EventTask):
        return {task}
    return set().union(*map(event_waits_below, task.children)) if isinstance(task, CompositeTask) else set()


def needed_waits(task: Task[Any]) -> set[EventTask[Any]]:
    if is_complete(task):
        return set()
    if isinstance(task, EventTask):
        return {task}
    return set().union(*map(needed_waits, task.children)) if isinstance(task, CompositeTask) else set()


def is_complete(task: Task[Any]) -> bool:
    if isinstance(task, WhenAll):
        return all(map(is_complete, task.children))
    if isinstance(task, WhenAny):
        return not task.children or any(map(is_complete, task.children))
    return task.is_completed


def expected_takers(program: Program) -> set[int]:
    pending = [task for task in program.tasks if isinstance(task, EventTask) and not task.is_completed]
    seen: set[EventTask[Any]] = set().union(*map(event_waits_below, program.awaited))
    now = needed_waits(program.awaited[-1]) if program.awaited else set()
    return {task.id for task in pending if task in now or task not in seen}


def check_takers(program: Program, harness: ExecutorHarness) -> None:
    assert all(program.taken), "a wait took an event that it wasn't to take"
    if harness.executor.ended:
        return
    assert set(harness.executor.event_waits.active_waits()) == expected_takers(program)
    for name in harness.executor.event_waits.unread_counts():
        assert name not in {each.casefold() for each in harness.executor.event_waits.active_waits().values()}


_position = st.integers(0, 11)
_recent = st.integers(-4, -1)
_positions = st.lists(st.one_of(_position, _recent), min_size=2, max_size=3)
_make = st.one_of(st.tuples(st.just("wait"), st.sampled_from(NAMES)), st.tuples(st.just("call"), st.none()))
_step = st.one_of(
    _make,
    st.tuples(st.sampled_from(["any", "all"]), _positions),
    st.tuples(st.just("any"), _positions),
    st.tuples(st.just("rest"), _positions),
    st.tuples(st.just("yield"), _recent),
    st.tuples(st.just("yield"), _recent),
    st.tuples(st.sampled_from(["yield", "look"]), _position),
)
_steps = st.tuples(st.lists(_make, min_size=4, max_size=6), st.lists(_step, min_size=6, max_size=14)).map(
    lambda parts: [*parts[0], *parts[1]]
)
_arrival = st.one_of(st.tuples(st.just("event"), st.sampled_from(NAMES)), st.tuples(st.just("done"), _position))
_arrivals = st.lists(_arrival, min_size=4, max_size=12)


def apply_arrival(harness: ExecutorHarness, arrival: Step) -> None:
    verb, given_ = arrival
    if verb == "event":
        harness.raise_event(given_, "e")
    elif harness.runtime_state.open_decisions:
        open_ = sorted(harness.runtime_state.open_decisions)
        harness.complete_task(open_[given_ % len(open_)], "d")


def test_a_wait_takes_events_exactly_while_it_is_needed_or_was_never_awaited() -> None:
    seen: Counter[str] = Counter()

    @property_settings
    @given(_steps, _arrivals)
    def holds(steps: list[Step], arrivals: list[Step]) -> None:
        program = Program(steps)
        harness = ExecutorHarness(program, check=False)
        check_takers(program, harness)
        for arrival in arrivals:
            if harness.executor.ended:
                break
            before = expected_takers(program)
            apply_arrival(harness, arrival)
            check_takers(program, harness)
            seen["slept"] += bool(before - expected_takers(program))
            seen["taken"] += len(program.taken)
        runtime_state = fold_history(harness.records)
        executor, decisions = replay(Program(steps), runtime_state, no_traits)
        assert decisions == []
        assert executor.event_waits.active_waits() == harness.executor.event_waits.active_waits()
        seen["ended" if executor.ended else "waits"] += 1

    holds()
    assert min(seen.values()) > 20, seen


# ── changed code ─────────────────────────────────────────────────────────────────────────────────────────────────────

Part = tuple[list[tuple[int, str]], str, int]
RETRY = df.RetryPolicy(timedelta(seconds=1), 3)


class PartsProgram:
    """An orchestrator in parts: each makes some tasks, and then yields one, any or all of those there are."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts

    def __call__(self, context: Context) -> Iterator[Any]:
        tasks: dict[int, Task[Any]] = {}
        for makes, how, which in self.parts:
            for key, kind in makes:
                tasks[key] = self._make(context, kind)
            if tasks:
                chosen = [tasks[key] for key in sorted(tasks)][which % len(tasks) :]
                one = chosen[0] if how == "one" else (context.task_any if how == "any" else context.task_all)(chosen)
                with contextlib.suppress(ValueError):
                    yield one

    def _make(self, context: Context, kind: str) -> Task[Any]:
        match kind:
            case "timer":
                return context.create_timer(timedelta(hours=1))
            case "event":
                return context.wait_for_external_event("red")
            case "retry":
                return context.call_activity_with_retry("F", RETRY)
            case _:
                return context.call_activity("F")


def move_task(parts: list[Part], at: int, by: int) -> list[Part]:
    """The last task of one part is made as the first of a later part; not at all, if there is no such part."""
    made = [i for i, (makes, _, _) in enumerate(parts) if makes]
    if not made:
        return parts
    at = made[at % len(made)]
    moved = parts[at][0][-1]
    new = [(list(makes), how, which) for makes, how, which in parts]
    new[at][0].pop()
    if at + by < len(new):
        new[at + by][0].insert(0, moved)
    return new


def make_outcome(open_decisions: dict[int, Any], which: int, *, fails: bool) -> Any:
    """What answers one of the open decisions."""
    n = sorted(open_decisions)[which % len(open_decisions)]
    if isinstance(open_decisions[n], ev.TimerCreated):
        return ev.TimerFired(n)
    if fails:
        return ev.TaskFailed(n, Failure("builtins.ValueError", "no"))
    return ev.TaskCompleted(n)


def runs_to_end(executor: OrchestrationExecutor, open_: dict[int, Any], n: int, now: datetime) -> bool:
    """Whether it ends once everything that is open is answered, and every event comes."""
    asked = dict(open_)
    for _ in range(60):
        if executor.ended:
            return True
        event = make_outcome(asked, 0, fails=False) if asked else ev.EventRaised("red", encode("e"))
        asked.pop(answered_decision(event), None)
        decided = executor.apply(ev.Record(n, now, event), now, n + 1)
        asked.update((r.n, r.event) for r in decided if isinstance(r.event, ev.TaskScheduled | ev.TimerCreated))
        n += 1 + len(decided)
    return executor.ended


_kind = st.sampled_from(["call", "call", "timer", "event", "retry"])


def _keyed(parts: list[tuple[list[str], str, int]]) -> list[Part]:
    """Give each task a key, which stays what it is when the code is changed."""
    return [
        ([(10 * i + j, kind) for j, kind in enumerate(kinds)], how, which)
        for i, (kinds, how, which) in enumerate(parts)
    ]


_part = st.tuples(st.lists(_kind, max_size=2), st.sampled_from(["one", "any", "all"]), _position)
_parts = st.lists(_part, min_size=2, max_size=5).map(_keyed)
_answers = st.lists(st.one_of(st.tuples(_position, st.booleans()), st.none()), min_size=2, max_size=8)


def test_changed_code_is_refused_or_runs_to_its_end() -> None:
    seen: Counter[str] = Counter()

    @property_settings
    @given(_parts, _answers, st.integers(0, 4), st.integers(1, 2))
    def holds(parts: list[Part], given_: list[tuple[int, bool] | None], at: int, by: int) -> None:
        harness = ExecutorHarness(PartsProgram(parts), check=False)
        for each in given_:
            if harness.executor.ended:
                return
            if each is None:
                harness.raise_event("red", "e")
            elif harness.runtime_state.open_decisions:
                harness.apply(make_outcome(harness.runtime_state.open_decisions, each[0], fails=each[1]))
        if harness.executor.ended:
            return
        runtime_state = fold_history(harness.records)
        try:
            executor, _ = replay(PartsProgram(move_task(parts, at, by)), runtime_state, no_traits)
        except NonDeterminismError:
            seen["refused"] += 1
            return
        assert runs_to_end(executor, runtime_state.open_decisions, len(harness.records) + 1, harness.now)
        seen["goes on"] += 1

    holds()
    assert min(seen["refused"], seen["goes on"]) > 20, seen
