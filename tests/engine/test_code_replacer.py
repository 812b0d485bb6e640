"""New code in a running engine: what runs finishes with the old code, and what comes next runs with the new one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.blocking import Blocker
from durablecli.engine.code_replacer import Replaced
from durablecli.engine.instance_cache import CachedInstance


def make_activity(answer: str, name: str = "work") -> Any:
    def work(value: int) -> str:
        return f"{answer} {value}"

    return df.activity(name=name)(work)


def make_orchestrator(*activities: str, name: str = "job") -> Any:
    def job(context: df.DurableOrchestrationContext) -> Any:
        results: list[Any] = []
        for each in activities:
            yield context.wait_for_external_event("next")
            results.append((yield context.call_activity(each, len(results))))
        return results

    return df.orchestrator(name=name)(job)


def replace(hub: testing.TestEnvironment, *functions: Any) -> list[Replaced]:
    replaced: list[Replaced] = []
    hub.engine.code.request(testing.build_registry(*functions), replaced.append)
    return replaced


def test_the_next_turn_runs_with_the_new_code() -> None:
    with testing.hub(make_orchestrator("work", "work"), make_activity("old")) as hub:
        id = hub.client.start_new("job")
        hub.client.raise_event(id, "next")
        hub.run()
        replaced = replace(hub, make_orchestrator("work", "work", "work"), make_activity("new"))
        for _ in range(2):
            hub.client.raise_event(id, "next")
        assert replaced == [Replaced(live=1, blocked=0)]
        assert hub.finish(id).output == ["old 0", "new 1", "new 2"]


def test_a_call_that_waits_for_its_turn_runs_the_new_code_and_a_removed_function_the_old() -> None:
    @df.orchestrator(name="both")
    def both(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.task_all([context.call_activity(name, 1) for name in ("work", "other")]))

    with testing.hub(both, make_activity("old"), make_activity("old", "other")) as hub:
        id = hub.client.start_new("both")
        hub.engine.step()
        hub.engine.flush()
        assert len(hub.pool.waiting) == 2
        replace(hub, both, make_activity("new"))
        hub.engine.step()
        assert hub.finish(id).output == ["new 1", "old 1"]


def test_an_instance_that_lacks_an_activity_resumes_when_it_is_there_again() -> None:
    with testing.hub(make_orchestrator("work"), make_activity("old")) as hub:
        id = hub.client.start_new("job")
        hub.run()
        replace(hub, make_orchestrator("work"))
        hub.client.raise_event(id, "next")
        hub.run()
        blocked = hub.client.get_status(id).blocked
        assert blocked is not None
        assert blocked.reason == "activity 'work' isn't loaded"
        replace(hub, make_orchestrator("work"), make_activity("new"))
        assert hub.finish(id).output == ["new 0"]


def test_an_instance_whose_code_decides_otherwise_resumes_when_the_code_fits_again() -> None:
    fitting = make_orchestrator("work", "work")
    with testing.hub(fitting, make_activity("a"), make_activity("b", "other")) as hub:
        ids = [hub.client.start_new("job") for _ in range(3)]
        for id in ids:
            hub.client.raise_event(id, "next")
        hub.run()
        replace(hub, make_orchestrator("other", "work"), make_activity("a"), make_activity("b", "other"))
        for id in ids:
            hub.client.raise_event(id, "next")
        hub.run()
        assert all(hub.client.get_status(id).blocked for id in ids)
        replace(hub, make_activity("a"))
        hub.run()
        assert {hub.client.get_status(id).blocked.reason for id in ids} == {"orchestrator 'job' isn't loaded"}  # type: ignore[union-attr]  # blocked
        replaced = replace(hub, fitting, make_activity("c"))
        assert [hub.finish(id).output for id in ids] == [["a 0", "c 1"]] * 3
        assert replaced == [Replaced(live=0, blocked=3)]


def test_an_instance_that_an_earlier_engine_has_blocked_resumes_too() -> None:
    with testing.hub(make_orchestrator("work"), make_activity("a")) as hub:
        id = hub.client.start_new("job")
        hub.run()
        hub.restart(make_activity("a"))
        hub.client.raise_event(id, "next")
        hub.run()
        hub.restart(make_activity("a"))
        replace(hub, make_orchestrator("work"), make_activity("b"))
        assert hub.finish(id).output == ["b 0"]


def test_a_start_without_its_orchestrator_waits_for_it() -> None:
    with testing.hub(make_activity("a")) as hub:
        hub.client.start_new("job", "early")
        hub.run()
        replace(hub, make_orchestrator(), make_activity("a"))
        assert hub.finish("early").output == []


def test_an_entity_without_its_code_resumes_when_it_is_there() -> None:
    @df.entity(name="counter")
    def counter(context: df.DurableEntityContext) -> None:
        context.set_state(context.get_state(lambda: 4) + context.get_input())

    with testing.hub(make_activity("a")) as hub:
        hub.client.signal_entity("@counter@x", "add", 1)
        hub.run()
        assert hub.client.entity("@counter@x").blocked is not None
        replace(hub, make_activity("a"), counter)
        hub.client.signal_entity("@counter@x", "add", 2)
        hub.run()
        assert hub.client.entity("@counter@x").state == 7


def test_timers_and_waits_outlive_the_code() -> None:
    @df.orchestrator(name="sleeper")
    def old(context: df.DurableOrchestrationContext) -> Any:
        yield context.create_timer(timedelta(hours=1))
        return "old"

    @df.orchestrator(name="sleeper")
    def new(context: df.DurableOrchestrationContext) -> Any:
        yield context.create_timer(timedelta(hours=1))
        return "new"

    with testing.hub(old) as hub:
        id = hub.client.start_new("sleeper")
        hub.run()
        replace(hub, new)
        assert hub.finish(id).output == "new"


def test_an_activity_that_comes_before_its_lack_has_blocked_the_instance_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Blocker.block_if_activity_missing

    def replace_before(self: Blocker, instance: CachedInstance) -> bool:
        hub.registry.replace_functions(functions)
        return original(self, instance)

    functions = testing.build_registry(make_orchestrator("work"), make_activity("new"))
    with testing.hub(make_orchestrator("work")) as hub:
        id = hub.client.start_new("job")
        hub.run()
        monkeypatch.setattr(Blocker, "block_if_activity_missing", replace_before)
        hub.client.raise_event(id, "next")
        assert hub.finish(id, timedelta(minutes=1)).output == ["new 0"]
