"""Classes of exceptions to raise in an orchestrator: each is a TaskFailedError and one class that its module knows.

The author's class only decides which `except` catches the exception. Its constructor, its metaclass and its overrides
of an exception's own behaviour don't run, because they may need state that only the constructor sets.
"""

from __future__ import annotations

import functools
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

from durablecli.errors import TaskFailedError
from durablecli.model.raw_attributes import (
    get_args,
    get_class_dict,
    get_dict,
    get_flags,
    get_group_members,
    get_mro,
    set_args,
)

_HEAP_TYPE_FLAG = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class of Python code, or one of an extension that allocates as its base does."""

TASK_FAILED_TYPE = "durablecli.errors.TaskFailedError"
"""The name of its type in histories."""


class IncompatibleExceptionType(Exception):
    """No class can be both a TaskFailedError and this one."""


def make_task_failed_error(found: type[Exception] | None) -> Exception:
    """Make a TaskFailedError that is also a `found`; raises IncompatibleExceptionType if that can't be."""
    if found is None or found is Exception:
        return TaskFailedError.__new__(TaskFailedError)
    made: Exception | None = _make_factory(_IdentityKey(found))()
    if made is None:
        raise IncompatibleExceptionType
    return made


def init_task_failed_error(error: Exception, message: str, failure: object) -> None:
    """Set message and failure of a TaskFailedError. One that is a group contains another with the same text."""
    set_args(error, (message,))
    get_dict(error)["failure"] = failure
    if issubclass(type(error), BaseExceptionGroup):
        for member in get_group_members(error):
            init_task_failed_error(member, message, failure)


class _IdentityKey:
    """A class as a key of a cache, by identity: its metaclass may override comparison and hashing."""

    __slots__ = ("kind",)

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and self.kind is other.kind

    def __hash__(self) -> int:
        return id(self.kind)


@functools.lru_cache(maxsize=1024)
def _make_factory(key: _IdentityKey) -> Callable[[], Exception | None]:
    """Return what makes instances of a combined class, or None if that can't be made."""
    try:
        kind = _make_combined_class(key.kind)
        make: Callable[[], Exception] = functools.partial(get_class_dict(kind)["__new__"].__func__, kind)
        error = make()
        init_task_failed_error(error, "", None)
        if not (issubclass(type(error), Exception) and str(error) == ""):
            return _return_none
    except BaseException:  # noqa: BLE001 - user code: a metaclass may raise anything
        return _return_none
    return make


def _return_none() -> None:
    return None


def _make_combined_class(found: type[Exception]) -> Any:
    module, _, name = TASK_FAILED_TYPE.rpartition(".")
    plain = {"__module__": module, "__qualname__": name, "__new__": staticmethod(_make_allocator(found))}
    for each, replacement in _OVERRIDES.items():
        if any(each in get_class_dict(base) for base in get_mro(found)):
            plain[each] = replacement
    bases = (ExceptionBehaviour, TaskFailedError, found)
    metaclass: Any = type(found)
    if metaclass is type or metaclass is ABCMeta:
        kind = metaclass(name, bases, plain)
    else:
        kind = type.__new__(metaclass, name, bases, plain)  # without running the author's __new__ and __init__
    linear = get_mro(kind)  # a metaclass may have its own order
    if linear[0] is not kind or not all(any(base is each for each in linear) for base in bases):
        raise IncompatibleExceptionType
    return kind


def _make_allocator(found: type) -> Callable[..., Any]:
    """Return a `__new__` that calls the one of the built-in base and ignores arguments."""
    built_in: Any = next(base for base in get_mro(found) if not get_flags(base) & _HEAP_TYPE_FLAG)
    if issubclass(built_in, BaseExceptionGroup):

        def new_group(kind: type, message: str = "", *_: object) -> Any:
            return built_in.__new__(kind, message, [make_task_failed_error(None)])

        return new_group

    def new(kind: type, *_: object) -> Any:
        return built_in.__new__(kind)

    return new


def _exception_behaviour() -> dict[str, Any]:
    """Return an exception's own behaviour, which hides the overrides of the author's class."""
    own = {name: value for name, value in vars(BaseException).items() if name not in ("__new__", "__doc__", "__dict__")}
    plain = {name: vars(object)[name] for name in ("__eq__", "__ne__", "__hash__", "__format__", "__reduce_ex__")}
    return (
        own
        | plain
        | {
            "__class__": vars(object)["__class__"],
            "__init__": _init_error,
            "__bool__": lambda self: True,
            "__str__": lambda self: str(_first_argument(self)),
            "__init_subclass__": classmethod(lambda cls, **_: None),
            "failure": property(lambda self: get_dict(self).get("failure"), _set_failure),
        }
    )


def _set_failure(self: Any, failure: object) -> None:
    get_dict(self)["failure"] = failure


def _init_error(self: Any, message: str = "", failure: object = None) -> None:
    init_task_failed_error(self, message, failure)


def _first_argument(self: Any) -> object:
    arguments = get_args(self)
    return arguments[0] if arguments else ""


def _raise_missing_attribute(self: Any, name: str) -> Any:
    """Replaces a `__getattr__`, which may use state that only the constructor sets."""
    raise AttributeError(f"'TaskFailedError' object has no attribute '{name}'", name=name, obj=self)


ExceptionBehaviour = type("ExceptionBehaviour", (), _exception_behaviour())
"""The first base of combined classes. Failures don't record it."""
_OVERRIDES: dict[str, Any] = {
    "__del__": lambda self: None,
    "__getattr__": _raise_missing_attribute,
    **{name: vars(BaseExceptionGroup)[name] for name in ("derive", "split", "subgroup")},
}
"""Replacements for these methods, if the author's class has them."""
