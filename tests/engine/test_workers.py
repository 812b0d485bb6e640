"""The feeders of worker processes: whatever goes wrong is an outcome, never a call that hangs."""

from __future__ import annotations

import subprocess
from queue import SimpleQueue

import pytest
from msgspec import Raw

from durablecli.app import Function
from durablecli.engine import workers as module
from durablecli.engine.activity import Call, Cancellation, Outcome
from durablecli.engine.operations import BatchOutcome
from durablecli.engine.workers import Workers
from durablecli.replay.names import Mark


def test_a_worker_that_cannot_be_started_fails_its_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(module, "_PATIENCE", 0)
    outcomes: SimpleQueue[Outcome | BatchOutcome] = SimpleQueue()
    workers = Workers(1, outcomes.put, [], ".")
    function = Function(Mark("activity", "heavy", "process"), len, "app")
    for n in (2, 3):
        workers.start([Call(("x", "1", n), function, Raw(b"1"), 1, False, n, 1024, Cancellation())])
    told = [outcomes.get(timeout=10) for _ in range(2)]
    workers.stop()
    assert [each.key[2] for each in told] == [2, 3]
    failures = [each.failure for each in told if isinstance(each, Outcome)]
    assert [each.message for each in failures if each is not None] == ["no more processes"] * 2
