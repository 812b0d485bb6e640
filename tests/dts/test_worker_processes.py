"""Workers as processes: they are killed, stopped, cut off and told apart, and nothing of the engine's work is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.foreign_engine import ForeignEngine, WorkerProcess, serving_hub, worker_process
from tests.support.fork_server import COMMAND
from tests.support.ports import find_free_port
from tests.support.redelivering_backend import redelivering_backend
from tests.support.waiting import wait_until

APP = Path(__file__).parent / "flows" / "slow_work.py"


@pytest.fixture(params=["memory", "hub"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ForeignEngine]:
    if request.param == "hub":
        with serving_hub(tmp_path / "served") as served:
            yield served
    else:
        with redelivering_backend() as (engine, _):
            yield engine


def started(folder: Path) -> list[str]:
    runs = folder / "runs"
    return (
        [line.split()[1] for line in runs.read_text().splitlines() if line.startswith("began")] if runs.exists() else []
    )


def test_all_executors_run(engine: ForeignEngine, tmp_path: Path) -> None:
    with worker_process(str(engine.address), APP, tmp_path):
        assert engine.wait(engine.start("all_executors")).output == [45, True, "x"]
    assert not (tmp_path / ".state").exists()


def test_attempt_and_key_travel_with_the_call(engine: ForeignEngine, tmp_path: Path) -> None:
    with worker_process(str(engine.address), APP, tmp_path):
        attempt, key = engine.wait(engine.start("retried", instance="r")).output
        assert (attempt, key.split("/")[0], key.split("/")[2]) == (3, "r", "1")


def test_another_worker_finishes_what_a_killed_one_has_begun(engine: ForeignEngine, tmp_path: Path) -> None:
    settings = {"RUNS": str(tmp_path / "runs"), "SECONDS": "10"}
    with worker_process(str(engine.address), APP, tmp_path, **settings) as first:
        engine.start("job", instance="a")
        wait_until(lambda: started(tmp_path), description="the first step")
        first.process.kill()
        first.process.wait()
    (tmp_path / "runs.release").touch()
    with worker_process(str(engine.address), APP, tmp_path, **settings):
        assert engine.wait("a").output == ["a-0", "a-1", "a-2"]
    assert started(tmp_path) == ["a-0", "a-0", "a-1", "a-2"]


def test_a_stopped_worker_lets_its_activity_finish(engine: ForeignEngine, tmp_path: Path) -> None:
    settings = {"RUNS": str(tmp_path / "runs"), "SECONDS": "30"}
    with worker_process(str(engine.address), APP, tmp_path, **settings) as worker:
        engine.start("job", instance="a")
        wait_until(lambda: started(tmp_path), description="the first step")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_for_output("shutting down")
        (tmp_path / "runs.release").touch()
        assert worker.process.wait(20) == 0
        assert "stopped" in worker.output
    assert (tmp_path / "runs").read_text().count("ended a-0") == 1
    with worker_process(str(engine.address), APP, tmp_path, **settings):
        assert engine.wait("a").output == ["a-0", "a-1", "a-2"]
    assert started(tmp_path) == ["a-0", "a-1", "a-2"]


def test_a_second_signal_ends_a_worker_at_once(engine: ForeignEngine, tmp_path: Path) -> None:
    settings = {"RUNS": str(tmp_path / "runs"), "SECONDS": "30"}
    process = WorkerProcess(str(engine.address), APP, tmp_path, **settings)
    try:
        process.wait_for_output("connected to")
        engine.start("job", instance="a")
        wait_until(lambda: started(tmp_path), description="the first step")
        process.process.send_signal(signal.SIGINT)
        process.wait_for_output("shutting down")
        process.process.send_signal(signal.SIGINT)
        assert process.process.wait(5) == 130
    finally:
        process.stop()


def test_a_worker_connects_again(tmp_path: Path) -> None:
    port = find_free_port()
    process = WorkerProcess(f"dts://127.0.0.1:{port}", APP, tmp_path)
    try:
        process.wait_for_output("can't connect to")
        with redelivering_backend(port) as (engine, _):
            process.wait_for_output("\nconnected to")
            assert engine.wait(engine.start("all_executors")).status == "Completed"
        process.wait_for_output("lost the connection to")
        with redelivering_backend(port) as (engine, _):
            wait_until(lambda: process.output.count("connected to dts") == 2, 20, "a second connection")
            assert engine.wait(engine.start("all_executors")).status == "Completed"
        assert len(re.findall("can't connect|lost the connection", process.output)) <= 3
    finally:
        assert process.stop() == 0
    assert "Traceback" not in process.output


def test_three_workers_share_the_work_and_one_may_die(engine: ForeignEngine, tmp_path: Path) -> None:
    settings = {"RUNS": str(tmp_path / "runs"), "SECONDS": "0.1"}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                worker_process(str(engine.address), APP, tmp_path, DURABLE_CONCURRENCY__ACTIVITIES="2", **settings)
            )
            for _ in range(3)
        ]
        ids = [engine.start("job", instance=f"job{k}") for k in range(12)]
        wait_until(lambda: len(started(tmp_path)) >= 8, description="some steps")
        workers[0].process.kill()
        for id in ids:
            assert engine.wait(id).output == [f"{id}-{step}" for step in range(3)]
        pids = {line.split()[2] for line in (tmp_path / "runs").read_text().splitlines()}
    assert len(pids) == 3


def test_what_a_turn_prints_appears_once(engine: ForeignEngine, tmp_path: Path) -> None:
    with worker_process(str(engine.address), APP, tmp_path, SECONDS="0") as worker:
        engine.wait(engine.start("job", instance="a"))
        wait_until(lambda: "a: job completed" in worker.output)
        assert [worker.output.count(f"step {step} is done") for step in range(3)] == [1, 1, 1]


def test_a_result_that_the_engine_refuses_fails_the_call(tmp_path: Path) -> None:
    with redelivering_backend() as (engine, _), worker_process(str(engine.address), APP, tmp_path):
        outcome = engine.wait(engine.start("large", 5_000_000))
        assert outcome.status == "Failed"
        assert "the engine refuses the result, which has 5,0" in (outcome.failure or "")
        assert engine.wait(engine.start("large", 1_000_000)).output == 1_000_000


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--engine", "dts://127.0.0.1:1", "--until-idle"], 2, "--until-idle needs the engine of a hub"),
        (["--engine", "dts://127.0.0.1:1", "--http", "0", "--replay-always"], 2, "--replay-always and --http need"),
        (["--engine", "dts://127.0.0.1"], 2, "no port"),
        (["--engine", "dts://127.0.0.1:1", "--state-dir", "x"], 2, "exclude each other"),
    ],
)
def test_what_is_impossible_is_refused_in_one_line(tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    done = subprocess.run(
        [*COMMAND, "run-daemon", "--app", str(APP), *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


TIMERS = """
import durablecli as df
from durablecli.azure import functions as func
from pathlib import Path

app = df.DFApp()


@app.timer_trigger(arg_name="timer", schedule="*/1 * * * * *")
def tick(timer: func.TimerRequest) -> None:
    with Path("ticks").open("a") as file:
        file.write("tick\\n")


@app.activity_trigger(input_name="given")
@app.durable_client_input(client_name="client")
def asks(given: str, client) -> str:
    return given
"""


def test_timer_functions_run_on_their_schedule_and_survive_their_worker(engine: ForeignEngine, tmp_path: Path) -> None:
    (tmp_path / "timed.py").write_text(TIMERS)
    ticks = tmp_path / "ticks"
    with worker_process(str(engine.address), tmp_path / "timed.py", tmp_path) as first:
        wait_until(lambda: ticks.exists() and ticks.read_text().count("tick") >= 2, description=first.output)
        assert "asks (activity) is left out" in first.output
        first.process.kill()
        first.process.wait()
    seen = ticks.read_text().count("tick")
    with worker_process(str(engine.address), tmp_path / "timed.py", tmp_path):
        wait_until(lambda: ticks.read_text().count("tick") >= seen + 2, description="more ticks")
    assert engine.status("timer:tick") in ("Running", "Pending")
