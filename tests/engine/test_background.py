"""The background thread: handles items in order, ends with the first error, and needs no thread where none is left."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from durablecli.engine import background
from durablecli.engine.background import BackgroundThread


class Recorder:
    """Handles numbers: notes each with its thread, and raises at a negative one."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.threads: set[str] = set()
        self.errors: list[BaseException] = []

    def handle(self, item: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.handled.append(item)
        if item < 0:
            raise ValueError(item)

    def make_thread(
        self, handle: Callable[[int], None] | None = None, *, threaded: bool = True
    ) -> BackgroundThread[int]:
        return BackgroundThread("background", handle or self.handle, self.errors.append, threaded=threaded)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_items_are_handled_in_order_in_one_thread_before_it_stops(recorder: Recorder) -> None:
    thread = recorder.make_thread()
    for item in range(100):
        thread.submit(item)
    thread.stop()
    assert (recorder.handled, recorder.threads) == (list(range(100)), {"background"})


def test_the_thread_ends_with_the_first_error_and_reports_it(recorder: Recorder) -> None:
    thread = recorder.make_thread()
    for item in (1, -2, 3):
        thread.submit(item)
    thread.stop()
    assert recorder.handled == [1, -2]
    assert [repr(error) for error in recorder.errors] == ["ValueError(-2)"]


def test_a_handler_may_take_what_is_queued(recorder: Recorder) -> None:
    is_queued, batches = threading.Event(), list[list[int]]()

    def handle(first: int) -> None:
        is_queued.wait(20)
        batch = [first]
        while (following := thread.take_queued()) is not None:
            batch.append(following)
        batches.append(batch)

    thread = recorder.make_thread(handle)
    for item in (1, 2, 3):
        thread.submit(item)
    threading.Timer(0.01, is_queued.set).start()
    thread.stop()
    assert batches == [[1, 2, 3]]


def test_the_caller_handles_items_while_no_thread_can_be_started(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = recorder.make_thread()
    with monkeypatch.context() as patch:
        patch.setattr(background, "start_thread", lambda thread: False)
        thread.submit(1)
        thread.submit(-2)
    assert (recorder.handled, recorder.threads, len(recorder.errors)) == ([1, -2], {"MainThread"}, 1)
    thread.submit(3)
    thread.stop()
    assert (recorder.handled, "background" in recorder.threads) == ([1, -2, 3], True)


def test_without_a_thread_errors_are_raised_to_the_caller(recorder: Recorder) -> None:
    thread = recorder.make_thread(threaded=False)
    thread.submit(1)
    with pytest.raises(ValueError, match="-2"):
        thread.submit(-2)
    assert (recorder.handled, recorder.errors) == ([1, -2], [])
    thread.stop()
