"""Hooks under a virtual clock: who is called, how often a delivery is tried, and how long deliveries are kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

import durablecli as df
from durablecli.builtin.hook_cleanup import purge_old_deliveries
from durablecli.builtin.hook_functions import make_hook_functions
from durablecli.config import HookConfig, HooksConfig
from durablecli.engine.engine_options import EngineOptions
from durablecli.limits import MAX_ID_LENGTH
from durablecli.model.hook_delivery import (
    HOOK_COMMAND_ACTIVITY,
    HOOK_DETAILS_ACTIVITY,
    HOOK_ORCHESTRATOR,
    HookAttempt,
    HookEvent,
    make_delivery_id,
)
from durablecli.model.ids import check_instance_id
from durablecli.replay.function_marks import FunctionMark, set_mark
from durablecli.store.query import Query
from durablecli.testing import START, TestEnvironment, build_registry

Context = df.DurableOrchestrationContext


@df.orchestrator
def fails(context: Context) -> None:
    raise ValueError("no")


@df.orchestrator
def fails_below(context: Context) -> Generator[Any, Any, None]:
    yield context.call_sub_orchestrator(fails)


@df.orchestrator
def blocked_below(context: Context) -> Generator[Any, Any, None]:
    yield context.call_sub_orchestrator("unknown")


@df.orchestrator
def completes(context: Context) -> int:
    return 1


@df.orchestrator
def waits(context: Context) -> Generator[Any, Any, None]:
    yield context.wait_for_external_event("go")


class Hooked:
    """A hub whose hooks are called in memory."""

    def __init__(self, **hooks: tuple[HookConfig, ...]) -> None:
        self.attempts: list[HookAttempt] = []
        self.failures_left = 0
        options = EngineOptions(use_threads=False, turn_budget=timedelta.max, hooks=HooksConfig(**hooks))
        functions = (fails, fails_below, blocked_below, completes, waits)
        self.hub = TestEnvironment(build_registry(*functions), START, options)
        self.add_built_in()

    def add_built_in(self) -> None:
        def details(event: HookEvent) -> HookEvent:
            return event

        def run(attempt: HookAttempt) -> None:
            self.attempts.append(attempt)
            if self.failures_left:
                self.failures_left -= 1
                raise OSError("dead")

        orchestrator = make_hook_functions(lambda: self.hub.client, lambda instance: None, "/")[0]
        activities: dict[str, Callable[..., Any]] = {HOOK_DETAILS_ACTIVITY: details, HOOK_COMMAND_ACTIVITY: run}
        marked = [set_mark(call, FunctionMark("activity", name)) for name, call in activities.items()]
        self.hub.registry.add_built_in([orchestrator, *marked])

    def start(self, name: str, **options: Any) -> str:
        id = self.hub.client.start_new(name, **options)
        self.hub.run()
        return id

    @property
    def calls(self) -> list[tuple[str, str, str | None]]:
        return sorted((attempt.target.run or "", attempt.event.event, attempt.event.name) for attempt in self.attempts)

    def deliveries(self) -> list[str]:
        return [row.status for row in self.hub.client.page(Query(name=HOOK_ORCHESTRATOR)).rows]


def test_the_end_of_a_child_calls_only_hooks_that_ask_for_it() -> None:
    hooked = Hooked(failed=(HookConfig(run="roots"), HookConfig(run="all", children=True)))
    with hooked.hub:
        hooked.start("fails_below")
        assert hooked.calls == [
            ("all", "failed", "fails"),
            ("all", "failed", "fails_below"),
            ("roots", "failed", "fails_below"),
        ]


def test_a_blocked_child_calls_hooks() -> None:
    hooked = Hooked(blocked=(HookConfig(run="any"), HookConfig(run="other", name="blocked_below")))
    with hooked.hub:
        hooked.start("blocked_below")
        assert hooked.calls == [("any", "blocked", "unknown")]


def test_each_event_has_its_hooks_and_deliveries_have_none() -> None:
    every = (HookConfig(run="any"),)
    hooked = Hooked(failed=every, completed=every, terminated=every)
    with hooked.hub:
        hooked.start("fails")
        hooked.start("completes")
        id = hooked.start("waits")
        hooked.hub.client.terminate(id, "enough")
        hooked.hub.run()
        assert hooked.calls == [
            ("any", "completed", "completes"),
            ("any", "failed", "fails"),
            ("any", "terminated", "waits"),
        ]


def test_a_delivery_is_tried_ten_times_over_hours() -> None:
    hooked = Hooked(failed=(HookConfig(run="dead"),))
    with hooked.hub:
        hooked.failures_left = 100
        hooked.start("fails")
        (id,) = hooked.hub.client.iter_ids(Query(name=HOOK_ORCHESTRATOR))
        status = hooked.hub.finish(id)
        assert len({attempt.event.id for attempt in hooked.attempts}) == 1
        assert [attempt.number for attempt in hooked.attempts] == [*range(1, 11)]
        assert timedelta(hours=3) < hooked.hub.clock.now() - START < timedelta(hours=4)
        assert "was not delivered in 10 attempts: OSError: dead" in str(status.output)


def test_an_attempt_that_succeeds_is_the_last() -> None:
    hooked = Hooked(failed=(HookConfig(run="late"),))
    with hooked.hub:
        hooked.failures_left = 2
        hooked.start("fails")
        hooked.hub.advance(timedelta(hours=1))
        assert [attempt.number for attempt in hooked.attempts] == [1, 2, 3]
        assert hooked.deliveries() == ["Completed"]


def test_old_deliveries_are_purged_and_failed_ones_kept() -> None:
    hooked = Hooked(failed=(HookConfig(run="dead", attempts=1), HookConfig(run="one")))
    with hooked.hub:
        hooked.start("fails")
        hooked.failures_left = 1
        hooked.start("fails")
        assert sorted(hooked.deliveries()) == ["Completed"] * 3 + ["Failed"]
        hooked.hub.engine.flush()
        mailbox = hooked.hub.client.mailbox
        assert mailbox is not None
        hub = hooked.hub.engine.hub
        assert purge_old_deliveries(hub, mailbox, START) == 0
        assert purge_old_deliveries(hub, mailbox, START + timedelta(days=2)) == 3
        hooked.hub.run()
        assert hooked.deliveries() == ["Failed"]


def test_ids_of_deliveries_are_valid_and_differ() -> None:
    longest = "x" * MAX_ID_LENGTH
    ids = [
        make_delivery_id(instance, "1f", n, event, index)
        for instance in (longest, longest[:-1] + "y", "short")
        for n in (3, 4)
        for event in ("failed", "blocked")
        for index in (0, 1)
    ]
    assert len({*ids}) == len(ids)
    assert [check_instance_id(id) for id in ids] == ids
