"""A failure as it is recorded: what was raised, where, and what caused it; and the exception it becomes again.

What an orchestrator catches is always a TaskFailedError, and also of the most derived recorded class that its module
knows: a property of the code, so replay raises the same type in every process.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.model.exception_attributes import NO_ATTRIBUTES, collect_attributes, restore_attributes
from durablecli.model.exception_types import TASK_FAILED, OwnBehaviour, Refusal, fill, make_exception

LONGEST_TEXT = 64 * 1024
DEEPEST = 20


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception and its cause chain.

    `type` is the qualified name (`builtins.ValueError`); `bases` the qualified names of the rest of its MRO,
    without `object` and `BaseException`; `message` and `traceback` have at most 64 KiB each. `attributes` is a JSON
    object of the exception's own attributes that JSON can hold. `retryable` is false where another attempt would only
    repeat the side effects: the input didn't fit, or the result can't be written.
    """

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""
    cause: Failure | None = None
    attributes: Raw = NO_ATTRIBUTES
    retryable: bool = True

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


_UNNAMED = (object, BaseException, OwnBehaviour)


def _one(error: BaseException, cause: Failure | None) -> Failure:
    kind = type(error)
    name = _name(kind)
    bases = dict.fromkeys(_name(base) for base in _MRO(kind) if not any(base is each for each in _UNNAMED))
    bases.pop(name, None)
    try:
        message = str.__str__(str(error))
    except BaseException as reason:  # noqa: BLE001 - user code
        message = f"<no text: its __str__ raised {_name(type(reason)).rpartition('.')[2]}>"
    return Failure(name, _start(message), tuple(bases), _end(_traceback(error)), cause, collect_attributes(error))


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


_NAMES: Any = vars(ModuleType)["__dict__"].__get__
_NOT_RAISED = (StopIteration, StopAsyncIteration)  # a generator would turn them into a RuntimeError


def to_exception(failure: Failure, message: str, globals: Mapping[str, Any]) -> Exception:
    """What to raise for a failed task in an orchestrator whose module has these globals.

    It is a TaskFailedError with `failure`, the text `message` and the recorded attributes; made without running the
    constructor of the recorded type, whose arguments nobody knows any more.
    """
    error = _made(failure, globals)
    restore_attributes(error, failure.attributes)
    fill(error, message, failure)
    return error


def _made(failure: Failure, globals: Mapping[str, Any]) -> Exception:
    """Of the most derived class of the recorded MRO among the built-ins and what the module's names lead to."""
    for name in (failure.type, *failure.bases):
        found = None if name == TASK_FAILED else _known_class(name, globals)
        if found is not None:
            try:
                return make_exception(found)
            except Refusal:  # then its base may do
                continue
    return make_exception(None)


def _known_class(name: str, names: Mapping[str, Any]) -> type[Exception] | None:
    for found in _candidates(name, names):
        # isinstance would ask `found.__class__`, which may be the author's code
        if issubclass(type(found), type) and issubclass(found, Exception) and _name(found) == name:
            return None if issubclass(found, _NOT_RAISED) else found
    return None


def _candidates(name: str, names: Mapping[str, Any]) -> Iterator[Any]:
    module, _, last = name.rpartition(".")
    if module == "builtins":
        yield getattr(builtins, last, None)
        return
    for value in list(names.values()):
        # `import requests` and `except requests.HTTPError` know the class as well
        yield _NAMES(value).get(last) if issubclass(type(value), ModuleType) else value
