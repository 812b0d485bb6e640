"""A failure as it is recorded: what was raised, where, and what caused it; and the exception it becomes again.

What an orchestrator catches is always a TaskFailedError, and also of the most derived recorded class that its module
knows: a property of the code, so replay raises the same type in every process.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from durablecli.model.exception_attributes import NO_ATTRIBUTES, collect_attributes, restore_attributes
from durablecli.model.exception_types import TASK_FAILED, OwnBehaviour, Refusal, fill, make_exception

LONGEST_TEXT = 64 * 1024
LONGEST_TASK_TEXT = 8 * 1024
LONGEST_NESTED_TEXT = 2 * 1024
LONGEST_NAME = 1024
DEEPEST = 20
LARGEST_CAUSES = 16 * 1024
_LONGEST_CHAIN = 10_000
_LONGEST_ROOT_TEXT = 4 * 1024
_LONGEST_LINK_TEXT = 256
_MOST_BASES = 50
_MOST_BASES_OF_A_CAUSE = 10


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception and its cause chain.

    `type` is the qualified name (`builtins.ValueError`); `bases` the qualified names of the rest of its MRO,
    without `object` and `BaseException`; `message` and `traceback` have at most 64 KiB each. `attributes` is a JSON
    object of the exception's own attributes that JSON can hold. `retryable` is false where another attempt would only
    repeat the side effects: the input didn't fit, or the result can't be written.

    A chain of causes has at most 20 links. Of a longer one the outermost and the innermost are kept; `omitted` counts
    those that are left out between a failure and its `cause`. Where all causes together are larger than 16 KiB, their
    texts are cut.
    """

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""
    cause: Failure | None = None
    attributes: Raw = NO_ATTRIBUTES
    retryable: bool = True
    omitted: int = 0

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


def text_of(failure: Failure) -> str:
    """`ValueError: text`, or `ValueError` where there is no text. The text of a failed task names its cause itself."""
    name = failure.type.rpartition(".")[2]
    if not failure.message:
        return name
    return failure.message if _is_ours(failure.type) else f"{name}: {failure.message}"


def _is_ours(type: str) -> bool:
    """Whether a failure's type says no more than its text: it isn't one that the author's code has raised."""
    return type == TASK_FAILED or (type.startswith("durablecli.") and type.count(".") == 1)


def failed_text(label: str, failure: Failure) -> str:
    """The text of a failed task: `Activity function 'x' failed: ValueError: text`; without a label the failure's own.

    It is bounded. One that passes on what failed further down still shows the root cause.
    """
    if not label:
        return failure.message or failure.type.rpartition(".")[2]
    text = text_of(failure)
    if len(text) > LONGEST_NESTED_TEXT and any(link.type == TASK_FAILED for link in links_of(failure)):
        text = _with_root(text, text_of(list(links_of(failure))[-1]))
    elif len(text) > LONGEST_TASK_TEXT:
        text = f"{text[: LONGEST_TASK_TEXT // 2]} … {text[-LONGEST_TASK_TEXT // 2 :]}"
    return f"{label} failed: {text}"


