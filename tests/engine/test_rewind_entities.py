"""Rewind with entities: failed calls are made again, everything else happens once, and no critical section reopens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import WrongState
from durablecli.model.entity_id import EntityId
from durablecli.store.inbox.messages import MessageItem

Context = df.DurableOrchestrationContext
A, B = EntityId("account", "a"), EntityId("account", "b")


class EntityRewindHarness:
    """Entities that refuse until they are mended, and orchestrations that fail until then."""

    def __init__(self, replay_always: bool) -> None:
        self.is_repaired = False
        self.hub = testing.hub(*self._functions(), replay_always=replay_always)

    def _functions(self) -> list[Any]:
        @df.activity
        def sick() -> str:
            if not self.is_repaired:
                raise ValueError("sick")
            return "well"

        @df.entity
        def account(context: df.DurableEntityContext) -> Any:
            if context.operation_name == "refuse" and not self.is_repaired:
                raise ValueError("refused")
            context.set_state(context.get_state(int) + 1)
            return context.get_state()

        @df.orchestrator
        def refused(context: Context) -> Any:
            context.signal_entity(B, "add")
            yield context.call_entity(B, "add")
            first = yield context.call_entity(A, "refuse")
            context.signal_entity(B, "add")
            return [first, (yield context.call_entity(B, "add"))]

        @df.orchestrator
        def meanwhile(context: Context) -> Any:
            call = context.call_entity(A, "add")
            yield context.call_activity("sick")
            return (yield call)

        @df.orchestrator
        def inside(context: Context) -> Any:
            with (yield context.lock_entities([A, B])):
                yield context.call_entity(A, "add")
                yield context.call_activity("sick")

        @df.orchestrator
        def above(context: Context) -> Any:
            return (yield context.call_sub_orchestrator("inside", instance_id="child"))

        return [sick, account, refused, meanwhile, inside, above]

    def run_until_failed(self, name: str) -> None:
        self.hub.client.start_new(name, "p")
        self.hub.run()
        assert self.status() == "Failed"

    def rewind(self) -> None:
        self.is_repaired = True
        self.hub.client.rewind("p")
        self.hub.run()

    def status(self) -> str:
        status = self.hub.client.get_status("p").runtime_status
        return status.value if status else ""

    def state(self, entity: EntityId) -> Any:
        return self.hub.client.read_entity_state(entity).entity_state


@pytest.fixture(params=[False, True], ids=["live", "replayed"])
def harness(request: pytest.FixtureRequest) -> Iterator[EntityRewindHarness]:
    world = EntityRewindHarness(request.param)
    yield world
    world.hub.close()


def test_a_refused_operation_is_called_again_and_the_others_count_once(harness: EntityRewindHarness) -> None:
    harness.run_until_failed("refused")
    harness.rewind()
    assert harness.hub.client.get_status("p").output == [1, 4]
    assert (harness.state(A), harness.state(B)) == (1, 4)


def test_a_call_that_answered_before_the_end_or_behind_it_is_made_once(harness: EntityRewindHarness) -> None:
    harness.run_until_failed("meanwhile")
    harness.rewind()
    assert harness.hub.client.get_status("p").output == 1
    assert harness.state(A) == 1


@pytest.mark.parametrize("name", ["inside", "above"])
def test_what_failed_in_a_critical_section_is_not_rewound(harness: EntityRewindHarness, name: str) -> None:
    harness.run_until_failed(name)
    with pytest.raises(WrongState, match="can't be rewound: it"):
        harness.hub.client.rewind("p")
    with pytest.raises(WrongState, match="can't be rewound: it"):
        harness.hub.client.rewind_preview("p")
    harness.hub.run()
    assert harness.status() == "Failed"


@pytest.mark.parametrize("name", ["inside", "above"])
def test_an_engine_refuses_such_a_rewind_too(harness: EntityRewindHarness, name: str) -> None:
    harness.run_until_failed(name)
    before = len(list(harness.hub.client.get_history("p")))
    harness.hub.engine.submit("rewind", [MessageItem("p")])
    harness.hub.run()
    assert harness.status() == "Failed"
    assert len(list(harness.hub.client.get_history("p"))) == before
