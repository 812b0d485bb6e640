"""The arguments of an activity: its input, defaults and context, for functions of every form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.limits import PAYLOAD_LIMIT


@dataclass
class Order:
    item: str


def run_activity(function: Any, *given: object) -> Any:
    """Run an activity with this input, or without one; return the result, or the failure as text."""
    [loaded] = testing.build_registry(df.activity(name="it")(function))
    raw = Raw(msgspec.json.encode(given[0] if given else None))
    told = ActivityCall(("x", "1", 2), loaded, raw, 1, False, 2, PAYLOAD_LIMIT, Cancellation()).run()
    if told.failure is not None:
        return f"{told.failure.type.rpartition('.')[2]}: {told.failure.message}"
    assert told.result is not None
    return msgspec.json.decode(told.result)


def decorator_without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgets functools.wraps."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def decorator_with_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def with_database(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds an argument."""

    @functools.wraps(function)
    def inner(order):  # type: ignore[no-untyped-def]
        return function(order, "db")

    return inner


def add(x: int, more: int = 0) -> int:
    return x + 1 + more


def greet(name: str = "World") -> str:
    return f"Hello {name}"


def greet_plain(name="World"):  # type: ignore[no-untyped-def]
    return f"Hello {name}"


def greet_with_key(name: str = "World", *, context: df.ActivityContext) -> str:
    return f"Hello {name} {context.idempotency_key}"


def key_first(context: df.ActivityContext, name: str = "World") -> str:
    return f"{context.idempotency_key} {name}"


def key_second(name: str, context) -> str:  # type: ignore[no-untyped-def]
    return f"{name} {context.idempotency_key}"


def item(order: Order, database: str = "") -> str:
    return f"{order.item} {database}"


def item_by_name(*, order: Order) -> str:
    return order.item


def several(*, order: Order, count: int, note: str = "none") -> str:
    return f"{count} {order.item} {note}"


def nothing() -> str:
    return "nothing"


def optional(x: int | None) -> int | None:
    return x


class Api:
    """An object whose methods are activities."""

    __slots__ = ("base",)

    def __init__(self, base: int) -> None:
        self.base = base

    def post(self, x: int = 1) -> int:
        return self.base + x

    async def later(self, x: int) -> int:
        return self.base + x

    def __call__(self, x: int) -> int:
        return self.base * x


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (greet, [], "Hello World"),
        (greet, [None], "Hello World"),
        (greet, ["Ann"], "Hello Ann"),
        (greet_plain, [], "Hello World"),
        (greet_with_key, [], "Hello World x/1/2"),
        (greet_with_key, ["Ann"], "Hello Ann x/1/2"),
        (key_first, [], "x/1/2 World"),
        (key_first, ["Ann"], "x/1/2 Ann"),
        (key_second, ["Ann"], "Ann x/1/2"),
        (optional, [], None),
        (nothing, [], "nothing"),
        (add, [5], 6),
        (decorator_without_wraps(add), [5], 6),
        (decorator_without_wraps(greet), [], "Hello World"),
        (decorator_without_wraps(nothing), [], "nothing"),
        (decorator_with_wraps(add), [5], 6),
        (decorator_with_wraps(item), [{"item": "pen"}], "pen "),
        (decorator_with_wraps(greet), [], "Hello World"),
        (decorator_with_wraps(key_second), ["Ann"], "Ann x/1/2"),
        (with_database(item), [{"item": "pen"}], "pen db"),
        (lambda *args: list(args), [5], [5]),
        (lambda *args: list(args), [], []),
        (lambda x, *args: [x, *args], [5], [5]),
        (lambda **kwargs: kwargs, [{"a": 1}], {"a": 1}),
        (lambda **kwargs: kwargs, [], {}),
        (lambda **kwargs: kwargs, [5], ("Mismatch: $: activity 'it' takes keyword arguments only, so its input must be "
         "an object")),
        (item_by_name, [{"item": "pen"}], "pen"),
        (several, [{"order": {"item": "pen"}, "count": 2}], "2 pen none"),
        (several, [{"order": {"item": "pen"}, "size": 2}], "Mismatch: $.size: activity 'it' has no parameter 'size'"),
        (functools.partial(add, more=10), [5], 16),
        (functools.partial(lambda y, x: x - y, 10), [5], -5),
        (Api(7).post, [5], 12),
        (Api(7).post, [], 8),
        (Api(7), [5], 35),
        (len, ["abc"], 3),
        (decorator_with_wraps(Api(7).post), [5], 12),
    ],
)  # fmt: skip
def test_the_input_reaches_the_function(function: Any, given: list[object], expected: object) -> None:
    assert run_activity(function, *given) == expected


@pytest.mark.parametrize("decorate", [lambda each: each, decorator_without_wraps])
def test_an_asynchronous_method_is_awaited(decorate: Callable[[Any], Any]) -> None:
    later = df.activity(name="later")(decorate(Api(7).later))

    @df.orchestrator
    def flow(context: df.DurableOrchestrationContext) -> Any:
        value = yield context.call_activity(later, 5)
        return value

    with testing.hub(flow, later) as hub:
        assert hub.finish(hub.client.start_new(flow)).output == 12


def test_a_method_can_be_called_by_itself_and_by_an_orchestrator() -> None:
    api = Api(7)
    post = df.activity(name="post")(api.post)
    assert post(5) == 12

    @df.orchestrator
    def flow(context: df.DurableOrchestrationContext) -> Any:
        return [(yield context.call_activity(post, 1)), (yield context.call_activity("post"))]

    with testing.hub(flow, post) as hub:
        assert hub.finish(hub.client.start_new(flow)).output == [8, 8]
        place = hub.registry.find_activity("post")
        assert place is not None
        assert place.source_location.startswith(f"{__file__}:")


@pytest.mark.parametrize("nameless", [functools.partial(add, more=1), Api(1)])
def test_a_callable_without_a_name_needs_one(nameless: Any) -> None:
    with pytest.raises(TypeError, match=r"has no name: write @df.activity\(name=...\)"):
        df.activity(nameless)


@dataclass
class Rush(Order):
    hours: int = 2


def rush(x: None) -> Order:
    return Rush("tea")


def rushes(x: None) -> list[Order]:
    return [Rush("tea")]


def either(x: None) -> Order | Rush:
    return Rush("tea")


def test_a_result_that_would_lose_fields_of_a_subclass_fails() -> None:
    expected = "Unserializable: $: a Rush, where the annotation says Order: hours would be lost; annotate it as "
    assert run_activity(rush) == expected + "Order | Rush"
    assert run_activity(rushes).startswith("Unserializable: $[0]: a Rush, where the annotation says Order")
    assert run_activity(either) == {"item": "tea", "hours": 2}


def test_a_sub_orchestration_result_that_would_lose_fields_fails() -> None:
    @df.orchestrator
    def child(context: Any) -> Order:
        return Rush("tea")

    @df.orchestrator
    def parent(context: Any) -> Any:
        yield context.call_sub_orchestrator(child)

    with testing.hub(child, parent) as hub:
        status = hub.finish(hub.client.start_new(parent))
        assert "a Rush, where the annotation says Order" in str(status.output)
        alone = hub.finish(hub.client.start_new(child))
        assert alone.output == {"item": "tea", "hours": 2}  # no caller reads it by the annotation
