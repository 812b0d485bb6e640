"""Processor-bound activities: spawned worker processes, JSON lines over pipes.

A worker that dies takes one activity with it, which runs again in another; the fifth death fails the activity.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue

import msgspec
from msgspec import Raw

from durablecli.engine.activity import Call, Outcome, failed
from durablecli.engine.executors import Key, Report, Work
from durablecli.model.events import ABSENT, NULL, Output
from durablecli.model.failures import Failure

DEATHS = 5
_GRACE = 2.0
_AGAIN = 0.25
_PATIENCE = 120


class Order(msgspec.Struct):
    """What a worker is told to run."""

    name: str
    key: Key
    input: Raw
    attempt: int
    redelivered: bool
    first: int
    payload_limit: int


class Answer(msgspec.Struct):
    """What it says when it has."""

    result: Raw = ABSENT
    failure: Failure | None = None
    outputs: tuple[Output, ...] = ()


_answer = msgspec.json.Decoder(Answer)


class Workers:
    """Keeps up to `most` workers, each with a thread that feeds it and waits for its answers."""

    def __init__(self, most: int, report: Report, targets: Sequence[str], base: str) -> None:
        self._most = most
        self._report = report
        self._command = [sys.executable, "-m", "durablecli.engine.worker", base, *targets]
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._feeders: list[threading.Thread] = []
        self._running: dict[Key, subprocess.Popen[bytes]] = {}
        self._deaths: Counter[Key] = Counter()
        self._stopping = False
        self._held_back = False

    def start(self, calls: Iterable[Work]) -> None:
        for call in calls:
            assert isinstance(call, Call), "no entity runs in a process of its own"
            self._calls.put(call)
            if len(self._feeders) < self._most:
                feeder = threading.Thread(target=self._feed, name=f"durable-worker-{len(self._feeders)}", daemon=True)
                self._feeders.append(feeder)
                feeder.start()

    def cancel(self, key: Key) -> None:
        """TERM first, KILL when that isn't heard within two seconds."""
        worker = self._running.get(key)
        if worker is not None:
            worker.terminate()
            timer = threading.Timer(_GRACE, worker.kill)
            timer.daemon = True
            timer.start()

    def hold_back(self) -> None:
        self._held_back = True

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self) -> None:
        self._stopping = True
        for _ in self._feeders:
            self._calls.put(None)
        for worker in list(self._running.values()):
            worker.kill()
        for feeder in self._feeders:
            feeder.join(_GRACE)

    def _feed(self) -> None:
        worker: subprocess.Popen[bytes] | None = None
        while (call := self._calls.get()) is not None:
            if self._held_back:
                continue
            if call.cancellation.asked:
                self._report(Outcome(call.key, NULL, None))
                continue
            try:
                if worker is None or worker.poll() is not None:
                    worker = self._spawn()
                self._running[call.key] = worker
                # Whoever cancelled it a moment ago may not have seen the worker yet.
                answer = None if call.cancellation.asked else self._ask(worker, call)
            except Exception as error:  # noqa: BLE001 - a feeder that died would leave its call hanging for ever
                self._report(failed(call.key, error))
                continue
            finally:
                self._running.pop(call.key, None)
            if answer is not None and not call.cancellation.asked:
                self._report(Outcome(call.key, answer.result, answer.failure, answer.outputs))
                continue
            # One that is dying, or is about to be killed, must not be given the next order.
            code, worker = _dismiss(worker), None
            if not self._stopping:
                self._died(call, code)
        if worker is not None:
            _dismiss(worker)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """A new worker; out of processes or file handles, it is tried again for a while."""
        for _ in range(_PATIENCE):
            with suppress(OSError):
                return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            threading.Event().wait(_AGAIN)
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _ask(self, worker: subprocess.Popen[bytes], call: Call) -> Answer | None:
        """Its answer; None when the worker died."""
        assert worker.stdin is not None
        assert worker.stdout is not None
        order = Order(
            call.function.name, call.key, call.input, call.attempt, call.redelivered, call.first, call.payload_limit
        )
        try:
            worker.stdin.write(msgspec.json.encode(order) + b"\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            return _answer.decode(line) if line else None
        except (OSError, msgspec.DecodeError):
            return None

    def _died(self, call: Call, code: int) -> None:
        if call.cancellation.asked:
            self._report(Outcome(call.key, NULL, None))
            return
        self._deaths[call.key] += 1
        if self._deaths[call.key] < DEATHS:
            self._calls.put(call._replace(redelivered=True))
            return
        text = f"the worker process died {DEATHS} times while running it (exit code {code})"
        self._report(Outcome(call.key, None, Failure("durablecli.WorkerDied", text)))


def _dismiss(worker: subprocess.Popen[bytes]) -> int:
    """See that a worker is gone, whether it died or isn't needed; its exit code."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(OSError):
        worker.stdin.close()
    try:
        worker.wait(_GRACE)
    except subprocess.TimeoutExpired:
        worker.kill()
    worker.stdout.close()
    return worker.wait()
