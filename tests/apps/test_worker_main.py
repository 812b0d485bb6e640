"""A worker process loads an app as its engine does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_harness import CliHarness
from tests.support.process_pool_harness import ProcessPoolHarness

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


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[ProcessPoolHarness]:
    """A worker process that loads the app in the folder `app`."""
    harness = ProcessPoolHarness(tmp_path, "app")
    yield harness
    harness.pool.stop()


def test_a_worker_loads_an_azure_app_with_its_settings_and_stand_ins(
    tmp_path: Path, worker: ProcessPoolHarness
) -> None:
    write_azure_app(tmp_path / "app")
    value, _, *rest = worker.run_to_value("describe", 1)
    assert (value, rest) == (2, ["hello", "durablecli.azure.http_types", "durablecli.azure.durable_functions"])


def test_an_app_that_a_worker_cannot_load_fails_the_activity(tmp_path: Path, worker: ProcessPoolHarness) -> None:
    (write_azure_app(tmp_path / "app") / "host.json").write_text("{")
    message = worker.run_to_failure("describe", 1).message
    assert message.startswith("activity 'describe' can't be loaded in the worker process; ")
    assert "host.json" in message


def test_an_azure_app_runs_an_activity_in_a_worker_process(tmp_path: Path) -> None:
    hub = CliHarness(write_azure_app(tmp_path / "app"))
    hub("start", "flow", "--id", "a")
    hub("run-daemon", "--until-idle")
    value, _, greeting, *_ = json.loads(hub("wait", "a").out)
    assert (value, greeting) == (2, "hello")
    hub.assert_sound()
