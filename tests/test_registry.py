"""Entities in the registry: how they are found and shown, and what can't be one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.registry import Function, Registry
from durablecli.replay.function_marks import FunctionMark, function_name
from tests.support.call_counter import count_calls


@df.entity
def tally(context: df.DurableEntityContext) -> None: ...


@df.entity(name="Money Box")
class Purse(df.DurableEntity):
    held: int = 0

    def add(self, amount: int, context: df.DurableEntityContext) -> None: ...

    async def get(self) -> int:
        return self.held


def make_registry(**names: Any) -> Registry:
    """Make the registry of a module `app.box` with these names."""
    module = ModuleType("app.box")
    vars(module).update(names)
    registry = Registry()
    registry.add_module(module)
    return registry


def get_entity(registry: Registry, name: str) -> Function:
    function = registry.find_entity(name)
    assert function is not None
    assert function.kind == "entity"
    return function


def test_entities_are_found_without_case_and_only_as_entities() -> None:
    registry = testing.build_registry(tally, Purse)
    assert (get_entity(registry, "TALLY").call, get_entity(registry, "money box").call) == (tally, Purse)
    assert (registry.find_activity("tally"), registry.find_orchestrator("tally")) == (None, None)


def test_operations_of_a_class_are_shown_with_their_location() -> None:
    registry = testing.build_registry(tally, Purse)
    assert get_entity(registry, "money box").signature == "Money Box{add(amount: int) -> None, get() -> int}"
    places = [each.source_location for each in registry]
    lines = [int(place.removeprefix(f"{__file__}:")) for place in places]
    text = Path(__file__).read_text().splitlines()
    assert [text[line - 1] for line in lines] == ['@df.entity(name="Money Box")', "@df.entity"]


def test_a_subclass_or_an_instance_of_an_entity_is_not_an_entity() -> None:
    class Sub(Purse):
        def __call__(self) -> None: ...

    assert len(make_registry(Sub=Sub, sub=Sub())) == 0
    assert len(make_registry(Purse=Purse, again=Purse, sub=Sub())) == 1


def test_a_handle_is_named_after_its_module() -> None:
    def work(context: df.DurableEntityContext) -> None: ...

    main = df.Entity.create(work)
    assert get_entity(make_registry(main=main), "box").call is main.entity_function is work
    with pytest.raises(TypeError, match="decorates a function or a class, not int"):
        df.Entity.create(5)  # type: ignore[arg-type]


def test_a_blueprint_declares_entities() -> None:
    app, part = df.DFApp(), df.Blueprint()

    @part.entity_trigger(context_name="context")
    def first(context: df.DurableEntityContext) -> None: ...

    @part.entity_trigger("context", entity_name="other")
    class Second: ...

    app.register_functions(part)
    registry = make_registry(app=app)
    assert (get_entity(registry, "first").call, get_entity(registry, "OTHER").call) == (first, Second)


def generator(context: df.DurableEntityContext) -> Generator[None]:
    yield


def nothing() -> None: ...


def three(context: df.DurableEntityContext, value: int, other: int) -> None: ...


class Yields:
    def go(self) -> Generator[None]:
        yield


class TakesTwo:
    def move(self, to: str, amount: int = 1) -> None: ...


class TakesNamed:
    def move(self, *, to: str) -> None: ...


class NeedsArguments:
    def __init__(self, start: int) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (generator, "generator is a generator function"),
        (nothing, "called with its context alone, but nothing isn't: too many positional"),
        (three, "its context alone, but three isn't: missing a required argument: 'other'"),
        (Yields, "Yields.go is a generator function: an operation returns its result"),
        (TakesTwo, "TakesTwo.move takes to, amount: an operation takes at most one positional input"),
        (TakesNamed, "TakesNamed.move takes to: an operation takes at most one positional input"),
        (NeedsArguments, "created without arguments, but NeedsArguments isn't: missing a required"),
    ],
)
def test_the_decorator_rejects_what_cannot_be_an_entity(wrong: Callable[..., Any], text: str) -> None:
    for decorate in (df.entity, df.entity(name="other"), df.Entity.create, df.Blueprint().entity_trigger("context")):
        with pytest.raises(TypeError, match=text):
            decorate(wrong)


@pytest.mark.parametrize("name", ["a@b", "x" * 300, "a\nb"])
def test_the_decorator_rejects_an_invalid_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"Entity name|the id of an entity"):
        df.entity(name=name)(lambda context: None)


def test_an_entity_is_not_an_activity() -> None:
    with pytest.raises(ValueError, match="tally is an entity; an activity is needed here"):
        function_name(tally, "activity")


def test_a_function_that_was_found_is_found_without_a_search_until_the_registry_changes() -> None:
    registry = testing.build_registry(tally)
    assert count_calls(lambda: registry.find_entity("tally")) > 5
    assert count_calls(lambda: registry.find_entity("tally")) <= 5
    found = get_entity(registry, "tally")
    registry.remove(found)
    assert registry.find_entity("tally") is None
    registry.add_function(found)
    assert get_entity(registry, "tally") is found
    registry.add_function(Function(FunctionMark("entity", "Tally"), lambda context: None, "other"))
    assert registry.find_entity("tally") is None


def test_an_entity_class_is_shown_although_its_file_is_broken_by_now(tmp_path: Path) -> None:
    source = "import durablecli as df\n\n\n@df.entity\nclass Total:\n    def add(self) -> None: ...\n"
    file = tmp_path / "broken_later.py"
    file.write_text(source)
    module = ModuleType("broken_later")
    module.__file__ = str(file)
    sys.modules["broken_later"] = module
    try:
        exec(compile(source, str(file), "exec"), vars(module))  # noqa: S102
        registry = Registry()
        registry.add_module(module)
        file.write_text(f"{source}def (:\n")
        assert [each.source_location for each in registry] == ["broken_later"]
        registry = Registry()
        registry.add_module(module)
        file.write_text(source)
        assert [each.source_location for each in registry] == [f"{file}:4"]
    finally:
        del sys.modules["broken_later"]
