"""Versions: code may accept only orchestrations of its own version; others are blocked or fail."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df
from durablecli.engine.engine_options import EngineOptions
from durablecli.model.versions import VersionPolicy
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark
from durablecli.testing import START, TestEnvironment, build_registry


@df.orchestrator
def versioned(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str | None]:
    yield context.create_timer(timedelta(seconds=1))
    return context.version


def make_hub(match: str, fail: bool) -> TestEnvironment:
    versions = VersionPolicy("1.1", match, fail)
    return TestEnvironment(
        build_registry(versioned), START, EngineOptions(use_threads=False, turn_budget=timedelta.max, versions=versions)
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


def test_what_is_built_in_belongs_to_every_version() -> None:
    def work(context: df.DurableOrchestrationContext) -> int:
        return 1

    setattr(work, MARK_ATTRIBUTE, FunctionMark("orchestrator", "Own"))
    with make_hub("strict", fail=True) as tested:
        tested.registry.add_built_in([work])
        assert tested.finish(tested.client.start_new("Own", version="0.1")).output == 1
