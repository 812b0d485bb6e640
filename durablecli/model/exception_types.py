"""Classes of exceptions to raise in an orchestrator: each is a TaskFailedError and one class that its module knows.

The author's class decides nothing but what `except` catches: its constructor, its metaclass and whatever it overrides
of an exception's own behaviour don't run, as they may need what only the constructor would have set.
"""

from __future__ import annotations

import functools
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

_DICT: Any = vars(BaseException)["__dict__"].__get__
_ARGS: Any = vars(BaseException)["args"].__set__
_MRO: Any = vars(type)["__mro__"].__get__
_FLAGS: Any = vars(type)["__flags__"].__get__
_MEMBERS: Any = vars(type)["__dict__"].__get__
_EXCEPTIONS: Any = vars(BaseExceptionGroup)["exceptions"].__get__
_MADE_BY_A_STATEMENT = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class of Python code's, or of an extension's that allocates as its base does."""

TASK_FAILED = "durablecli.errors.TaskFailedError"


class Refusal(Exception):
    """No class can be made that is a TaskFailedError and this one as well."""


def make_exception(found: type[Exception] | None) -> Exception:
    """An instance of TaskFailedError that is a `found` as well; raises Refusal where that can't be."""
    if found is None or found is Exception:
        from durablecli.errors import TaskFailedError  # errors is built on failures, so this can't stand at the head

        return TaskFailedError.__new__(TaskFailedError)
    made: Exception | None = _maker(_Identity(found))()
    if made is None:
        raise Refusal
    return made


def fill(error: Exception, message: str, failure: object) -> None:
    """Set what every TaskFailedError has; one that is a group holds another, of the same text."""
    _ARGS(error, (message,))
    _DICT(error)["failure"] = failure
    if issubclass(type(error), BaseExceptionGroup):
        for member in _EXCEPTIONS(error):
            fill(member, message, failure)


class _Identity:
    """A class as a key of a cache: its metaclass may compare and hash as it likes."""

    __slots__ = ("kind",)

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.kind is other.kind

    def __hash__(self) -> int:
        return id(self.kind)


@functools.lru_cache(maxsize=1024)
def _maker(key: _Identity) -> Callable[[], Exception | None]:
    """Makes instances of a new class; None where such a class or its instances can't be made."""
    try:
        kind = _combine(key.kind)
        make: Callable[[], Exception] = functools.partial(_MEMBERS(kind)["__new__"].__func__, kind)
        error = make()
        fill(error, "", None)
        if not (issubclass(type(error), Exception) and str(error) == ""):
            return _none
    except BaseException:  # noqa: BLE001 - user code: a metaclass may do as it likes
        return _none
    return make


def _none() -> None:
    return None


def _combine(found: type[Exception]) -> Any:
    from durablecli.errors import TaskFailedError

    module, _, name = TASK_FAILED.rpartition(".")
    plain = {"__module__": module, "__qualname__": name, "__new__": staticmethod(_allocator(found))}
    for each, replacement in _REPLACED.items():
        if any(each in _MEMBERS(base) for base in _MRO(found)):
            plain[each] = replacement
    bases = (OwnBehaviour, TaskFailedError, found)
    metaclass: Any = type(found)
    if metaclass is type or metaclass is ABCMeta:
        kind = metaclass(name, bases, plain)
    else:
        kind = type.__new__(metaclass, name, bases, plain)  # without running the author's __new__ and __init__
    linear = _MRO(kind)  # a metaclass may have its own order
    if linear[0] is not kind or not all(any(base is each for each in linear) for base in bases):
        raise Refusal
    return kind


def _allocator(found: type) -> Callable[..., Any]:
    """`__new__` of the base that decides how instances are laid out; arguments for the author's own are ignored."""
    built_in: Any = next(base for base in _MRO(found) if not _FLAGS(base) & _MADE_BY_A_STATEMENT)
    if issubclass(built_in, BaseExceptionGroup):

        def new_group(kind: type, message: str = "", *_: object) -> Any:
            return built_in.__new__(kind, message, [make_exception(None)])

        return new_group

    def new(kind: type, *_: object) -> Any:
        return built_in.__new__(kind)

    return new


def _behaviour() -> dict[str, Any]:
    """How an exception behaves by itself, in front of what the author's class overrides of it."""
    own = {name: value for name, value in vars(BaseException).items() if name not in ("__new__", "__doc__", "__dict__")}
    plain = {name: vars(object)[name] for name in ("__eq__", "__ne__", "__hash__", "__format__", "__reduce_ex__")}
    return (
        own
        | plain
        | {
            "__class__": vars(object)["__class__"],
            "__init__": _init,
            "__bool__": lambda self: True,
            "__str__": lambda self: str(_first(self)),
            "__init_subclass__": classmethod(lambda cls, **_: None),
            "failure": property(lambda self: _DICT(self).get("failure"), _set_failure),
        }
    )


def _set_failure(self: Any, failure: object) -> None:
    _DICT(self)["failure"] = failure


def _init(self: Any, message: str = "", failure: object = None) -> None:
    fill(self, message, failure)


def _first(self: Any) -> object:
    arguments = vars(BaseException)["args"].__get__(self)
    return arguments[0] if arguments else ""


def _missing(self: Any, name: str) -> Any:
    """Stands in for a `__getattr__`, which would look for what the constructor has set."""
    raise AttributeError(f"'TaskFailedError' object has no attribute '{name}'", name=name, obj=self)


OwnBehaviour = type("OwnBehaviour", (), _behaviour())
"""The first base of what is made; it is no part of what a failure's type is recorded as."""
_REPLACED: dict[str, Any] = {
    "__del__": lambda self: None,
    "__getattr__": _missing,
    **{name: vars(BaseExceptionGroup)[name] for name in ("derive", "split", "subgroup")},
}
"""Stand in front of these where the author's class has them."""
