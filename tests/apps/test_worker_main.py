"""A worker process loads an app as its engine does."""

from __future__ import annotations

import json
from pathlib import Path
from queue import SimpleQueue

import msgspec
from msgspec import Raw

from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.process_pool import ProcessPool
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.registry import Function
from durablecli.replay.function_marks import FunctionMark
from tests.support.cli_harness import CliHarness

FUNCTION_APP = """
import os

import azure.durable_functions as durable
import azure.functions as func
import durablecli as df

app = durable.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@df.activity(executor="process")
def describe(value: int) -> list:
    return [value + 1, os.getpid(), os.environ["GREETING"], func.HttpRequest.__module__, durable.DFApp.__module__]


@app.orchestration_trigger(context_name="context")
def flow(context: durable.DurableOrchestrationContext):
    return (yield context.call_activity("describe", 1))
"""


def write_azure_app(folder: Path) -> Path:
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}')
    (folder / "local.settings.json").write_text(json.dumps({"Values": {"GREETING": "hello"}}))
    (folder / "function_app.py").write_text(FUNCTION_APP)
    return folder


def run_in_worker(target: str, base: Path, name: str, value: object) -> ActivityResult:
    """Run one activity in a worker process that loads `target`."""
    results: SimpleQueue[ActivityResult | EntityBatchResult] = SimpleQueue()
    pool = ProcessPool(1, results.put, [target], str(base), str(base))
    function = Function(FunctionMark("activity", name, "process"), len, "app")
    input = Raw(msgspec.json.encode(value))
    try:
        pool.start([ActivityCall(("x", "1", 2), function, input, 1, False, 2, PAYLOAD_LIMIT, Cancellation())])
        result = results.get(timeout=60)
    finally:
        pool.stop()
    assert isinstance(result, ActivityResult)
    return result


def test_a_worker_loads_an_azure_app_with_its_settings_and_stand_ins(tmp_path: Path) -> None:
    write_azure_app(tmp_path / "app")
    result = run_in_worker("app", tmp_path, "describe", 1)
    assert result.failure is None, result.failure
    assert result.result is not None
    value, _, *rest = msgspec.json.decode(result.result)
    assert (value, rest) == (2, ["hello", "durablecli.azure.http_types", "durablecli.azure.durable_functions"])


def test_an_app_that_a_worker_cannot_load_fails_the_activity(tmp_path: Path) -> None:
    (write_azure_app(tmp_path / "app") / "host.json").write_text("{")
    result = run_in_worker("app", tmp_path, "describe", 1)
    assert result.failure is not None
    assert "activity 'describe' can't be loaded in the worker process; " in result.failure.message
    assert "host.json" in result.failure.message


def test_an_azure_app_runs_an_activity_in_a_worker_process(tmp_path: Path) -> None:
    hub = CliHarness(write_azure_app(tmp_path / "app"))
    hub("start", "flow", "--id", "a")
    hub("run-daemon", "--until-idle")
    value, _, greeting, *_ = json.loads(hub("wait", "a").out)
    assert (value, greeting) == (2, "hello")
    hub.assert_sound()
