"""A failure as it is recorded: what was raised, where, and what caused it; and the exception it becomes again.

What an orchestrator catches is always a TaskFailedError, and also of the most derived recorded class that its module
knows: a property of the code, so replay raises the same type in every process.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import msgspec

LONGEST_TEXT = 64 * 1024
DEEPEST = 20
_TASK_FAILED = "durablecli.errors.TaskFailedError"


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception and its cause chain.

    `type` is the qualified name (`builtins.ValueError`); `bases` the qualified names of the rest of its MRO,
    without `object` and `BaseException`; `message` and `traceback` have at most 64 KiB each.
    """

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""
    cause: Failure | None = None

    def is_caused_by(self, kind: builtins.type[BaseException] | str) -> bool:
        """Whether what was raised is a `kind`: a class, its qualified name, or its bare name."""
        if kind in (object, BaseException):
            return True
        name = kind if isinstance(kind, str) else qualified_name(kind)
        names = (self.type, *self.bases)
        return name in names or ("." not in name and any(known.rpartition(".")[2] == name for known in names))


def qualified_name(kind: type) -> str:
    """`module.qualname`: what a class is called in a history."""
    return f"{kind.__module__}.{kind.__qualname__}"


# ── recording ──────────────────────────────────────────────────────────────────────────────────────────────────────


def from_exception(error: BaseException) -> Failure:
    """The record of an exception: it holds nothing of the process, and its size is bounded.

    An exception is code of its author's: whatever is asked of it may raise anything, and it is recorded all the same.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < DEEPEST and not any(link is seen for seen in chain):
        chain.append(link)
        link = None if _recorded(link) else cause_of(link)
    failure = _recorded(chain[-1])
    for link in reversed(chain):
        failure = _one(link, failure)
    assert failure is not None
    return failure


def _recorded(error: BaseException) -> Failure | None:
    """The failure that an awaited task brought along: better than what Python remembers of it here."""
    try:
        failure = getattr(error, "failure", None)
    except BaseException:  # noqa: BLE001 - user code
        return None
    return failure if issubclass(type(failure), Failure) else None


def cause_of(error: BaseException) -> BaseException | None:
    """What an exception was raised from, or else while; asks no code of the author's."""
    cause: BaseException | None = _CAUSE(error)
    if cause is not None:
        return cause
    return None if _IS_SUPPRESSED(error) else _CONTEXT(error)


# As Python itself keeps them: a class of the author's may say something else, or raise.
_CAUSE: Any = vars(BaseException)["__cause__"].__get__
_CONTEXT: Any = vars(BaseException)["__context__"].__get__
_IS_SUPPRESSED: Any = vars(BaseException)["__suppress_context__"].__get__
_MRO: Any = vars(type)["__mro__"].__get__


def _one(error: BaseException, cause: Failure | None) -> Failure:
    kind = type(error)
    name = _name(kind)
    bases = dict.fromkeys(_name(base) for base in _MRO(kind) if not any(base is each for each in _UNNAMED))
    bases.pop(name, None)
    try:
        message = str.__str__(str(error))
    except BaseException as reason:  # noqa: BLE001 - user code
        message = f"<no text: its __str__ raised {_name(type(reason)).rpartition('.')[2]}>"
    return Failure(name, _start(message), tuple(bases), _end(_traceback(error)), cause)


def _name(kind: type) -> str:
    try:
        return _valid(qualified_name(kind))
    except BaseException:  # noqa: BLE001 - user code: a metaclass may do as it likes
        return "builtins.Exception"


def _traceback(error: BaseException) -> str:
    import traceback  # slow to import, and most processes never need it

    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__, chain=False))
    except BaseException as reason:  # noqa: BLE001 - user code
        return f"<no traceback: formatting it raised {_name(type(reason)).rpartition('.')[2]}>"


def _valid(text: str) -> str:
    """The text with lone surrogates escaped, which UTF-8 can't hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _start(text: str) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST_TEXT:
        return data.decode()
    return data[: LONGEST_TEXT - 4].decode("utf-8", "ignore") + "…"


def _end(text: str) -> str:
    """The end of a traceback is where the error is."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST_TEXT:
        return data.decode()
    return "…" + data[4 - LONGEST_TEXT :].decode("utf-8", "ignore")


# ── raising again ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Raised:
    """What a TaskFailedError that is a recorded class too takes from neither of them."""

    args: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.args[0])

    def __init_subclass__(cls, **_: Any) -> None:
        """Keeps the hook of the recorded class out of it: user code must not notice that a class was made."""


_UNNAMED = (object, BaseException, _Raised)
_NOT_RAISED = (StopIteration, StopAsyncIteration)  # a generator would turn them into a RuntimeError


def to_exception(failure: Failure, message: str, globals: Mapping[str, Any]) -> Exception:
    """What to raise for a failed task in an orchestrator whose module has these globals.

    It is a TaskFailedError with `failure` and the text `message`; made without running the constructor of the
    recorded type, whose arguments nobody knows any more.
    """
    known: Any = _known_class(failure, globals)
    error: Exception = _maker(known)()
    error.args = (message,)
    error.__dict__["failure"] = failure
    return error


def _known_class(failure: Failure, names: Mapping[str, Any]) -> type[Exception] | None:
    """The most derived class of the recorded MRO among the built-ins and what the module's names lead to."""
    for name in (failure.type, *failure.bases):
        if name == _TASK_FAILED:
            continue
        for found in _candidates(name, names):
            if isinstance(found, type) and issubclass(found, Exception) and qualified_name(found) == name:
                return None if issubclass(found, _NOT_RAISED) else found
    return None


def _candidates(name: str, names: Mapping[str, Any]) -> Iterator[Any]:
    module, _, last = name.rpartition(".")
    if module == "builtins":
        yield getattr(builtins, last, None)
        return
    for value in list(names.values()):
        # `import requests` and `except requests.HTTPError` know the class as well
        yield vars(value).get(last) if isinstance(value, ModuleType) else value


@functools.lru_cache(maxsize=1024)
def _maker(found: type[Exception] | None) -> Callable[[], Any]:
    """What makes a TaskFailedError that is a `found` as well, where the two go together."""
    from durablecli.errors import TaskFailedError  # errors is built on Failure, so this can't stand at the head

    plain = functools.partial(TaskFailedError.__new__, TaskFailedError)
    if found is None:
        return plain
    module, _, name = _TASK_FAILED.rpartition(".")
    try:
        kind = type(name, (_Raised, TaskFailedError, found), {"__module__": module, "__qualname__": name})
        built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        made = functools.partial(built_in.__new__, kind)
        made()
    except Exception:  # noqa: BLE001 - layouts that don't go together, a metaclass or a __new__ that refuses
        return plain
    return made