def _with_root(text: str, root: str) -> str:
    half = LONGEST_NESTED_TEXT // 2
    if root[: half // 8] in text[:half]:
        return text[: LONGEST_NESTED_TEXT - 1] + "…"
    return f"{text[:half]} … {root if len(root) < half else root[:half] + '…'}"


def links_of(failure: Failure) -> Iterator[Failure]:
    """A failure, its cause, and so on."""
    link: Failure | None = failure
    while link is not None:
        yield link
        link = link.cause


# ── recording ──────────────────────────────────────────────────────────────────────────────────────────────────────


def from_exception(error: BaseException) -> Failure:
    """The record of an exception: it holds nothing of the process, and its size is bounded.

    An exception is code of its author's: whatever is asked of it may raise anything, and it is recorded all the same.
    """
    chain = _chain(error)
    recorded = _recorded(chain[-1])
    kept, omitted = chain, 0
    if len(chain) > DEEPEST:
        kept, omitted = [*chain[: DEEPEST // 2], *chain[-DEEPEST // 2 :]], len(chain) - DEEPEST
    links = [_one(link, is_long=omitted > 0) for link in kept]
    if omitted:
        links[DEEPEST // 2 - 1] = replace(links[DEEPEST // 2 - 1], omitted=omitted)
    return _bounded(_linked(links, recorded))


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(chain) < _LONGEST_CHAIN:
        seen.add(id(link))
        chain.append(link)
        link = None if _recorded(link) else cause_of(link)
    return chain


def _linked(links: Sequence[Failure], cause: Failure | None) -> Failure:
    for link in reversed(links):
        cause = replace(link, cause=cause)
    assert cause is not None
    return cause


def _bounded(failure: Failure) -> Failure:
    """The failure with a chain of causes that is neither too deep nor too large."""
    first, *causes = links_of(failure)
    if len(causes) < DEEPEST and sum(map(_size, causes)) <= LARGEST_CAUSES:
        return failure
    if len(causes) >= DEEPEST:
        half = DEEPEST // 2
        left_out = causes[half - 1 : -half]
        causes = [*causes[: half - 1], *causes[-half:]]
        before = causes[half - 2]
        count = before.omitted + len(left_out) + sum(link.omitted for link in left_out)
        causes[half - 2] = replace(before, omitted=count)
    if sum(map(_size, causes)) > LARGEST_CAUSES:
        causes = [*(_cut(link, _LONGEST_LINK_TEXT) for link in causes[:-1]), _cut(causes[-1], _LONGEST_ROOT_TEXT)]
    return _linked([first, *causes], None)


def _size(link: Failure) -> int:
    return len(link.message) + len(link.traceback) + len(link.attributes) + sum(map(len, link.bases))


def _cut(link: Failure, most: int) -> Failure:
    return replace(
        link,
        message=_start(link.message, most),
        traceback=_end(link.traceback, most),
        bases=link.bases[-_MOST_BASES_OF_A_CAUSE:],
        attributes=link.attributes if len(link.attributes) <= most else NO_ATTRIBUTES,
    )


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
_TRACEBACK: Any = vars(BaseException)["__traceback__"].__get__
_MRO: Any = vars(type)["__mro__"].__get__


_UNNAMED = (object, BaseException, OwnBehaviour)


def _one(error: BaseException, *, is_long: bool) -> Failure:
    """The record of one link of a chain; `is_long` says that the chain is too long to be formatted for each of them."""
    kind = type(error)
    name = _name(kind)
    linear = _MRO(kind)
    if len(linear) > _MOST_BASES:  # the built-in ones come last
        linear = (*linear[: _MOST_BASES // 2], *linear[-_MOST_BASES // 2 :])
    bases = dict.fromkeys(_name(base) for base in linear if not any(base is each for each in _UNNAMED))
    bases.pop(name, None)
    try:
        message = _start(str.__str__(str(error)))
    except BaseException as reason:  # noqa: BLE001 - user code
        message = f"<no text: its __str__ raised {_name(type(reason)).rpartition('.')[2]}>"
    traceback = _end(_traceback(error, message if is_long else None))
    return Failure(name, message, tuple(bases), traceback, None, collect_attributes(error))


def _name(kind: type) -> str:
    try:
        return _valid(qualified_name(kind)[:LONGEST_NAME])
    except BaseException:  # noqa: BLE001 - user code: a metaclass may do as it likes
        return "builtins.Exception"


def _traceback(error: BaseException, message: str | None) -> str:
    """As Python prints it; with a message given, of the frames and that alone, as Python looks at all causes else."""
    import traceback  # slow to import, and most processes never need it

    try:
        if message is None:
            return "".join(traceback.format_exception(type(error), error, _TRACEBACK(error), chain=False))
        frames = "".join(traceback.format_tb(_TRACEBACK(error)))
        return (
            f"Traceback (most recent call last):\n{frames}{_name(type(error)).removeprefix('builtins.')}: {message}\n"
        )
    except BaseException as reason:  # noqa: BLE001 - user code
        return f"<no traceback: formatting it raised {_name(type(reason)).rpartition('.')[2]}>"


def _valid(text: str) -> str:
    """The text with lone surrogates escaped, which UTF-8 can't hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _start(text: str, most: int = LONGEST_TEXT) -> str:
    data = text[: most + 1].encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data.decode()
    return data[: most - 4].decode("utf-8", "ignore") + "…"


def _end(text: str, most: int = LONGEST_TEXT) -> str:
    """The end of a traceback is where the error is."""
    data = text[-most - 1 :].encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data.decode()
    return "…" + data[4 - most :].decode("utf-8", "ignore")


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
