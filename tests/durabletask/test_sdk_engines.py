"""The same functions give the same outputs on three engines: Microsoft's worker on its backend in memory, the local
engine, and our worker on that backend."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any, NamedTuple

import pytest
from durabletask.worker import TaskHubGrpcWorker

from durablecli.testing import build_registry
from tests.durabletask import shared_flows as flows
from tests.support.foreign_engine import EngineUnderTest, LocalEngine, local_engine, memory_backend, running_worker
from tests.support.waiting import wait_until

NUMBERS = count(1)
FUNCTIONS = (*flows.ACTIVITIES, *flows.ENTITIES, *flows.ORCHESTRATORS)
DEEP = "durabletask.task.TaskFailedError"
OPERATION = "Operation '{}' on entity '@counter@ID' failed with error: {}"


@pytest.fixture(scope="module", params=["microsoft", "local", "ours"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUnderTest]:
    with ExitStack() as stack:
        if request.param == "local":
            yield stack.enter_context(local_engine(build_registry(*FUNCTIONS), tmp_path_factory.mktemp("hub")))
            return
        backend = stack.enter_context(memory_backend())
        if request.param == "ours":
            stack.enter_context(running_worker(backend, build_registry(*FUNCTIONS)))
        else:
            stack.enter_context(make_worker(backend.port)).start()
        yield backend


def make_worker(port: int) -> Any:
    """Microsoft's worker, with all functions."""
    worker: Any = TaskHubGrpcWorker(host_address=f"127.0.0.1:{port}", logger=logging.getLogger("quiet"))
    for functions, add in (
        (flows.ORCHESTRATORS, worker.add_orchestrator),
        (flows.ACTIVITIES, worker.add_activity),
        (flows.ENTITIES, worker.add_entity),
    ):
        for function in functions:
            add(function)
    return worker


class Case(NamedTuple):
    """An orchestrator, its input, the events that are sent to it, and how it ends."""

    name: str
    given: Any
    output: Any
    events: Sequence[tuple[str, Any]] = ()
    status: str = "Completed"
    failure: str | None = None
    custom_status: Any = None
    elsewhere: Any = None
    """The output on Microsoft's backend, which doesn't tell a parent of which type the failure of a child is."""


UNTOLD = "builtins.Exception"
ORDER = {"item": "pen", "count": 1}
CASES = (
    Case("chain", 1, 8),
    Case("plain", ORDER, ["Order", None]),
    Case("plain", [1], ["Order", None]),
    Case("values", 0, [0, [None, 0, "", False, [], {}, "null", "ä☃", 1.5, 10**15, [1, 2], {"a": [None]}]]),
    Case("values", "", ["", [None, 0, "", False, [], {}, "null", "ä☃", 1.5, 10**15, [1, 2], {"a": [None]}]]),
    Case(
        "typed",
        {"orders": [ORDER]},
        [
            {"orders": [ORDER, {"item": "box", "count": 1}], "note": "Order"},
            "Order",
            5,
            {"cents": 7},
            "Order",
            {"a": 1},
            {"item": "text", "count": 1},
        ],
    ),
    Case(
        "parent",
        None,
        [
            [0, 2, 4],
            18,
            "builtins.LookupError",
            "no -1",
            "Sub-orchestration task #5 failed: no -1",
        ],
        elsewhere=[[0, 2, 4], 18, UNTOLD, "no -1", "Sub-orchestration task #5 failed: no -1"],
    ),
    Case("grandchild_fails", 1, [DEEP, "builtins.ValueError"], elsewhere=[UNTOLD]),
    Case("catching", "bang", ["builtins.ValueError", "bang", True, True, ": Activity task #1 failed: bang"]),
    Case("uncaught", "bang", None, status="Failed", failure="ValueError: bang"),
    Case("retried", 2, 3),
    Case("retried", 3, ["attempt 3", ": Activity task #1 failed: attempt 3"]),
    Case("numbered", None, ": Activity task #4 failed: fourth"),
    Case("joined", None, [True, True, False, 1, True, True, "bang"]),
    Case("racing", None, [True, True, 4, [True, False, True]]),
    Case("one_by_one", 5, [0, 2, 4, 6, 8]),
    Case("timers", None, [None, True]),
    Case("events", None, [1, "Order", [2, 3]], (("a", 1), ("B", ORDER), ("A", 2), ("a", 3))),
    Case("lost_wait", None, [1, 2], (("b", 0), ("a", 1), ("a", 2))),
    Case("cancelled_wait", None, 1, (("b", 0), ("a", 1))),
    Case("again", 1, 3),
    Case("again_at_a_yield", 1, 3),
    Case("keeps_events", [], [1, 2, 3], (("a", 1), ("a", 2), ("a", 3))),
    Case("status_of", 1, True, custom_status={"item": "pen", "count": 1}),
    Case(
        "entities",
        None,
        [
            5,
            ["add", 4, "ID"],
            5,
            6,
            OPERATION.format("spoil", "bang"),
            "builtins.ValueError",
            OPERATION.format("missing", "Entity '@counter@ID' does not have operation 'missing'"),
            "builtins.AttributeError",
            5,
            0,
        ],
    ),
    Case(
        "locks",
        3,
        [
            [
                "Must not signal a locked entity from a critical section.",
                "Must not call an entity from a critical section if it is not one of the locked entities.",
                "Must not enter another critical section from within a critical section.",
            ],
            -3,
            3,
        ],
    ),
    Case("activity_result_that_fails", None, "builtins.TypeError"),
    Case("input_that_fails", None, "Failed to serialize object of type 'object'"),
)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.name}-{at}" for at, case in enumerate(CASES)])
def test_it_ends_alike_on_every_engine(engine: EngineUnderTest, case: Case) -> None:
    instance = engine.start(case.name, case.given, f"{case.name}-{next(NUMBERS)}")
    if case.events:
        wait_until(lambda: engine.status(instance) == "Running", description=f"the start of {instance}")
    for name, value in case.events:
        engine.raise_event(instance, name, value)
    found = engine.wait(instance)
    expected = case.output if case.elsewhere is None or isinstance(engine, LocalEngine) else case.elsewhere
    assert (found.status, replace_id(found.output, instance)) == (case.status, expected)
    assert found.custom_status == case.custom_status
    assert found.failure == case.failure or (found.failure or "").removeprefix("builtins.") == case.failure


def replace_id(value: Any, instance: str) -> Any:
    if isinstance(value, list):
        return [replace_id(each, instance) for each in value]
    return value.replace(instance, "ID") if isinstance(value, str) else value


def test_a_result_that_cannot_be_encoded_fails(engine: EngineUnderTest) -> None:
    found = engine.wait(engine.start("result_that_fails"))
    assert found.status == "Failed"
    assert "object" in (found.failure or "")
