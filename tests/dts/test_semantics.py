"""The same functions mean the same on every engine: exceptions, lost waits, retries, events, entities, and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from durablecli.registry import Registry
from tests.dts.flows import semantics
from tests.support.foreign_engine import (
    EngineUnderTest,
    Outcome,
    local_engine,
    memory_backend,
    running_worker,
    serving_hub,
)
from tests.support.waiting import wait_until

ENGINES = ["local", "memory", "hub"]


def build_registry() -> Registry:
    registry = Registry()
    registry.add_module(semantics)
    return registry


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUnderTest]:
    with ExitStack() as stack:
        if request.param == "local":
            yield stack.enter_context(local_engine(build_registry(), tmp_path_factory.mktemp("local")))
        else:
            folder = tmp_path_factory.mktemp("hub")
            made = memory_backend() if request.param == "memory" else serving_hub(folder)
            backend = stack.enter_context(made)
            stack.enter_context(running_worker(backend, build_registry()))
            yield backend


OUTPUTS: dict[str, tuple[Any, Any]] = {
    "chain": ("in", [1, 2, "in"]),
    "fan_out": (None, list(range(20))),
    "all_of_nothing": (None, [[], None]),
    "catch_builtin": (None, ["ValueError", "Activity function 'fail' failed: ValueError: ValueError"]),
    "catch_base": (None, [True, True]),
    "catch_own": (None, ["OutOfStock", "OutOfStock"]),
    "catch_empty": (None, ["RuntimeError", ""]),
    "short_timer": (None, True),
    "retry_until_success": (None, "call 3"),
    "retry_in_vain": (None, "Activity function 'fail' failed: ValueError: ValueError"),
    "parent": (None, [["a", True], ["b", True]]),
    "parent_of_failure": (None, True),
    "ids_and_status": (None, True),
    "calls_entity": (None, [5, "number", 5]),
    "locks_entities": (None, [0, [1, 2]]),
    "sends_event": (None, [1, 2]),
    "plain": ({"a": [1.5, None]}, {"input": {"a": [1.5, None]}, "nothing": None, "text": 'quote " and \n'}),
    "returns_nothing": (None, None),
}
"""The input and the output of each orchestrator that needs no more than its start."""


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_the_same(engine: EngineUnderTest, name: str) -> None:
    given, output = OUTPUTS[name]
    outcome = engine.wait(engine.start(name, given))
    assert outcome._replace(custom_status=None) == Outcome("Completed", output)


def test_a_custom_status_stays(engine: EngineUnderTest) -> None:
    assert engine.wait(engine.start("ids_and_status")).custom_status == {"step": 2}


FAILURES = {
    "raise_failure": "tests.dts.flows.semantics.OutOfStock: no OutOfStock",
    "unserializable": "durablecli.errors.Unserializable: ",
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_the_same(engine: EngineUnderTest, name: str) -> None:
    outcome = engine.wait(engine.start(name))
    assert outcome.status == "Failed"
    assert outcome.failure is not None
    assert outcome.failure.startswith(FAILURES[name])


def test_events_are_taken_in_order_and_without_case(engine: EngineUnderTest) -> None:
    instance = engine.start("two_waits")
    engine.raise_event(instance, "Go", "first")
    engine.raise_event(instance, "gO", "second")
    assert engine.wait(instance).output == ["first", "second"]


def test_an_event_can_be_early(engine: EngineUnderTest) -> None:
    instance = engine.start("early_event")
    engine.raise_event(instance, "Go", 7)
    engine.raise_event(instance, "Began")
    assert engine.wait(instance).output == 7


def test_a_wait_that_lost_a_race_takes_no_event(engine: EngineUnderTest) -> None:
    instance = engine.start("lost_wait")
    engine.raise_event(instance, "Began")
    engine.raise_event(instance, "Go", 7)
    assert engine.wait(instance).output == 7


def test_a_timer_that_lost_a_race_is_cancelled(engine: EngineUnderTest) -> None:
    instance = engine.start("race_with_timer")
    engine.raise_event(instance, "Go", "now")
    assert engine.wait(instance).output == [True, "now", "after"]


def test_unread_events_move_on_with_continue_as_new(engine: EngineUnderTest) -> None:
    instance = engine.start("restarts")
    for number in range(3):
        engine.raise_event(instance, "Next", number)
    assert engine.wait(instance).output == [0, 1, 2]


def test_what_is_terminated_ends_with_its_reason(engine: EngineUnderTest) -> None:
    instance = engine.start("forever")
    wait_until(lambda: engine.status(instance) == "Running")
    engine.terminate(instance, "enough")
    assert engine.wait(instance)._replace(failure=None) == Outcome("Terminated", "enough")


def test_what_is_suspended_runs_on_when_it_is_resumed(engine: EngineUnderTest) -> None:
    instance = engine.start("two_waits")
    wait_until(lambda: engine.status(instance) == "Running")
    engine.suspend(instance)
    wait_until(lambda: engine.status(instance) == "Suspended")
    engine.raise_event(instance, "Go", 1)
    engine.raise_event(instance, "Go", 2)
    assert engine.status(instance) == "Suspended"
    engine.resume(instance)
    assert engine.wait(instance).output == [1, 2]


REWINDS = {
    "needs_repair": (["first", "one", "bad two", "three", "last"], "bad two"),
    "needs_repair_of_retries": (["bad retry", "last"], "bad retry"),
    "fails_alone": (["first", "last"], ""),
}
"""The output after a rewind, and the call that is made once more."""


@pytest.mark.parametrize("name", REWINDS)
def test_a_rewind_continues_from_before_the_failure(engine: EngineUnderTest, name: str) -> None:
    output, repeated = REWINDS[name]
    instance = engine.start(name)
    assert engine.wait(instance).status == "Failed"
    before = semantics.calls_of(instance).copy()
    semantics.repair(instance)
    engine.rewind(instance)
    wait_until(lambda: engine.status(instance) != "Failed")
    assert engine.wait(instance).output == output
    assert semantics.calls_of(instance)[len(before) :] == [each for each in (repeated, "last") if each]


def test_a_rewind_reaches_the_children(engine: EngineUnderTest) -> None:
    instance = engine.start("needs_repair_in_child")
    assert engine.wait(instance).status == "Failed"
    semantics.repair(f"{instance}-child")
    engine.rewind(instance)
    wait_until(lambda: engine.status(instance) != "Failed")
    assert engine.wait(instance).output == [["first", "one", "bad two", "three", "last"], "parent"]


def test_a_rewound_instance_can_fail_again(engine: EngineUnderTest) -> None:
    instance = engine.start("needs_repair")
    assert engine.wait(instance).status == "Failed"
    engine.rewind(instance)
    wait_until(lambda: semantics.calls_of(instance).count("clean up") == 2)
    wait_until(lambda: engine.status(instance) == "Failed")
    semantics.repair(instance)
    engine.rewind(instance)
    wait_until(lambda: engine.status(instance) != "Failed")
    assert engine.wait(instance).output == ["first", "one", "bad two", "three", "last"]
