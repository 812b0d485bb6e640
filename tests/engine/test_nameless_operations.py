"""Operations may have an empty name, as in Azure apps whose entities have only one operation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import durablecli as df
from durablecli import testing


@df.entity
def total(context: df.DurableEntityContext) -> None:
    assert context.operation_name == ""
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())


@df.entity
def relay(context: df.DurableEntityContext) -> None:
    context.signal_entity("@total@a", "", context.get_input())


@df.orchestrator
def adds(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    context.signal_entity("@total@a", "", 1)
    first = yield context.call_entity("@total@a", "", 2)
    return first


@df.entity
class Named:
    def known(self) -> None: ...


@df.orchestrator
def asks_a_class(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    yield context.call_entity("@named@a", "")


@pytest.mark.parametrize("replay_always", [False, True])
def test_an_operation_without_a_name_runs_for_every_sender(replay_always: bool) -> None:
    with testing.hub(total, relay, adds, replay_always=replay_always) as hub:
        assert hub.finish(hub.client.start_new(adds)).output == 3
        hub.client.signal_entity("@total@a", "", 4)
        hub.client.signal_entity("@relay@a", "", 5)
        hub.run()
        hub.restart()
        hub.run()
        assert hub.client.read_entity_state("@total@a").entity_state == 12


def test_a_class_has_no_operation_without_a_name() -> None:
    with testing.hub(Named, asks_a_class) as hub:
        status = hub.finish(hub.client.start_new(asks_a_class))
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
        assert "has no operation ''" in str(status.output)
