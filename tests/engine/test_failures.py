"""Failures that pass through many levels of sub-orchestrations, and the limit of nesting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.config import LimitsConfig
from durablecli.engine.engine_options import EngineOptions
from durablecli.model import events as ev
from durablecli.model.failures import MAX_CHAIN_LENGTH, Failure, iter_chain
from durablecli.testing import TestEnvironment


@df.activity
def fail(length: int) -> None:
    raise ValueError("the root cause" + "x" * length)


def call_next_level(context: df.DurableOrchestrationContext) -> Any:
    """Calls itself `levels` times, and fails in the last."""
    given = context.get_input()
    if given["levels"] == 0:
        return context.call_activity(fail, given["length"])
    return context.call_sub_orchestrator(given["name"], {**given, "levels": given["levels"] - 1})


@df.orchestrator
def passes_on(context: df.DurableOrchestrationContext) -> Any:
    yield call_next_level(context)


@df.orchestrator
def wraps(context: df.DurableOrchestrationContext) -> Any:
    try:
        yield call_next_level(context)
    except Exception as error:
        raise RuntimeError(f"wrapped: {error}") from error


@df.orchestrator
def wraps_without_a_cause(context: df.DurableOrchestrationContext) -> Any:
    try:
        yield call_next_level(context)
    except Exception as error:  # noqa: BLE001 - all that comes
        raise RuntimeError(f"wrapped: {error}") from None


def run_deep_failure(hub: TestEnvironment, name: str, levels: int, length: int = 0) -> tuple[int, Any]:
    """The bytes on disk after a failure through this many levels, and the status of the top level."""
    before = sum(len(node.data) for node in hub.disk.files.values())
    status = hub.finish(hub.client.start_new(name, client_input={"name": name, "levels": levels, "length": length}))
    return sum(len(node.data) for node in hub.disk.files.values()) - before, status


def get_failure(hub: TestEnvironment, instance: str) -> Failure:
    known = hub.engine.instances.get(instance)
    assert known is not None
    assert known.runtime_state.failure is not None
    return known.runtime_state.failure


@pytest.mark.parametrize("length", [0, 20_000])
@pytest.mark.parametrize("name", ["passes_on", "wraps"])
def test_a_failure_through_many_levels_grows_with_their_number_alone(name: str, length: int) -> None:
    with testing.hub(fail, passes_on, wraps) as hub:
        some, _ = run_deep_failure(hub, name, 30, length)
        more, status = run_deep_failure(hub, name, 120, length)
        assert more < 6 * some
        assert more / 120 < 200_000
        assert len(status.output) < 8_000
        assert "ValueError: the root cause" in status.output
        failure = get_failure(hub, status.instance_id)
        links = list(iter_chain(failure))
        assert len(links) <= MAX_CHAIN_LENGTH
        assert len(links) + sum(link.omitted for link in links) >= 121
        assert (links[-1].type, links[-1].message[:14]) == ("builtins.ValueError", "the root cause")


def test_texts_alone_stay_bounded_where_the_cause_is_hidden() -> None:
    with testing.hub(fail, wraps_without_a_cause) as hub:
        _, status = run_deep_failure(hub, "wraps_without_a_cause", 400)
        assert len(status.output) < 10_000
        assert status.output.endswith("ValueError: the root cause")


def test_what_an_ancestor_catches_is_of_the_root_type() -> None:
    @df.orchestrator
    def catches(context: df.DurableOrchestrationContext) -> Any:
        try:
            yield context.call_sub_orchestrator("passes_on", context.get_input())
        except ValueError as error:
            return str(error)

    with testing.hub(fail, passes_on, catches) as hub:
        given = {"name": "passes_on", "levels": 60, "length": 0}
        status = hub.finish(hub.client.start_new(catches, client_input=given))
        assert status.output.startswith("Orchestrator function 'passes_on' failed: ")
        assert status.output.endswith("ValueError: the root cause")


# ── the limit ──────────────────────────────────────────────────────────────────────────────────────────────────────


@df.orchestrator
def endless(context: df.DurableOrchestrationContext) -> Any:
    level = context.get_input() or 0
    try:
        return (yield context.call_sub_orchestrator(endless, level + 1))
    except RecursionError as error:
        return [level, str(error)]


@df.orchestrator
def begins_over(context: df.DurableOrchestrationContext) -> Any:
    level, times = context.get_input() or (0, 1)
    if times:
        context.continue_as_new((level, times - 1))
        return None
    try:
        return (yield context.call_sub_orchestrator(begins_over, (level + 1, 1)))
    except RecursionError:
        return level


@df.orchestrator
def endless_and_uncaught(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_sub_orchestrator(endless_and_uncaught))


def make_limited_hub(*functions: Any, depth: int = 5, replay_always: bool = False) -> TestEnvironment:
    options = EngineOptions(
        limits=LimitsConfig(sub_orchestration_depth=depth),
        use_threads=False,
        replay_always=replay_always,
        turn_budget=timedelta.max,
    )
    return TestEnvironment(testing.build_registry(*functions), testing.START, options)


TOO_DEEP = (
    "RecursionError: sub-orchestrations are nested more than 5 deep (limits.sub_orchestration_depth in durable.yaml): "
    "does one call itself without end?"
)


@pytest.mark.parametrize("replay_always", [False, True])
def test_sub_orchestrations_are_nested_only_so_deep(replay_always: bool) -> None:
    with make_limited_hub(endless, begins_over, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(endless))
        assert status.output == [5, f"Orchestrator function 'endless' failed: {TOO_DEEP}"]
        assert hub.finish(hub.client.start_new(begins_over)).output == 5


def test_the_limit_holds_after_a_restart_and_a_rewind() -> None:
    with make_limited_hub(endless_and_uncaught) as hub:
        instance = hub.client.start_new(endless_and_uncaught)
        hub.restart()
        for _ in range(2):
            status = hub.finish(instance)
            assert status.output.endswith(TOO_DEEP)
            assert len(hub.client.get_status_all()) == 6
            hub.client.rewind(instance, "once more")


def test_the_limit_is_a_thousand() -> None:
    assert LimitsConfig().sub_orchestration_depth == 1_000


def test_an_execution_that_an_older_version_wrote_has_no_depth() -> None:
    started = ev.ExecutionStarted("x", "1", "f")
    assert started.depth == 0
