"""An orchestrator catches the exception of its activity, whatever its class rejects or overrides."""

from __future__ import annotations

import copy
import itertools
from abc import ABC, ABCMeta, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, NoReturn, TypeVar

import attrs
import pytest

import durablecli as df
from durablecli import testing

T = TypeVar("T")


class TakesNoAttributes(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("no attribute can be set")


@attrs.frozen
class FrozenAttrs(Exception):
    code: int


@dataclass(frozen=True)
class FrozenData(Exception):
    code: int


@dataclass
class Unhashable(Exception):
    code: int

    def __repr__(self) -> str:
        return f"{self.missing}"  # type: ignore[attr-defined]  # what only a constructor would have set


class WithSlots(Exception):
    __slots__ = ("_secret", "args", "code", "failure")

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class RequiresArguments(Exception):
    def __new__(cls, one: int, *, two: int) -> RequiresArguments:
        return super().__new__(cls)

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(one, two)


class RaisesWhenRead(Exception):
    """Its properties need state that the constructor sets."""

    def _read(self) -> NoReturn:
        raise RuntimeError("not made by its constructor")

    failure = args = __cause__ = __context__ = __traceback__ = __suppress_context__ = property(_read)
    outcomes = property(_read)


class AnswersToEveryName(Exception):
    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __getattribute__(self, name: str) -> Any:
        if name in ("failure", "args", "__class__", "__dict__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Overrides(Exception):
    def _refuse(self, *arguments: object, **more: object) -> NoReturn:
        raise RuntimeError("not made by its constructor")

    __eq__ = __ne__ = __hash__ = __bool__ = __str__ = __repr__ = __format__ = _refuse
    __reduce__ = __reduce_ex__ = __setstate__ = __delattr__ = with_traceback = add_note = _refuse

    def __del__(self) -> None:
        assert self.args[0] == "x"


class Counted(type):
    made: list[str] = []  # noqa: RUF012 - a metaclass takes no ClassVar

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Counted:
        if name not in ("OfMetaclass",):
            raise TypeError(f"{name} is one too many")
        return super().__new__(cls, name, bases, namespace)

    def __call__(cls, *arguments: object) -> NoReturn:
        raise TypeError("use make()")

    def __hash__(cls) -> int:
        raise TypeError("unhashable class")

    def __eq__(cls, other: object) -> bool:
        raise TypeError("incomparable class")

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError("a constant class")


class OfMetaclass(Exception, metaclass=Counted):
    pass


class AbstractOne(ABC, Exception):
    @abstractmethod
    def code(self) -> int: ...


class ConcreteOne(AbstractOne):
    def code(self) -> int:
        return 1


class NoSubclass(ValueError):
    def __init_subclass__(cls, *, required: int) -> None:
        raise TypeError("final")


class OfGeneric(Exception, Generic[T]):
    pass


class OfSystem(OSError):
    def __init__(self, path: str, *, why: int) -> None:
        super().__init__(why, "no way", path)


class Undecodable(UnicodeDecodeError):
    pass


class Group(ExceptionGroup[Exception]):
    def derive(self, excs: Any) -> NoReturn:
        raise RuntimeError("not made by its constructor")


class BaseGroup(BaseExceptionGroup[Exception], Exception):
    pass


class Shadows(Exception):
    def __init__(self) -> None:
        super().__init__("shadows")
        self.failure = "of the disk"
        self.outcomes = itertools.count()
        self.args = ("shadows",)
        self.with_traceback = self.add_note = None  # type: ignore[assignment]


class Proxy:
    """A proxy that finds its object when used, as in web frameworks."""

    def _find(self) -> NoReturn:
        raise RuntimeError("working outside of a request")

    __class__ = property(_find)

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError("working outside of a request")


class LazyModule(ModuleType):
    def __getattribute__(self, name: str) -> NoReturn:
        raise ImportError("can't be loaded now")


request = Proxy()
numbers = LazyModule("numbers")

exception_factories = {
    TakesNoAttributes: lambda: TakesNoAttributes(3),
    FrozenAttrs: lambda: FrozenAttrs(3),
    FrozenData: lambda: FrozenData(3),
    Unhashable: lambda: Unhashable(3),
    WithSlots: lambda: WithSlots(3),
    RequiresArguments: lambda: RequiresArguments(1, two=2),
    RaisesWhenRead: lambda: RaisesWhenRead("x"),
    AnswersToEveryName: lambda: AnswersToEveryName("x"),
    Overrides: lambda: Overrides("x"),
    ConcreteOne: lambda: ConcreteOne("x"),
    NoSubclass: lambda: NoSubclass("x"),
    OfGeneric: lambda: OfGeneric("x"),
    OfSystem: lambda: OfSystem("x", why=2),
    Undecodable: lambda: Undecodable("utf-8", b"x", 0, 1, "why"),
    Group: lambda: Group("several", [ValueError("a")]),
    BaseGroup: lambda: BaseGroup("several", [ValueError("a")]),
    Shadows: Shadows,
}
metaclassed = Exception.__new__(OfMetaclass)


@df.activity
def fail(name: str) -> None:
    if name == "OfMetaclass":
        raise metaclassed
    raise next(make() for kind, make in exception_factories.items() if kind.__name__ == name)


@pytest.mark.parametrize("replay_always", [False, True])
@pytest.mark.parametrize("kind", [*exception_factories, OfMetaclass], ids=lambda kind: kind.__name__)
def test_an_orchestrator_catches_it_by_its_class_and_as_a_failed_task(kind: Any, replay_always: bool) -> None:
    @df.orchestrator
    def by_class(context: df.DurableOrchestrationContext) -> Any:
        try:
            yield context.call_activity(fail, type.__getattribute__(kind, "__name__"))
        except kind as error:
            return check_caught(error)

    @df.orchestrator
    def as_a_failed_task(context: df.DurableOrchestrationContext) -> Any:
        try:
            yield context.task_all([context.call_activity(fail, type.__getattribute__(kind, "__name__"))])
        except df.TaskFailedError as error:
            found = check_caught(error)
            yield context.create_timer(context.current_utc_datetime)
            return found

    with testing.hub(fail, by_class, as_a_failed_task, replay_always=replay_always) as hub:
        for function in (by_class, as_a_failed_task):
            status = hub.finish(hub.client.start_new(function))
            assert status.runtime_status is df.OrchestrationRuntimeStatus.Completed, status.output
            assert status.output == [type.__getattribute__(kind, "__name__"), True]


def check_caught(error: Any) -> Any:
    """Use a caught exception as an orchestrator may."""
    assert error
    assert error == error
    assert {error: 1}[error] == 1
    assert str(error) == f"{error}" == error.args[0]
    assert repr(error)
    assert str(error).startswith("Activity function 'fail' failed: ")
    assert getattr(error, "nothing of this name", None) is None
    error.note = 1
    if not isinstance(error, OfMetaclass):
        assert str(copy.copy(error)) == str(error)
    assert error.__cause__ is None
    error.add_note("noted")
    return [error.failure.type.rpartition(".")[2], error.with_traceback(None) is error]


@pytest.mark.parametrize("kind", [*exception_factories, OfMetaclass], ids=lambda kind: kind.__name__)
def test_an_uncaught_one_fails_the_orchestration_and_its_parent_catches_it(kind: Any) -> None:
    @df.orchestrator
    def child(context: df.DurableOrchestrationContext) -> Any:
        yield context.call_activity(fail, type.__getattribute__(kind, "__name__"))

    @df.orchestrator
    def parent(context: df.DurableOrchestrationContext) -> Any:
        try:
            yield context.call_sub_orchestrator(child)
        except kind as error:
            raise RuntimeError("in the parent") from error

    with testing.hub(fail, child, parent) as hub:
        instance = hub.client.start_new(parent)
        status = hub.finish(instance)
        assert "in the parent" in status.output
        hub.client.rewind(instance, "once more")
        assert "in the parent" in hub.finish(instance).output


def test_metaclasses_notice_no_new_class() -> None:
    assert not [kind for kind in AbstractOne.__subclasses__() if type(kind) is not ABCMeta]
    assert Counted.made == []


def test_a_payload_that_does_not_fit_may_raise_an_exception_that_refuses_attributes() -> None:
    @df.orchestrator
    def flow(context: df.DurableOrchestrationContext) -> Any:
        try:
            yield context.task_all([context.call_activity(give, 1, expected_type=Picky)])
        except TakesNoAttributes:
            return "caught"

    with testing.hub(give, flow) as hub:
        assert hub.finish(hub.client.start_new(flow)).output == "caught"


@dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        raise TakesNoAttributes


@df.activity
def give(_: int) -> dict[str, int]:
    return {"x": 1}


def test_an_infinite_attribute_named_like_ours_does_not_hang_the_end() -> None:
    @df.orchestrator
    def flow(context: df.DurableOrchestrationContext) -> Any:
        raise Shadows
        yield

    with testing.hub(flow) as hub:
        status = hub.finish(hub.client.start_new(flow))
        assert "shadows" in status.output
