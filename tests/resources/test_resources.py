"""Resources of activities: declarations, parameters, scopes, failures of set-up and tear-down, replacements."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import msgspec
import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.async_pool import AsyncPool
from durablecli.engine.workers.thread_pool import ThreadPool
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.events import NULL
from durablecli.model.payloads import encode
from durablecli.registry import Function

Context = df.DurableOrchestrationContext


class Recorder:
    """Makes resources that note their set-ups and tear-downs."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def make(
        self, name: str, scope: str = "process", **dependencies: Callable[..., Iterator[str]]
    ) -> Callable[..., Iterator[str]]:
        def function(**given: str) -> Iterator[str]:
            self.lines.append(f"+{name}")
            yield "/".join([*given.values(), name])
            self.lines.append(f"-{name}")

        parameters = [f"{key}=Depends(dependencies['{key}'])" for key in dependencies]
        passed = ", ".join(f"{key}={key}" for key in dependencies)
        source = f"def {name}({', '.join(parameters)}):\n    yield from function({passed})"
        names: dict[str, Any] = {"function": function, "dependencies": dependencies, "Depends": df.Depends}
        exec(source, names)  # noqa: S102 - makes a function with these parameters
        made: Callable[..., Iterator[str]] = df.resource(scope=scope)(names[name])
        return made


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def load(function: Callable[..., Any]) -> Function:
    [found] = testing.build_registry(df.activity(function) if not hasattr(function, "__durable__") else function)
    return found


def make_call(function: Function, given: object = None, n: int = 2) -> ActivityCall:
    return ActivityCall(("x", "1", n), function, encode(given), 1, False, 2, PAYLOAD_LIMIT, Cancellation())


def run(function: Callable[..., Any], given: object = None) -> Any:
    """Run an activity in this thread; return what it gave, or its failure as text."""
    loaded = load(function)
    result = make_call(loaded, given).run()
    loaded.resources.close()
    return show(result)


def show(result: ActivityResult) -> Any:
    if result.failure is not None:
        return f"{result.failure.type.rpartition('.')[2]}: {result.failure.message}"
    return msgspec.json.decode(result.result or NULL)


# ── parameters ─────────────────────────────────────────────────────────────────────────────────────────────────────


@df.resource
def one() -> Iterator[str]:
    yield "one"


@df.resource
def value() -> int:
    return 7


def after_input(text: str, found: str = df.Depends(one)) -> list[Any]:
    return [text, found]


def without_input(found: str = df.Depends(one)) -> list[Any]:
    return [found]


def before_input(found: str = df.Depends(one), text: str = "default") -> list[Any]:
    return [text, found]


def with_context(text: str, context: df.ActivityContext, found: str = df.Depends(one)) -> list[Any]:
    return [text, context.name, found]


def keywords(*, text: str, found: str = df.Depends(one), number: int = df.Depends(value)) -> list[Any]:
    return [text, found, number]


