"""Worker processes: whatever an activity does there becomes its result, and it can't disturb the protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from msgspec import Raw

from durablecli.engine.workers import process_pool as module
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.process_pool import ProcessPool
from tests.support.process_pool_harness import ProcessPoolHarness, make_call
from tests.support.waiting import wait_until

ACTIVITIES = Path(__file__).parent / "process_activities.py"


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[ProcessPoolHarness]:
    made = ProcessPoolHarness(tmp_path, str(ACTIVITIES))
    yield made
    made.pool.stop()


@pytest.fixture(scope="module")
def shared_harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolHarness]:
    """A worker for tests that leave it as it was."""
    made = ProcessPoolHarness(tmp_path_factory.mktemp("shared"), str(ACTIVITIES))
    yield made
    made.pool.stop()


def has_ended(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip().startswith("Z") or not shown.stdout.strip()


# ── results ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "type", "message"),
    [
        ("declined", "Declined", "no funds"),
        ("surrogate", "ValueError", "lone \\udc80 surrogate"),
        ("silent", "Silent", "no text"),
        ("exit", "SystemExit", "3"),
        ("interrupt", "KeyboardInterrupt", ""),
        ("long", "ValueError", "xxx"),
    ],
)
def test_an_exception_becomes_the_failure(
    shared_harness: ProcessPoolHarness, kind: str, type: str, message: str
) -> None:
    failure = shared_harness.run_to_failure("raises", kind)
    assert failure.type.rpartition(".")[2] == type
    assert message in failure.message


@pytest.mark.parametrize(("kind", "text"), [("object", "object"), ("nan", "nan"), ("surrogate", "surrogate")])
def test_a_result_that_cannot_be_encoded_is_a_failure(shared_harness: ProcessPoolHarness, kind: str, text: str) -> None:
    failure = shared_harness.run_to_failure("returns", kind)
    assert failure.type == "durablecli.errors.Unserializable"
    assert text in failure.message


def test_a_large_result_arrives_completely(shared_harness: ProcessPoolHarness) -> None:
    assert len(shared_harness.run_to_value("returns", "large")) == 5_000_000


def test_an_activity_fails_after_it_has_ended_five_workers(harness: ProcessPoolHarness) -> None:
    failure = harness.run_to_failure("dies", 7)
    assert failure.type == "durablecli.WorkerDied"
    assert "exit code 7" in failure.message


def test_the_failure_of_an_activity_that_cannot_be_loaded_names_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere_at_all\n")
    broken = ProcessPoolHarness(tmp_path, "broken.py")
    failure = broken.run_to_failure("heavy", 1)
    broken.pool.stop()
    assert failure.message.startswith("activity 'heavy' can't be loaded in the worker process; broken.py:1: ")


@pytest.mark.parametrize(("name", "value"), [("waits", 2), ("plain_over_async", 2)])
def test_an_asynchronous_activity_is_awaited(shared_harness: ProcessPoolHarness, name: str, value: int) -> None:
    assert shared_harness.run_to_value(name, value) == 6


# ── what an activity can reach ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["stdin", "program"])
def test_standard_input_is_empty(shared_harness: ProcessPoolHarness, how: str) -> None:
    assert shared_harness.run_to_value("reads", how) == ""


def test_reading_input_raises_end_of_file(shared_harness: ProcessPoolHarness) -> None:
    assert shared_harness.run_to_failure("reads", "input").type == "builtins.EOFError"


@pytest.mark.parametrize("how", ["print", "descriptor", "subprocess"])
def test_standard_output_goes_to_standard_error(
    harness: ProcessPoolHarness, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert harness.run_to_value("writes", how) == 7
    harness.pool.stop()
    out, err = capfd.readouterr()
    assert out == ""
    assert '{"result":1}' in err


def test_a_program_that_an_activity_starts_inherits_no_pipe(shared_harness: ProcessPoolHarness) -> None:
    assert shared_harness.run_to_value("descriptors") == ["[]"]


def test_forked_children_do_not_use_the_protocol(shared_harness: ProcessPoolHarness) -> None:
    assert [shared_harness.run_to_value("forks", value) for value in (4, 5)] == [4, 5]


def test_a_worker_that_dies_is_noticed_though_its_child_lives(harness: ProcessPoolHarness, tmp_path: Path) -> None:
    assert "died 5 times" in harness.run_to_failure("forks_and_dies", str(tmp_path / "runs")).message
    assert (tmp_path / "runs").read_text() == "x" * 5


def test_each_activity_starts_in_the_same_folder(harness: ProcessPoolHarness, tmp_path: Path) -> None:
    assert [harness.run_to_value("moves", "/") for _ in range(2)] == [str(tmp_path)] * 2


def test_a_file_in_the_current_folder_shadows_no_module(harness: ProcessPoolHarness, tmp_path: Path) -> None:
    for name in ("msgspec", "durablecli", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    assert harness.run_to_value("waits", 1) == 3


def test_a_worker_can_import_what_the_engine_can_import(
    harness: ProcessPoolHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "only_there.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "elsewhere")])
    assert harness.run_to_value("imports", "only_there") == str(tmp_path / "elsewhere" / "only_there.py")


# ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_pids(path: Path) -> list[int]:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(word) for word in path.read_text().split()]


def test_a_cancelled_activity_ends_with_its_processes(harness: ProcessPoolHarness, tmp_path: Path) -> None:
    one = make_call("lingers", str(tmp_path / "pids"))
    harness.pool.start([one])
    worker, child = read_pids(tmp_path / "pids")
    one.cancellation.abandon()
    harness.pool.cancel(one.key)
    assert harness.next_result().key == one.key
    assert has_ended(worker)
    assert has_ended(child)
    assert harness.run_to_value("waits", 1) == 3


def test_an_activity_sees_that_the_engine_is_stopping(harness: ProcessPoolHarness, tmp_path: Path) -> None:
    one = make_call("lingers", str(tmp_path / "pids"))
    harness.pool.start([one])
    read_pids(tmp_path / "pids")
    harness.pool.pause()
    result = harness.next_result()
    assert result.result == Raw(b'"stopped"')
    assert one.cancellation.observed
    assert not one.cancellation.result_counts


def test_workers_and_their_processes_end_with_a_killed_engine(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.support.process_pool_harness import ProcessPoolHarness, make_call\n"
        "harness = ProcessPoolHarness(Path(sys.argv[1]), sys.argv[3])\n"
        "harness.pool.start([make_call('lingers', sys.argv[2])])\n"
        "time.sleep(1000)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "pids"), str(ACTIVITIES)]
    engine = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    found = read_pids(tmp_path / "pids")
    engine.kill()
    engine.wait()
    wait_until(lambda: all(map(has_ended, found)))


def test_a_thread_that_an_activity_left_keeps_no_worker_alive(harness: ProcessPoolHarness) -> None:
    worker = harness.run_to_value("leaves_a_thread", 1)
    harness.pool.stop()
    wait_until(lambda: has_ended(worker))


def test_a_worker_that_cannot_be_started_fails_its_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(module, "_MAX_START_RETRIES", 0)
    results: SimpleQueue[ActivityResult | EntityBatchResult] = SimpleQueue()
    workers = ProcessPool(1, results.put, AppLocation())
    for n in (2, 3):
        workers.start([make_call("heavy", 1, n)])
    told = [results.get(timeout=10) for _ in range(2)]
    workers.stop()
    assert [each.key[2] for each in told] == [2, 3]
    failures = [each.failure for each in told if isinstance(each, ActivityResult)]
    assert [each.message for each in failures if each is not None] == ["no more processes"] * 2


def test_a_worker_for_which_there_is_no_handle_is_started_later(
    monkeypatch: pytest.MonkeyPatch, harness: ProcessPoolHarness
) -> None:
    tries: list[int] = []
    start = subprocess.Popen

    def refuse_at_first(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        tries.append(1)
        if len(tries) < 4:
            raise OSError(24, "Too many open files")
        return start(*arguments, **more)

    monkeypatch.setattr(subprocess, "Popen", refuse_at_first)
    monkeypatch.setattr(module, "_MAX_START_RETRIES", 0)
    monkeypatch.setattr(module, "_START_RETRY_INTERVAL", 0.01)
    assert harness.run_to_value("waits", 1) == 3
