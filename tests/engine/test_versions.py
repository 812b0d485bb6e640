"""Versions: code may accept only orchestrations of its own version; others are blocked or fail."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.engine.engine_options import EngineOptions
from durablecli.model.versions import VersionPolicy
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark
from durablecli.testing import START, TestEnvironment, build_registry


@df.orchestrator
def versioned(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str | None]:
    yield context.create_timer(timedelta(seconds=1))
    return context.version


def make_hub(match: str, fail: bool, functions: Sequence[Any] = (versioned,)) -> TestEnvironment:
    versions = VersionPolicy("1.1", match, fail)
    return TestEnvironment(
        build_registry(*functions),
        START,
        EngineOptions(use_threads=False, turn_budget=timedelta.max, versions=versions),
    )


def test_an_orchestration_of_another_version_waits_for_its_code() -> None:
    with make_hub("current_or_older", fail=False) as tested:
        newer = tested.client.start_new(versioned, version="2.0")
        older = tested.client.start_new(versioned, version="1.0")
        own = tested.client.start_new(versioned)
        assert [tested.finish(one).output for one in (older, own)] == ["1.0", "1.1"]
        status = tested.client.get_status(newer)
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Pending
        assert status.blocked is not None
        assert status.blocked.reason.startswith("its version is '2.0'; the code has version '1.1'")


def test_an_orchestration_of_another_version_fails_where_that_is_asked_for() -> None:
    with make_hub("strict", fail=True) as tested:
        status = tested.finish(tested.client.start_new(versioned, version="1.0"))
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
        assert status.output == "its version is '1.0'; the code has version '1.1' and runs only that version"


@df.orchestrator
def rounds(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[str | None]]:
    """Each execution adds its version; the input has the versions that the next ones are to have."""
    seen, following = context.get_input()
    yield context.create_timer(timedelta(seconds=1))
    seen = [*seen, context.version]
    if not following:
        return seen
    if following[0] == "inherited":
        context.continue_as_new([seen, following[1:]])
    else:
        context.continue_as_new([seen, following[1:]], version=following[0])
    return []


@pytest.mark.parametrize("replay_always", [False, True])
def test_the_next_execution_has_the_version_that_it_is_given_or_that_of_the_last(replay_always: bool) -> None:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, replay_always=replay_always)
    with TestEnvironment(build_registry(rounds), START, options) as tested:
        started = tested.client.start_new(rounds, client_input=[[], ["inherited", "2", "inherited"]], version="1")
        assert tested.finish(started).output == ["1", "1", "2", "2"]
        unversioned = tested.client.start_new(rounds, client_input=[[], ["inherited", "2"]])
        assert tested.finish(unversioned).output == [None, None, "2"]


def test_an_instance_that_continues_in_a_version_beyond_the_code_waits_with_its_events() -> None:
    with make_hub("current_or_older", fail=False, functions=[rounds]) as tested:
        instance = tested.client.start_new(rounds, client_input=[[], ["1.2"]])
        tested.advance(timedelta(seconds=5))
        status = tested.client.get_status(instance)
        assert status.version == "1.2"
        assert status.blocked is not None
        assert "its version is '1.2'; the code has version '1.1'" in status.blocked.reason


def make_meter(*, checks: bool, branches: bool = True) -> Any:
    """One release of an orchestration that runs forever; the second one checks the meter first."""

    @df.orchestrator(name="meter")
    def meter(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
        total: int = context.get_input() or 0
        if checks and (context.version == "2" or not branches):
            yield context.call_activity("check", total)
        total += yield context.wait_for_external_event("reading")
        context.set_custom_status([context.version, total])
        context.continue_as_new(total, version="2" if checks else None)

    return meter


@df.activity(name="check")
def check_meter(total: int) -> None: ...


def test_an_eternal_orchestration_moves_to_new_code_at_its_next_execution() -> None:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max)
    with TestEnvironment(build_registry(make_meter(checks=False)), START, options) as tested:
        instance = tested.client.start_new("meter")
        tested.run()
        tested.restart(make_meter(checks=True, branches=False), check_meter)
        tested.client.raise_event(instance, "reading", 5)
        tested.run()
        status = tested.client.get_status(instance)
        assert status.blocked is not None  # its execution has recorded a wait, and no check
        tested.restart(make_meter(checks=True), check_meter)
        tested.client.raise_event(instance, "reading", 2)
        tested.run()
        status = tested.client.get_status(instance)
        assert (status.blocked, status.custom_status, status.version) == (None, ["2", 7], "2")


def test_a_version_is_a_string() -> None:
    @df.orchestrator
    def wrong(context: df.DurableOrchestrationContext) -> None:
        context.continue_as_new(1, version=2)  # type: ignore[arg-type]

    with make_hub("none", fail=False, functions=[wrong]) as tested:
        assert "a version is a string, not int" in str(tested.finish(tested.client.start_new(wrong)).output)


def test_what_is_built_in_belongs_to_every_version() -> None:
    def work(context: df.DurableOrchestrationContext) -> int:
        return 1

    setattr(work, MARK_ATTRIBUTE, FunctionMark("orchestrator", "Own"))
    with make_hub("strict", fail=True) as tested:
        tested.registry.add_built_in([work])
        assert tested.finish(tested.client.start_new("Own", version="0.1")).output == 1
