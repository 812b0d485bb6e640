"""Failures: how an exception is recorded (type, message, traceback, cause), and the exception that is raised for it.

An orchestrator always catches a TaskFailedError. It is also of the most derived recorded class that the orchestrator's
module knows: a property of the code, so a replay raises the same type in every process.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from durablecli.errors import ActivityTimedOut, ShellError
from durablecli.model.exception_attributes import (
    MAX_ATTRIBUTES_BYTES,
    NO_ATTRIBUTES,
    collect_attributes,
    restore_attributes,
)
from durablecli.model.exception_types import (
    TASK_FAILED_TYPE,
    ExceptionBehaviour,
    IncompatibleExceptionType,
    init_task_failed_error,
    make_task_failed_error,
)
from durablecli.model.raw_attributes import (
    get_cause,
    get_context,
    get_module_dict,
    get_mro,
    get_suppress_context,
    get_traceback,
)
from durablecli.model.traceback_text import split_frames

MAX_TEXT_BYTES = 64 * 1024
MAX_TASK_TEXT_LENGTH = 8 * 1024
MAX_NESTED_TEXT_LENGTH = 2 * 1024
MAX_TYPE_NAME_LENGTH = 1024
MAX_CHAIN_LENGTH = 20
MAX_CAUSES_SIZE = 16 * 1024
_MAX_EXCEPTIONS_READ = 10_000
_MAX_ROOT_TEXT_BYTES = 4 * 1024
_MAX_LINK_TEXT_BYTES = 256
_MAX_BASES = 50
_MAX_CAUSE_BASES = 10


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception and its cause chain.

    `type` is the qualified name (`builtins.ValueError`); `bases` are the qualified names of the rest of its MRO,
    without `object` and `BaseException`. `message` and `traceback` have at most 64 KiB each. `attributes` is a JSON
    object of the exception's own attributes that JSON can hold. `retryable` is false if another attempt would only
    repeat side effects: the input didn't match, or the result couldn't be encoded. `retry_after` is the delay in
    seconds that an activity asked for by `df.RetryAfter`.

    A chain of causes has at most 20 links. Of a longer one the outermost and the innermost are kept; `omitted` counts
    the links left out between a failure and its `cause`. If all causes together exceed 16 KiB, their texts are
    truncated.
    """

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""
    cause: Failure | None = None
    attributes: Raw = NO_ATTRIBUTES
    retryable: bool = True
    omitted: int = 0
    retry_after: float | None = None

    def is_caused_by(self, kind: builtins.type[BaseException] | str) -> bool:
        """Whether the exception is a `kind`: a class, its qualified name, or its bare name."""
        if kind in (object, BaseException):
            return True
        name = kind if isinstance(kind, str) else qualified_name(kind)
        names = (self.type, *self.bases)
        return name in names or ("." not in name and any(known.rpartition(".")[2] == name for known in names))


def qualified_name(kind: type) -> str:
    """Return `module.qualname`, the name of a class in histories."""
    return f"{kind.__module__}.{kind.__qualname__}"


def failure_text(failure: Failure) -> str:
    """Return `ValueError: text`, or `ValueError` without a text. The text of a failed task includes its cause."""
    return error_text(failure.type, failure.message)


def error_text(type: str, message: str) -> str:
    """Return the text of a failure of this type, which may be a qualified name."""
    name = type.rpartition(".")[2]
    if not message:
        return name
    return message if _is_internal_type(type) else f"{name}: {message}"


def _is_internal_type(type: str) -> bool:
    """Whether a type is durablecli's own, and says no more than the text."""
    return type == TASK_FAILED_TYPE or (type.startswith("durablecli.") and type.count(".") == 1)


def task_failure_text(label: str, failure: Failure) -> str:
    """The text of a failed task: `Activity function 'x' failed: ValueError: text`, or just `text` without a label.

    Its length is limited. The text of nested failed tasks still shows the root cause.
    """
    if not label:
        return failure.message or failure.type.rpartition(".")[2]
    text = failure_text(failure)
    if len(text) > MAX_NESTED_TEXT_LENGTH and any(link.type == TASK_FAILED_TYPE for link in iter_chain(failure)):
        text = _append_root_cause(text, failure_text(list(iter_chain(failure))[-1]))
    elif len(text) > MAX_TASK_TEXT_LENGTH:
        text = f"{text[: MAX_TASK_TEXT_LENGTH // 2]} … {text[-MAX_TASK_TEXT_LENGTH // 2 :]}"
    return f"{label} failed: {text}"