def two(text: str, found: str = df.Depends(one), *, number: int = df.Depends(value)) -> list[Any]:
    return [text, found, number]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (after_input, ["in", "one"]),
        (without_input, ["one"]),
        (before_input, ["in", "one"]),
        (with_context, ["in", "with_context", "one"]),
        (keywords, ["in", "one", 7]),
        (two, ["in", "one", 7]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_resources_never_take_the_input(function: Callable[..., Any], expected: list[Any]) -> None:
    assert run(function, "in") == expected


def test_a_plain_call_passes_the_values_itself() -> None:
    assert df.activity(after_input)("x", "mine") == ["x", "mine"]
    with pytest.raises(AttributeError, match="receives the resource 'one' in an activity that the engine runs"):
        after_input("x")[1].upper()


def test_an_annotation_of_a_resource_is_not_needed_to_decode() -> None:
    def uses(text: str, found: "Unknown" = df.Depends(one)) -> str:  # type: ignore[name-defined]  # noqa: F821, UP037
        return text

    assert load(uses).unresolved_annotations == []
    assert load(uses).signature == "uses(text: 'str') -> 'str'"


def test_activities_of_blueprints_have_resources() -> None:
    app = df.Blueprint()

    @app.activity_trigger(input_name="text")
    def uses(text: str, found: str = df.Depends(one)) -> list[str]:
        return [text, found]

    @app.orchestration_trigger(context_name="context")
    def flow(context: Any) -> Any:
        return (yield context.call_activity("uses", "in"))

    with testing.hub(app) as hub:
        assert hub.finish(hub.client.start_new("flow")).output == ["in", "one"]


# ── declarations that can't work are refused in words ──────────────────────────────────────────────────────────────


@df.resource
async def session() -> AsyncIterator[str]:
    yield "session"


def needs_arguments(path: str) -> str:
    return path


async def async_thread() -> str:
    return ""


def needs_call(found: str = df.Depends(one)) -> str:
    return found


def positional_only(found: str = df.Depends(one), /) -> str:
    return found


def needs_session(found: str = df.Depends(session)) -> str:
    return found


async def async_needs_session(found: str = df.Depends(session)) -> str:
    return found


class Counts:
    def add(self, amount: int, found: str = df.Depends(one)) -> None: ...


def counts(context: df.DurableEntityContext, found: str = df.Depends(one)) -> None: ...


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: df.Depends(needs_call), "needs_call isn't a resource: decorate it with @df.resource"),
        (lambda: df.resource(scope="request")(lambda: 1), "scope must be 'process', 'thread' or 'call', not 'request'"),
        (lambda: df.resource(needs_arguments), "its parameter 'path' needs a default value or df.Depends"),
        (lambda: df.resource(scope="thread")(async_thread), "can't have the scope 'thread'"),
        (lambda: df.resource(needs_session), "resource 'needs_session' needs the async resource 'session'"),
        (lambda: df.activity(needs_session), "activity 'needs_session' needs the async resource 'session', so it"),
        (lambda: df.activity(executor="process")(async_needs_session), "`async def` that runs in the engine"),
        (lambda: df.activity(positional_only), "parameter 'found' can't be positional-only"),
        (lambda: df.orchestrator(needs_call), "orchestrator 'needs_call' can't receive the resource 'one'"),
        (lambda: df.entity(Counts), r"operation Counts.add can't receive the resource 'one' \(parameter 'found'\)"),
        (lambda: df.entity(counts), "entity function counts can't receive the resource 'one'"),
    ],
)
def test_what_cannot_work_is_refused(declare: Callable[[], object], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        declare()


def test_a_resource_may_not_outlive_what_it_depends_on() -> None:
    narrow = df.resource(scope="call")(lambda: 1)

    def wide(found: int = df.Depends(narrow)) -> int:
        return found

    with pytest.raises(ValueError, match=r"'wide' lasts longer \(scope 'process'\)"):
        df.resource(wide)


# ── scopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_resources_are_torn_down_in_the_reverse_order(recorder: Recorder) -> None:
    base = recorder.make("base")
    middle = recorder.make("middle", "thread", below=base)
    top = recorder.make("top", "call", below=middle, again=base)

    def uses(n: object, found: str = df.Depends(top)) -> str:
        recorder.lines.append("call")
        return found

    loaded = load(uses)
    assert [show(make_call(loaded).run()) for _ in range(2)] == ["base/middle/base/top"] * 2
    assert recorder.lines == ["+base", "+middle", "+top", "call", "-top", "+top", "call", "-top"]
    loaded.resources.close()
    assert recorder.lines[8:] == ["-middle", "-base"]


def run_in_pool(pool: ThreadPool | AsyncPool, results: SimpleQueue[Any], calls: list[ActivityCall]) -> list[Any]:
    pool.start(calls)
    return [show(results.get(timeout=20)) for _ in calls]


def test_threads_that_need_a_resource_at_once_share_one_set_up() -> None:
    all_wait, set_ups = threading.Event(), []

    @df.resource
    def slow() -> Iterator[int]:
        set_ups.append(1)
        assert all_wait.wait(20)
        yield 1

    def uses(n: object, found: int = df.Depends(slow)) -> int:
        return found

    loaded = load(uses)
    results: SimpleQueue[Any] = SimpleQueue()
    pool = ThreadPool(4, results.put)
    pool.start([make_call(loaded, n, n) for n in range(4)])
    while len(pool.start_times()) < 4:
        pass
    all_wait.set()
    assert [show(results.get(timeout=20)) for _ in range(4)] == [1] * 4
    assert set_ups == [1]
    pool.stop()


def test_each_thread_has_its_own_resource_and_tears_it_down_itself() -> None:
    up: list[int] = []
    down: list[int] = []
    barrier = threading.Barrier(2)

    @df.resource(scope="thread")
    def connection() -> Iterator[int]:
        up.append(threading.get_ident())
        yield threading.get_ident()
        down.append(threading.get_ident())

    def uses(n: object, found: int = df.Depends(connection)) -> bool:
        barrier.wait(20)
        return found == threading.get_ident()

    loaded = load(uses)
    results: SimpleQueue[Any] = SimpleQueue()
    pool = ThreadPool(2, results.put)
    for k in range(3):
        assert run_in_pool(pool, results, [make_call(loaded, n, 10 * k + n) for n in range(2)]) == [True, True]
    pool.stop()
    loaded.resources.close()
    assert len(up) == 2
    assert sorted(up) == sorted(down)


def test_the_resources_of_replaced_code_are_closed_by_their_threads(recorder: Recorder) -> None:
    def make(name: str) -> Function:
        connection = recorder.make(name, "thread")

        def uses(n: object, found: str = df.Depends(connection)) -> str:
            return found

        return load(uses)

    old, new = make("old"), make("new")
    results: SimpleQueue[Any] = SimpleQueue()
    pool = ThreadPool(1, results.put)
    assert run_in_pool(pool, results, [make_call(old, 1)]) == ["old"]
    old.resources.close(timeout=0)
    assert recorder.lines == ["+old"]
    assert run_in_pool(pool, results, [make_call(new, 1)]) == ["new"]
    assert recorder.lines == ["+old", "-old", "+new"]
    pool.stop()
    new.resources.close()
    assert recorder.lines == ["+old", "-old", "+new", "-new"]


def test_async_activities_share_an_async_resource_which_ends_with_their_loop() -> None:
    lines: list[str] = []

    @df.resource
    async def client() -> AsyncIterator[str]:
        lines.append("+client")
        task = asyncio.current_task()
        await asyncio.sleep(0)
        yield "client"
        assert asyncio.current_task() is task, "some libraries want the same task"
        lines.append("-client")

    @df.resource(scope="call")
    async def request(client: str = df.Depends(client)) -> AsyncIterator[str]:
        lines.append("+request")
        yield f"request of {client}"
        lines.append("-request")

    async def uses(n: object, found: str = df.Depends(request), number: int = df.Depends(value)) -> list[Any]:
        return [found, number]

    loaded = load(uses)
    results: SimpleQueue[Any] = SimpleQueue()
    pool = AsyncPool(10, results.put)
    assert run_in_pool(pool, results, [make_call(loaded, n, n) for n in range(5)]) == [["request of client", 7]] * 5
    assert lines[0] == "+client"
    assert sorted(lines) == ["+client", *["+request"] * 5, *["-request"] * 5]
    pool.stop()
    assert lines[-1] == "-client"
    loaded.resources.close()
    assert lines.count("-client") == 1


def test_async_resources_can_be_closed_while_their_loop_runs(recorder: Recorder) -> None:
    lines: list[str] = []

    @df.resource
    async def client() -> AsyncIterator[int]:
        lines.append("+")
        yield len(lines)
        lines.append("-")

    async def uses(n: object, found: int = df.Depends(client)) -> int:
        return found

    loaded = load(uses)
    results: SimpleQueue[Any] = SimpleQueue()
    pool = AsyncPool(10, results.put)
    assert run_in_pool(pool, results, [make_call(loaded, 1)]) == [1]
    loaded.resources.close()
    assert lines == ["+", "-"]
    assert run_in_pool(pool, results, [make_call(loaded, 1)]) == [3]
    pool.stop()
    assert lines == ["+", "-"] * 2


def test_the_resources_of_replaced_code_are_torn_down_after_its_last_call() -> None:
    lines: list[str] = []
    begun, release, torn_down = threading.Event(), threading.Event(), threading.Event()

    def make() -> Callable[..., Any]:
        @df.resource
        def connection() -> Iterator[str]:
            yield "up"
            lines.append("down")
            torn_down.set()

        @df.activity
        def uses(n: object, found: str = df.Depends(connection)) -> str:
            begun.set()
            assert release.wait(20)
            lines.append("call")
            return found

        return uses

    old, new = testing.build_registry(make()), testing.build_registry(make())
    [function] = old
    results: SimpleQueue[Any] = SimpleQueue()
    pool = ThreadPool(1, results.put)
    pool.start([make_call(function, 1)])
    assert begun.wait(20)
    kept = new.resources
    old.replace_functions(new)
    assert old.resources is kept
    assert lines == []
    release.set()
    assert show(results.get(timeout=20)) == "up"
    assert torn_down.wait(20)
    assert lines == ["call", "down"]
    pool.stop()


# ── failures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_set_up_that_fails_fails_the_attempt_and_is_tried_again(recorder: Recorder) -> None:
    attempts: list[int] = []

    @df.resource
    def unreliable() -> Iterator[str]:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError(f"refused {len(attempts)}")
        yield "up"

    @df.activity
    def uses(n: object, found: str = df.Depends(unreliable)) -> str:
        return found

    @df.orchestrator
    def flow(context: Context) -> Any:
        return (yield context.call_activity_with_retry(uses, df.RetryOptions(1000, 5), 1))

    with testing.hub(uses, flow) as hub:
        status = hub.finish(hub.client.start_new(flow))
        assert status.output == "up"
    assert len(attempts) == 3


def test_an_async_set_up_that_fails_is_tried_again() -> None:
    attempts: list[int] = []

    @df.resource
    async def unreliable() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("refused")
        return "up"

    async def uses(n: object, found: str = df.Depends(unreliable)) -> str:
        return found

    loaded = load(uses)
    results: SimpleQueue[Any] = SimpleQueue()
    pool = AsyncPool(10, results.put)
    assert run_in_pool(pool, results, [make_call(loaded, 1)]) == ["ConnectionError: refused"]
    assert run_in_pool(pool, results, [make_call(loaded, 1)]) == ["up"]
    pool.stop()


@pytest.mark.parametrize("scope", ["process", "thread"])
def test_an_error_of_a_tear_down_is_logged(scope: str, caplog: pytest.LogCaptureFixture) -> None:
    @df.resource(scope=scope)
    def breaks() -> Iterator[str]:
        yield "up"
        raise OSError("still in use")

    def uses(found: str = df.Depends(breaks)) -> str:
        return found

    with caplog.at_level(logging.ERROR, "durablecli"):
        assert run(uses) == "up"
    assert "the tear-down of resource 'breaks' failed" in caplog.text
    assert "still in use" in caplog.text


def test_an_error_at_the_end_of_a_call_fails_it() -> None:
    @df.resource(scope="call")
    def transaction() -> Iterator[str]:
        yield "up"
        raise OSError("the commit failed")

    def uses(found: str = df.Depends(transaction)) -> str:
        return found

    assert run(uses) == "OSError: the commit failed"


def test_a_resource_cannot_hide_the_failure_of_its_call() -> None:
    @df.resource(scope="call")
    def greedy() -> Iterator[str]:
        with suppress(ValueError):
            yield "up"

    def uses(found: str = df.Depends(greedy)) -> str:
        raise ValueError("no")

    async def uses_async(found: str = df.Depends(greedy)) -> str:
        raise ValueError("no")

    assert run(uses) == "ValueError: no"
    assert show(asyncio.run(make_call(load(uses_async)).run_async())) == "ValueError: no"


def test_a_tear_down_that_hangs_does_not_keep_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    @df.resource
    def hangs() -> Iterator[str]:
        yield "up"
        release.wait(20)

    def uses(found: str = df.Depends(hangs)) -> str:
        return found

    loaded = load(uses)
    assert show(make_call(loaded).run()) == "up"
    loaded.resources.close(timeout=0.01)
    release.set()
    assert "takes too long" in caplog.text


# ── in tests of workflows ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_hub_for_tests_replaces_resources(recorder: Recorder) -> None:
    real = recorder.make("real")
    wrapped = recorder.make("wrapped", below=real)

    @df.activity
    def uses(n: object, found: str = df.Depends(wrapped)) -> str:
        return found

    @df.orchestrator
    def flow(context: Context) -> Any:
        return (yield context.call_activity(uses, 1))

    with testing.hub(uses, flow) as hub:
        assert hub.finish(hub.client.start_new(flow)).output == "real/wrapped"
        hub.override(real, "fake")
        assert hub.finish(hub.client.start_new(flow)).output == "fake/wrapped"
        hub.override(real, recorder.make("other"))
        assert hub.finish(hub.client.start_new(flow)).output == "other/wrapped"
        with pytest.raises(ValueError, match="lasts shorter than 'real'"):
            hub.override(real, recorder.make("short", "call"))
        with pytest.raises(ValueError, match="isn't a resource"):
            hub.override(uses, 1)
    assert [each[1:] for each in recorder.lines if each[0] == "+"] == [
        *("real", "wrapped"), "wrapped", *("other", "wrapped")
    ]  # fmt: skip
    assert sorted(each[1:] for each in recorder.lines if each[0] == "+") == sorted(
        each[1:] for each in recorder.lines if each[0] == "-"
    )
