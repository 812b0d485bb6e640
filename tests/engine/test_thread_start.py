"""If no thread can be started, work waits for one, nothing is lost, and one warning is logged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import __main__ as main
from durablecli import testing
from durablecli.config import ConcurrencyConfig
from durablecli.daemon.embedded_engine import embedded
from durablecli.engine import thread_start
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, EntityOperation
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.model import events as ev
from tests.engine.workers.test_dispatcher import NOW


@df.activity
def plain(value: int) -> int:
    return value


@df.activity
async def in_the_loop(value: int) -> int:
    return value


@df.entity
def counter(context: df.DurableEntityContext) -> int:
    return 1


@df.orchestrator
def flow(context: df.DurableOrchestrationContext) -> Any:
    first = yield context.call_activity(plain, 1)
    second = yield context.call_activity(in_the_loop, 2)
    return [first, second]


class ThreadLimit:
    """Lets no thread start whose name begins so, while it holds."""

    def __init__(self, start: Callable[[threading.Thread], None]) -> None:
        self.is_active = False
        self.names: tuple[str, ...] = ()
        self.refused = 0
        self.start = start


@pytest.fixture
def thread_limit(monkeypatch: pytest.MonkeyPatch) -> ThreadLimit:
    found = ThreadLimit(threading.Thread.start)

    def start(thread: threading.Thread) -> None:
        if found.is_active and thread.name.startswith(found.names):
            found.refused += 1
            raise RuntimeError("can't start new thread")
        found.start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(thread_start, "_warned_at", -1e9)
    return found


@pytest.mark.parametrize("name", ["plain", "in_the_loop", "counter"])
def test_work_waits_for_a_thread(thread_limit: ThreadLimit, name: str, caplog: pytest.LogCaptureFixture) -> None:
    thread_limit.is_active, thread_limit.names = True, ("durable-",)
    outcomes: SimpleQueue[ActivityResult | EntityBatchResult] = SimpleQueue()
    dispatcher = Dispatcher(testing.build_registry(plain, in_the_loop, counter), outcomes.put, ConcurrencyConfig())
    for n in (2, 3):
        if name == "counter":
            dispatcher.dispatch_entity_batches(
                [EntityBatchTask(f"@counter@{n}", "1", Raw(), [EntityOperation(n, "get", ev.NULL, True)], NOW)]
            )
        else:
            dispatcher.dispatch_activities([ActivityTask("x", "1", n, ev.TaskScheduled(name, Raw(b"1")))])
    dispatcher.maintain()
    assert outcomes.empty()
    assert thread_limit.refused >= 2
    assert [record.message.partition(" (")[0] for record in caplog.records] == ["cannot start a thread"]
    thread_limit.is_active = False
    dispatcher.maintain()
    found = [outcomes.get(timeout=20) for _ in range(2)]
    assert sorted(each.key[2] for each in found) == [2, 3]
    assert all(dispatcher.complete(each) is not None for each in found)
    dispatcher.stop()


def test_an_engine_works_without_its_optional_threads(thread_limit: ThreadLimit, tmp_path: Path) -> None:
    thread_limit.is_active, thread_limit.names = (
        True,
        ("durable-journal", "durable-background", "durablecli-bell", "durable-watchdog"),
    )
    with embedded(testing.build_registry(plain, in_the_loop, flow), tmp_path / "hub") as client:
        for i in range(5):
            client.start_new("flow", f"x{i}")
        assert [client.wait(f"x{i}", 20).output for i in range(5)] == [[1, 2]] * 5
    assert thread_limit.refused > 2


def test_a_verb_that_cannot_start_a_thread_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(main, "_invoke", refuse)
    monkeypatch.setattr("sys.argv", ["durable", "run-daemon"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 74
    assert capsys.readouterr().err == ("durable: can't start a new thread; raise the limit on processes (ulimit -u)\n")