def _append_root_cause(text: str, root: str) -> str:
    half = MAX_NESTED_TEXT_LENGTH // 2
    if root[: half // 8] in text[:half]:
        return text[: MAX_NESTED_TEXT_LENGTH - 1] + "…"
    return f"{text[:half]} … {root if len(root) < half else root[:half] + '…'}"


def iter_chain(failure: Failure) -> Iterator[Failure]:
    """Yield a failure, its cause, and so on."""
    link: Failure | None = failure
    while link is not None:
        yield link
        link = link.cause


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────────


def from_exception(error: BaseException) -> Failure:
    """Record an exception, with a limited size and without objects of the process.

    An exception may run the author's code for every attribute, and that may raise anything: it is recorded anyway.
    """
    chain = _cause_chain(error)
    recorded = _recorded_failure(chain[-1])
    kept, omitted = chain, 0
    if len(chain) > MAX_CHAIN_LENGTH:
        kept, omitted = (
            [*chain[: MAX_CHAIN_LENGTH // 2], *chain[-MAX_CHAIN_LENGTH // 2 :]],
            len(chain) - MAX_CHAIN_LENGTH,
        )
    links = [_record_link(link, is_long=omitted > 0) for link in kept]
    if omitted:
        links[MAX_CHAIN_LENGTH // 2 - 1] = replace(links[MAX_CHAIN_LENGTH // 2 - 1], omitted=omitted)
    return _bound_chain(_link_chain(links, recorded))


def limit_failure(failure: Failure) -> Failure:
    """Return a failure that was recorded elsewhere, with its texts and its chain limited in size."""
    links = [
        replace(
            link,
            type=_escape_surrogates(link.type[:MAX_TYPE_NAME_LENGTH]),
            message=_keep_start(link.message),
            bases=tuple(base[:MAX_TYPE_NAME_LENGTH] for base in link.bases[-_MAX_BASES:]),
            traceback=_shorten_traceback(link.traceback),
            attributes=link.attributes if len(link.attributes) <= MAX_ATTRIBUTES_BYTES else NO_ATTRIBUTES,
        )
        for link in iter_chain(failure)
    ]
    return _bound_chain(_link_chain(links, None))


def _cause_chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(chain) < _MAX_EXCEPTIONS_READ:
        seen.add(id(link))
        chain.append(link)
        link = None if _recorded_failure(link) else find_cause(link)
    return chain


def _link_chain(links: Sequence[Failure], cause: Failure | None) -> Failure:
    for link in reversed(links):
        cause = replace(link, cause=cause)
    assert cause is not None
    return cause


def _bound_chain(failure: Failure) -> Failure:
    """Return the failure with its chain of causes limited in length and size."""
    first, *causes = iter_chain(failure)
    if len(causes) < MAX_CHAIN_LENGTH and sum(map(_size, causes)) <= MAX_CAUSES_SIZE:
        return failure
    if len(causes) >= MAX_CHAIN_LENGTH:
        half = MAX_CHAIN_LENGTH // 2
        omitted = causes[half - 1 : -half]
        causes = [*causes[: half - 1], *causes[-half:]]
        before = causes[half - 2]
        count = before.omitted + len(omitted) + sum(link.omitted for link in omitted)
        causes[half - 2] = replace(before, omitted=count)
    if sum(map(_size, causes)) > MAX_CAUSES_SIZE:
        causes = [
            *(_truncate_texts(link, _MAX_LINK_TEXT_BYTES) for link in causes[:-1]),
            _truncate_texts(causes[-1], _MAX_ROOT_TEXT_BYTES),
        ]
    return _link_chain([first, *causes], None)


def _size(link: Failure) -> int:
    return len(link.message) + len(link.traceback) + len(link.attributes) + sum(map(len, link.bases))


def _truncate_texts(link: Failure, limit: int) -> Failure:
    return replace(
        link,
        message=_keep_start(link.message, limit),
        traceback=_shorten_traceback(link.traceback, limit),
        bases=link.bases[-_MAX_CAUSE_BASES:],
        attributes=link.attributes if len(link.attributes) <= limit else NO_ATTRIBUTES,
    )


def _recorded_failure(error: BaseException) -> Failure | None:
    """Return the failure of an awaited task, which holds more than the exception raised for it."""
    try:
        failure = getattr(error, "failure", None)
    except BaseException:  # noqa: BLE001 - user code
        return None
    return failure if issubclass(type(failure), Failure) else None


def find_cause(error: BaseException) -> BaseException | None:
    """Return the cause of an exception, or else its context, without running the author's code."""
    cause: BaseException | None = get_cause(error)
    if cause is not None:
        return cause
    return None if get_suppress_context(error) else get_context(error)


_OMITTED_BASES = (object, BaseException, ExceptionBehaviour)


def _record_link(error: BaseException, *, is_long: bool) -> Failure:
    """Record one link of a chain. In one that `is_long`, tracebacks are formatted without looking at causes."""
    kind = type(error)
    name = _type_name(kind)
    linear = get_mro(kind)
    if len(linear) > _MAX_BASES:  # built-in classes come last
        linear = (*linear[: _MAX_BASES // 2], *linear[-_MAX_BASES // 2 :])
    bases = dict.fromkeys(_type_name(base) for base in linear if not any(base is each for each in _OMITTED_BASES))
    bases.pop(name, None)
    try:
        message = _keep_start(str.__str__(str(error)))
    except BaseException as reason:  # noqa: BLE001 - user code
        message = f"<no text: its __str__ raised {_type_name(type(reason)).rpartition('.')[2]}>"
    traceback = _shorten_traceback(_format_traceback(error, message if is_long else None))
    return Failure(name, message, tuple(bases), traceback, None, collect_attributes(error))


def _type_name(kind: type) -> str:
    try:
        return _escape_surrogates(qualified_name(kind)[:MAX_TYPE_NAME_LENGTH])
    except BaseException:  # noqa: BLE001 - user code: a metaclass may do as it likes
        return "builtins.Exception"


def _format_traceback(error: BaseException, message: str | None) -> str:
    """Format a traceback as Python prints it. With a message given, Python doesn't look at the causes."""
    import traceback  # slow to import, and most processes never need it

    try:
        if message is None:
            return "".join(traceback.format_exception(type(error), error, get_traceback(error), chain=False))
        frames = "".join(traceback.format_tb(get_traceback(error)))
        name = _type_name(type(error)).removeprefix("builtins.")
        return f"Traceback (most recent call last):\n{frames}{name}: {message}\n"
    except BaseException as reason:  # noqa: BLE001 - user code
        return f"<no traceback: formatting it raised {_type_name(type(reason)).rpartition('.')[2]}>"


def _escape_surrogates(text: str) -> str:
    """Escape lone surrogates, which UTF-8 can't hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _keep_start(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    data = text[: limit + 1].encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 4].decode("utf-8", "ignore") + "…"


def _keep_end(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Truncate at the start: the end of a traceback shows the error."""
    data = text[-limit - 1 :].encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    return "…" + data[4 - limit :].decode("utf-8", "ignore")


def _shorten_traceback(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Truncate a traceback. Of its frames, the innermost are kept; of a long message, both ends."""
    if len(text) <= limit // 4 or len(text.encode("utf-8", "backslashreplace")) <= limit:
        return _keep_end(text, limit)
    frames, message = split_frames(text)
    if not frames or not message:
        return _keep_end(text, limit)
    kept_frames = _keep_end(frames, limit // 2)
    rest = limit - len(kept_frames.encode())
    if len(message.encode("utf-8", "backslashreplace")) > rest:
        message = _keep_start(message, rest // 2) + _keep_end(message, rest // 2).removeprefix("…")
    return kept_frames + _escape_surrogates(message)


# ── raising again ────────────────────────────────────────────────────────────────────────────────────────────────────


_TIMED_OUT_TYPE = qualified_name(ActivityTimedOut)
_SHELL_ERROR_TYPE = qualified_name(ShellError)
_NOT_RAISABLE = (StopIteration, StopAsyncIteration)  # a generator would turn them into a RuntimeError


def to_exception(failure: Failure, message: str, globals: Mapping[str, Any]) -> Exception:
    """Make the exception for a failed task in an orchestrator whose module has these globals.

    It is a TaskFailedError with `failure`, the text `message` and the recorded attributes. The constructor of the
    recorded type doesn't run, because its arguments are unknown.
    """
    error = _make_error(failure, globals)
    restore_attributes(error, failure.attributes)
    init_task_failed_error(error, message, failure)
    return error


def _make_error(failure: Failure, globals: Mapping[str, Any]) -> Exception:
    """Make it of the most derived recorded class that is built in or known to the module."""
    for name in (failure.type, *failure.bases):
        if name == _TIMED_OUT_TYPE:
            return ActivityTimedOut.__new__(ActivityTimedOut)
        found = None if name == TASK_FAILED_TYPE else _find_known_class(name, globals)
        if found is not None:
            try:
                return make_task_failed_error(found)
            except IncompatibleExceptionType:  # try its base
                continue
    return make_task_failed_error(None)


def _find_known_class(name: str, names: Mapping[str, Any]) -> type[Exception] | None:
    if name == _SHELL_ERROR_TYPE:  # `except df.ShellError` must work though `df` loads its names late
        return ShellError
    for found in _candidate_classes(name, names):
        # isinstance would ask `found.__class__`, which may be the author's code
        if issubclass(type(found), type) and issubclass(found, Exception) and _type_name(found) == name:
            return None if issubclass(found, _NOT_RAISABLE) else found
    return None


def _candidate_classes(name: str, names: Mapping[str, Any]) -> Iterator[Any]:
    module, _, last = name.rpartition(".")
    if module == "builtins":
        yield getattr(builtins, last, None)
        return
    for value in list(names.values()):
        # `import requests` and `except requests.HTTPError` know the class as well
        yield get_module_dict(value).get(last) if issubclass(type(value), ModuleType) else value
