"""Azure's decorators: the bindings they note in any order, and the functions in the registry."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

import durablecli as df
from durablecli.bindings import CloudTrigger, FunctionBindings, HttpTrigger, TimerTrigger
from durablecli.registry import Function, Registry

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Level(Enum):
    ADMIN = "admin"


class Verb(Enum):
    PUT = "PUT"


def make_registry(*apps: df.Blueprint, **functions: Any) -> Registry:
    module = ModuleType("function_app")
    vars(module).update({f"app_{k}": app for k, app in enumerate(apps)}, **functions)
    registry = Registry()
    registry.add_module(module)
    return registry


def get_function(registry: Registry, name: str) -> Function:
    function = registry.find_function(name)
    assert function is not None
    return function


def decorate(*decorators: Decorator) -> Callable[..., Any]:
    def work(req: Any, client: Any = None, box: Any = None) -> str:
        return f"{req}!"

    function: Callable[..., Any] = work
    for decorator in decorators:
        function = decorator(function)
    return function


def test_an_http_function_has_a_route_methods_and_a_client() -> None:
    app = df.DFApp(http_auth_level="anonymous")
    decorate(
        app.durable_client_input(client_name="client"),
        app.route(route="a/{id}", methods=["get", Verb.PUT]),
        app.function_name("Named"),
    )
    function = get_function(make_registry(app), "named")
    assert (function.name, function.kind, function.client_parameter) == ("Named", "http", "client")
    assert function.trigger == HttpTrigger("a/{id}", ("GET", "PUT"), "ANONYMOUS", "req")


def test_decorators_stack_in_any_order() -> None:
    app = df.DFApp()
    steps = [app.function_name("x"), app.route(methods="POST"), app.durable_client_input("client")]
    for order in (steps, steps[::-1], [steps[1], steps[0], steps[2]]):
        app.functions.clear()
        function = get_function(make_registry(app, work=decorate(*order)), "x")
        assert (function.trigger, function.client_parameter) == (
            HttpTrigger(None, ("POST",), "FUNCTION", "req"),
            "client",
        )
        assert function.call("hi") == "hi!"


def test_a_decorator_of_the_author_keeps_the_bindings() -> None:
    app = df.DFApp()

    def loud(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            return function(*arguments).upper()

        return call

    decorate(app.durable_client_input("client"), loud, app.route())
    registry = make_registry(app)
    assert len(registry) == 1
    assert registry.clashes == {}
    assert (get_function(registry, "work").client_parameter, get_function(registry, "work").call("hi")) == (
        "client",
        "HI!",
    )


@pytest.mark.parametrize(
    ("asked", "app_level", "expected"),
    [(None, None, "FUNCTION"), (None, "anonymous", "ANONYMOUS"), (Level.ADMIN, "anonymous", "ADMIN")],
)
def test_a_function_of_a_blueprint_has_its_own_auth_level_or_that_of_the_app(
    asked: Any, app_level: str | None, expected: str
) -> None:
    part = df.Blueprint()
    decorate(part.route(auth_level=asked))
    app = df.DFApp() if app_level is None else df.DFApp(http_auth_level=app_level)
    app.register_functions(part)
    app.register_blueprint(part)
    trigger = get_function(make_registry(part, app), "work").trigger
    assert isinstance(trigger, HttpTrigger)
    assert trigger.auth_level == expected


def test_an_invalid_auth_level_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid auth level 'secret'; use ANONYMOUS, FUNCTION, ADMIN"):
        df.DFApp(http_auth_level="secret")


@pytest.mark.parametrize("decorator", ["timer_trigger", "schedule"])
def test_a_timer_function_has_its_schedule(decorator: str) -> None:
    app = df.DFApp()
    decorate(getattr(app, decorator)(arg_name="req", schedule="0 0 3 * * *", run_on_startup=True, use_monitor=False))
    assert get_function(make_registry(app), "work").trigger == TimerTrigger("0 0 3 * * *", "req", True)


@pytest.mark.parametrize("given", [{}, {"methods": None}, {"methods": []}])
def test_a_route_without_methods_has_none_in_either_layout(given: dict[str, Any]) -> None:
    bindings = FunctionBindings("work")
    bindings.add("httpTrigger", "req", given)
    app = df.DFApp()
    decorate(app.route(**given))
    expected = HttpTrigger(None, None, "FUNCTION", "req")
    assert [bindings.trigger, get_function(make_registry(app), "work").trigger] == [expected, expected]


def test_functions_with_cloud_triggers_are_listed_but_not_run() -> None:
    app = df.DFApp()
    decorate(
        app.queue_trigger(arg_name="req", queue_name="q", connection="c"),
        app.blob_output(arg_name="box", path="p", connection="c"),
        app.retry(strategy="fixed_delay", max_retry_count="3"),
    )
    (function,) = make_registry(app).functions_of_kind("other")
    assert (function.trigger, function.bindings) == (CloudTrigger("queueTrigger"), {"box": "blob"})


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_an_orchestrator_of_openai_agents_is_listed_but_not_run(called: bool, inside: bool) -> None:
    app = df.DFApp()
    agent = app.durable_openai_agent_orchestrator
    both = [app.orchestration_trigger("context", "agent"), agent(model_provider=None) if called else agent]
    decorate(*(reversed(both) if inside else both))
    (function,) = make_registry(app)
    assert (function.name, function.kind, function.trigger) == ("agent", "other", CloudTrigger("openAIAgentTrigger"))


def test_a_function_without_a_trigger_is_listed() -> None:
    app = df.DFApp()
    decorate(app.durable_client_input("client"))
    assert [one.name for one in make_registry(app).functions_of_kind("other")] == ["work"]


def test_generic_decorators_use_the_terms_of_function_json() -> None:
    app = df.DFApp()
    decorate(
        app.generic_input_binding(arg_name="client", type="durableClient"),
        app.generic_output_binding(arg_name="$return", type="http"),
        app.generic_trigger(arg_name="req", type="httpTrigger", route="r", methods=["get"], authLevel="anonymous"),
    )
    function = get_function(make_registry(app), "work")
    assert function.trigger == HttpTrigger("r", ("GET",), "ANONYMOUS", "req")
    assert (function.client_parameter, function.bindings) == ("client", {})


@pytest.mark.parametrize("level", ["authLevel", "auth_level", "authlevel", "AuthLevel"])
def test_the_properties_of_a_binding_ignore_case(level: str) -> None:
    app = df.DFApp()
    decorate(
        app.generic_trigger(arg_name="req", type="HttpTrigger", Route="r", **{level: "anonymous"}),
        app.generic_output_binding(arg_name="answer", type="HTTP"),
        app.generic_input_binding(arg_name="client", type="DurableClient"),
    )
    function = get_function(make_registry(app), "work")
    assert function.trigger == HttpTrigger("r", None, "ANONYMOUS", "req")
    assert (function.client_parameter, function.response_parameter) == ("client", "answer")


def test_the_schedule_property_ignores_case() -> None:
    app = df.DFApp()
    decorate(app.generic_trigger(arg_name="t", type="TimerTrigger", schedule="0 0 3 * * *", run_on_startup=True))
    assert get_function(make_registry(app), "work").trigger == TimerTrigger("0 0 3 * * *", "t", True)
    bindings = FunctionBindings("work")
    bindings.add("Queue", "msg", {"Direction": "OUT"})
    bindings.add("QUEUETRIGGER", "x", {})
    assert (bindings.outputs, bindings.kind) == ({"msg": "Queue"}, "other")


def test_every_decorator_of_the_original_exists() -> None:
    original = pytest.importorskip("azure.functions").FunctionApp
    names = [name for name in dir(original) if name.endswith(("_trigger", "_input", "_output", "_trigger_v3"))]
    assert len(names) > 40
    for name in names:
        assert callable(getattr(df.DFApp(), name)), name


def test_a_misspelled_decorator_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'DFApp' object has no attribute 'quee_trigger'"):
        df.DFApp().quee_trigger  # noqa: B018


def test_an_http_function_can_share_the_name_of_an_orchestrator() -> None:
    app = df.DFApp()
    decorate(app.route())

    @app.orchestration_trigger("context", orchestration="work")
    def other(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
        yield

    registry = make_registry(app)
    assert registry.clashes == {}
    assert sorted(one.kind for one in registry) == ["http", "orchestrator"]
    assert registry.find_orchestrator("work") is get_function(registry, "work")
    assert [one.name for one in registry.functions_of_kind("http")] == ["work"]
