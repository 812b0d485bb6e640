"""Runs activities in one worker process."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.process_pool import ProcessPool
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.failures import Failure
from durablecli.registry import Function
from durablecli.replay.function_marks import FunctionMark


def make_call(name: str, value: object = None, n: int = 2) -> ActivityCall:
    function = Function(FunctionMark("activity", name, "process"), len, "app")
    return ActivityCall(
        ("x", "1", n), function, Raw(msgspec.json.encode(value)), 1, False, n, PAYLOAD_LIMIT, Cancellation()
    )


class ProcessPoolHarness:
    """A pool with one worker, which loads `target` relative to `folder`."""

    def __init__(self, folder: Path, target: str) -> None:
        self._results: SimpleQueue[ActivityResult | EntityBatchResult] = SimpleQueue()
        self.pool = ProcessPool(1, self._results.put, AppLocation([target], str(folder), str(folder)))

    def run(self, name: str, value: object = None) -> ActivityResult:
        self.pool.start([make_call(name, value)])
        return self.next_result()

    def next_result(self) -> ActivityResult:
        result = self._results.get(timeout=60)
        assert isinstance(result, ActivityResult)
        return result

    def run_to_value(self, name: str, value: object = None) -> Any:
        result = self.run(name, value)
        assert result.failure is None, result.failure
        assert result.result is not None
        return msgspec.json.decode(result.result)

    def run_to_failure(self, name: str, value: object = None) -> Failure:
        result = self.run(name, value)
        assert result.failure is not None, result.result
        return result.failure
