"""How exceptions are recorded, and which exceptions are raised for failures."""

from __future__ import annotations

import json
import subprocess
import types
from abc import ABC
from enum import Enum
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn

import msgspec
import pytest

from durablecli.errors import TaskFailedError
from durablecli.model.exception_attributes import MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES
from durablecli.model.failures import (
    MAX_CAUSES_SIZE,
    MAX_CHAIN_LENGTH,
    MAX_TEXT_BYTES,
    Failure,
    failure_text,
    from_exception,
    iter_chain,
    task_failure_text,
    to_exception,
)

HERE = __name__


class Refused(ConnectionError):
    pass


class Picky(ValueError):
    """An exception whose constructor can't be called with one text."""

    def __init__(self, *, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class Newborn(Exception):
    def __new__(cls, one: int, two: int) -> Newborn:
        return super().__new__(cls)


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Abstract(ABC, Exception):
    pass


class Counting(Exception):
    made: ClassVar[list[type]] = []

    def __init_subclass__(cls, **_: Any) -> None:
        Counting.made.append(cls)


def raise_and_catch(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - SystemExit is in the table too
        return caught


def round_trip(failure: Failure) -> Failure:
    return msgspec.json.decode(msgspec.json.encode(failure), type=Failure)


def unicode_error() -> UnicodeDecodeError:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


SHAPES: list[BaseException] = [
    ValueError("bad"),
    ValueError(),
    ValueError("two", "arguments"),
    KeyError("x"),
    OSError(2, "No such file", "x.txt"),
    FileNotFoundError(2, "No such file"),
    unicode_error(),
    ZeroDivisionError("division by zero"),
    StopIteration(5),
    StopAsyncIteration(),
    AssertionError(),
    SyntaxError("invalid", ("x.py", 1, 2, "text")),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
    Refused("by the guide"),
    Picky(code=7, reason="why"),
    Newborn(1, 2),
    Abstract("a"),
    json.JSONDecodeError("Expecting value", "doc", 0),
    subprocess.CalledProcessError(3, ["ls"]),
    RecursionError("deep"),
    SystemExit(3),
    KeyboardInterrupt(),
    TaskFailedError("task", Failure("x.Y", "y")),
]


@pytest.mark.parametrize("error", SHAPES, ids=lambda error: type(error).__name__)
def test_every_shape_of_exception_is_recorded_and_raised_again(error: BaseException) -> None:
    failure = round_trip(from_exception(raise_and_catch(error)))
    assert failure == from_exception(error)
    assert failure.message == str(error)
    assert failure.type == f"{type(error).__module__}.{type(error).__qualname__}"
    assert failure.traceback.startswith(("Traceback", "  + Exception Group Traceback"))
    again = to_exception(failure, f"Activity function 'F1' failed: {failure.message}", globals())
    assert isinstance(again, TaskFailedError)
    assert not isinstance(again, StopIteration | StopAsyncIteration)
    assert isinstance(raise_and_catch(again), Exception)
    assert again.failure is failure
    assert again.args == (f"Activity function 'F1' failed: {failure.message}",)
    assert str(again) == f"Activity function 'F1' failed: {failure.message}"
    assert repr(again)
    assert from_exception(again).cause == failure


def test_bases_are_the_rest_of_the_mro() -> None:
    failure = from_exception(Refused("no"))
    assert failure.type == f"{HERE}.Refused"
    assert failure.bases == ("builtins.ConnectionError", "builtins.OSError", "builtins.Exception")


def test_a_message_that_utf8_cannot_hold_is_escaped() -> None:
    failure = round_trip(from_exception(raise_and_catch(ValueError("a\ud800b"))))
    assert failure.message == "a\\ud800b"
    assert "a\\ud800b" in failure.traceback


def test_an_exception_without_text_is_recorded() -> None:
    assert from_exception(raise_and_catch(Silent())).message == "<no text: its __str__ raised RuntimeError>"


def make_rude() -> Exception:
    """Raises for every attribute."""

    class Rude(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

        __repr__ = __str__

        def __getattribute__(self, name: str) -> Any:
            raise SystemExit(name)

    return Rude("no")


def make_nameless() -> Exception:
    """Its class has no readable name."""

    class Unnamed(type):
        def __getattribute__(cls, name: str) -> Any:
            raise KeyboardInterrupt

        def __eq__(cls, _: object) -> bool:
            raise KeyboardInterrupt

        def __hash__(cls) -> int:
            raise KeyboardInterrupt

    class Nameless(Exception, metaclass=Unnamed):
        pass

    return Nameless("no")


def make_misnamed() -> Exception:
    class Misnamed(Exception):
        pass

    Misnamed.__qualname__ = "Mis\ud800named"
    return Misnamed("no")


@pytest.mark.parametrize("make", [make_rude, make_nameless, make_misnamed])
def test_an_exception_that_raises_when_inspected_is_recorded(make: Any) -> None:
    failure = round_trip(from_exception(make()))
    assert "builtins.Exception" in (failure.type, *failure.bases)
    outside = ValueError("outside")
    outside.__cause__ = make()
    assert from_exception(outside).cause == failure


def test_the_end_of_a_long_traceback_is_kept() -> None:
    failure = from_exception(raise_and_catch(ValueError("é" * MAX_TEXT_BYTES + "the end")))
    assert len(failure.traceback.encode()) <= MAX_TEXT_BYTES
    assert failure.traceback.endswith("the end\n")
    assert len(failure.message.encode()) <= MAX_TEXT_BYTES
    assert failure.message.startswith("ééé")
    assert failure.message.endswith("é…")


@pytest.mark.parametrize("is_cause", [False, True])
def test_a_long_message_leaves_the_frames_in_the_traceback(is_cause: bool) -> None:
    failure = from_exception(raise_and_catch(ValueError("x" * 2 * MAX_TEXT_BYTES + "\nthe end")))
    if is_cause:
        error = to_exception(failure, "failed", {})
        found = from_exception(raise_and_catch(error)).cause
        assert found is not None
        failure = found
    assert len(failure.traceback.encode()) <= MAX_TEXT_BYTES
    assert "in raise_and_catch\n    raise error\nValueError: xxx" in failure.traceback
    assert failure.traceback.endswith("…the end\n") or "x\nthe end\n" in failure.traceback


def cause_messages(failure: Failure | None) -> list[str]:
    texts = []
    while failure is not None:
        texts.append(failure.message)
        failure = failure.cause
    return texts


def test_the_cause_is_kept() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as outer:
        failure = from_exception(outer)
    assert cause_messages(failure) == ["outer", "'inner'"]
    assert "KeyError" not in failure.traceback


def test_the_context_is_the_cause_unless_it_is_suppressed() -> None:
    for suppressed, expected in [(False, ["outer", "'inner'"]), (True, ["outer"])]:
        outer = ValueError("outer")
        outer.__context__ = KeyError("inner")
        outer.__suppress_context__ = suppressed
        assert cause_messages(from_exception(outer)) == expected


def test_a_cycle_of_causes_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert cause_messages(from_exception(one)) == ["one", "other"]


def make_chain(length: int, text: str = "") -> BaseException:
    first = last = raise_and_catch(ValueError(f"0{text}"))
    for number in range(1, length):
        last.__cause__ = raise_and_catch(KeyError(f"{number}{text}"))
        last = last.__cause__
    return first


def test_of_a_long_chain_the_beginning_and_the_root_are_kept() -> None:
    failure = round_trip(from_exception(make_chain(500)))
    kept = [*range(MAX_CHAIN_LENGTH // 2), *range(500 - MAX_CHAIN_LENGTH // 2, 500)]
    assert [text.strip("'") for text in cause_messages(failure)] == [str(number) for number in kept]
    assert [link.omitted for link in iter_chain(failure) if link.omitted] == [500 - MAX_CHAIN_LENGTH]
    assert all(link.traceback.startswith("Traceback (most recent call last):\n  File ") for link in iter_chain(failure))
    assert failure.traceback.endswith("in raise_and_catch\n    raise error\nValueError: 0\n")


def test_causes_are_bounded_in_bytes_together() -> None:
    failure = from_exception(make_chain(1_000, "x" * MAX_TEXT_BYTES))
    assert len(msgspec.json.encode(failure.cause)) < 2 * MAX_CAUSES_SIZE
    root = list(iter_chain(failure))[-1]
    assert root.message.startswith("'999xxx")
    assert len(root.message) > 1_000
    assert from_exception(make_chain(1, "x" * MAX_TEXT_BYTES)).message.startswith("0xxx")
    assert len(from_exception(make_chain(1, "x" * MAX_TEXT_BYTES)).message) > MAX_TEXT_BYTES // 2


def test_names_are_bounded() -> None:
    kind = type("K" * 100_000, (ValueError,), {})
    for _ in range(200):
        kind = type("K" * 1_000, (kind,), {})
    failure = from_exception(kind("x"))
    assert len(msgspec.json.encode(failure)) < 100_000
    assert failure.is_caused_by(ValueError)


def test_a_chain_of_an_older_version_is_read_whatever_its_depth_and_bounded_where_it_is_passed_on() -> None:
    old = Failure("builtins.ValueError", "the root")
    for _ in range(300):
        old = Failure("durablecli.errors.TaskFailedError", "child failed", ("builtins.ValueError",), "", old)
    read = round_trip(old)
    assert read == old
    error = raise_and_catch(to_exception(read, task_failure_text("Orchestrator function 'c'", read), {}))
    assert isinstance(error, ValueError)
    links = list(iter_chain(from_exception(error)))
    assert (len(links), links[-1].message) == (MAX_CHAIN_LENGTH, "the root")
    assert sum(link.omitted for link in links) == 302 - MAX_CHAIN_LENGTH


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (KeyError("user"), "KeyError: 'user'"),
        (Refused("no"), "Refused: no"),
        (json.JSONDecodeError("Expecting value", "", 0), "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (TaskFailedError("Activity function 'x' failed: ValueError"), "Activity function 'x' failed: ValueError"),
    ],
)
def test_the_text_of_a_failed_task_carries_the_type(error: BaseException, text: str) -> None:
    failure = from_exception(error)
    assert failure_text(failure) == text
    assert task_failure_text("Activity function 'f'", failure) == f"Activity function 'f' failed: {text}"
    assert task_failure_text("", failure) == (failure.message or "ValueError")


def test_the_text_of_a_failed_task_is_bounded() -> None:
    text = task_failure_text(
        "Activity function 'f'", from_exception(ValueError("begin" + "x" * MAX_TEXT_BYTES + "end"))
    )
    assert len(text) < 10_000
    assert text.startswith("Activity function 'f' failed: ValueError: beginx")
    assert text.endswith("xxx…")  # the message was cut when it was recorded


def test_an_uncaught_task_failure_keeps_what_was_recorded_as_its_cause() -> None:
    inner = Failure("builtins.ValueError", "empty city", ("builtins.Exception",))
    error = to_exception(inner, "Activity function 'hello' failed: empty city", {})
    error.__cause__ = KeyError("what Python remembers")
    failure = from_exception(raise_and_catch(error))
    assert failure.type == "durablecli.errors.TaskFailedError"
    assert failure.bases == ("builtins.ValueError", "builtins.Exception")
    assert failure.cause is inner


def test_a_parent_catches_what_a_grandchild_raised() -> None:
    activity = from_exception(raise_and_catch(Refused("no")))
    child = from_exception(raise_and_catch(to_exception(activity, "activity", globals())))
    parent = to_exception(child, "child", globals())
    assert isinstance(parent, Refused)
    assert isinstance(to_exception(child, "child", {}), ConnectionError)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, ConnectionError),
        ({"Refused": Refused}, Refused),
        ({"another_name": Refused}, Refused),
        ({"Refused": Picky}, ConnectionError),
        ({"Refused": "Refused"}, ConnectionError),
        ({"somewhere": types.SimpleNamespace(Refused=Refused)}, ConnectionError),
    ],
)
def test_raised_is_the_most_derived_class_that_the_module_knows(names: dict[str, Any], expected: type) -> None:
    error = to_exception(from_exception(Refused("no")), "text", names)
    assert isinstance(error, expected)
    assert isinstance(error, Refused) == (expected is Refused)
    assert not isinstance(error, Picky)


def test_a_class_is_known_through_the_module_that_holds_it() -> None:
    module = types.ModuleType("errors_of_the_app")
    module.Refused = Refused  # type: ignore[attr-defined]
    assert isinstance(to_exception(from_exception(Refused("no")), "text", {"errors": module}), Refused)


def test_the_constructor_of_the_recorded_type_does_not_run() -> None:
    error = to_exception(from_exception(Picky(code=7, reason="why")), "text", globals())
    assert isinstance(error, Picky)
    assert vars(error)["code"] == 7  # not set by the constructor: recorded, and restored


def test_user_code_does_not_notice_that_a_class_was_made() -> None:
    error = to_exception(from_exception(Counting("x")), "text", globals())
    assert isinstance(error, Counting)
    assert Counting.made == []


def test_one_class_is_made_per_type() -> None:
    failures = [from_exception(ValueError(str(number))) for number in range(2)]
    one, other = (to_exception(failure, "text", {}) for failure in failures)
    assert type(one) is type(other)
    assert one.args is not other.args


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_a_process_is_raised_as_a_failed_task_only(error: BaseException) -> None:
    failure = from_exception(error)
    names = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}
    again = to_exception(failure, "text", names)
    assert type(again) is TaskFailedError


def test_a_group_is_raised_as_one_that_holds_a_failed_task() -> None:
    group = from_exception(ExceptionGroup("several", [ValueError("a")]))
    error = to_exception(group, "text", {})
    assert isinstance(error, ExceptionGroup)
    assert isinstance(error, TaskFailedError)
    (member,) = error.exceptions
    assert (type(member), str(member)) == (TaskFailedError, "text")


def test_of_a_type_that_cannot_be_subclassed_its_base_is_raised() -> None:
    class Final(type):
        def mro(cls) -> list[type]:
            if cls.__name__ != "Last":
                raise TypeError("final")
            return list(super().mro())

    class Last(ConnectionError, metaclass=Final):
        pass

    error = to_exception(from_exception(Last("x")), "text", {"Last": Last})
    assert isinstance(error, ConnectionError)
    assert isinstance(error, TaskFailedError)
    assert not isinstance(error, Last)


def test_a_name_that_only_looks_like_a_built_in_exception_is_none() -> None:
    for name in ("builtins.print", "builtins.int", "builtins.Enum", "builtins", "", "."):
        assert type(to_exception(Failure(name, "x"), "text", {"Enum": Enum})) is TaskFailedError


def test_nothing_that_a_payload_names_is_imported() -> None:
    assert type(to_exception(Failure("antigravity.Error", "x"), "text", {})) is TaskFailedError


def test_it_passes_through_a_generator_unchanged() -> None:
    def orchestrator() -> Any:
        try:
            yield
        except OSError as error:
            return str(error)
        return None

    flow = orchestrator()
    next(flow)
    with pytest.raises(StopIteration) as ended:
        flow.throw(to_exception(from_exception(FileNotFoundError(2, "No such file")), "F1 failed", {}))
    assert ended.value.value == "F1 failed"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Refused, True),
        (OSError, True),
        (BaseException, True),
        (object, True),
        (f"{HERE}.Refused", True),
        ("Refused", True),
        ("OSError", True),
        ("builtins.OSError", True),
        (ValueError, False),
        ("builtins.Refused", False),
        ("fused", False),
        ("", False),
    ],
)
def test_a_failure_knows_what_caused_it(kind: Any, expected: bool) -> None:
    assert round_trip(from_exception(Refused("no"))).is_caused_by(kind) == expected


def fail() -> NoReturn:
    raise ValueError("here")


def test_the_traceback_names_the_line() -> None:
    try:
        fail()
    except ValueError as error:
        failure = from_exception(error)
    assert "test_failures.py" in failure.traceback
    assert 'raise ValueError("here")' in failure.traceback


class Http(Exception):
    __slots__ = ("method",)

    def __init__(self, status: int, **more: Any) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.method = "GET"
        self._inner = "hidden"
        self.args = ("shown",)
        self.failure = "of the network"
        vars(self).update(more)


class Level(Enum):
    HIGH = "high"


class Text(str):
    __slots__ = ()


cyclic: list[Any] = []
cyclic.append(cyclic)


@pytest.mark.parametrize(
    ("value", "restored"),
    [
        (404, 404),
        (None, None),
        (1.5, 1.5),
        (True, True),
        ("é\n", "é\n"),
        (Text("own"), "own"),
        (HTTPStatus.NOT_FOUND, 404),
        (Level.HIGH, "high"),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ((1, "a"), [1, "a"]),
    ],
)
def test_attributes_that_json_can_hold_survive(value: Any, restored: Any) -> None:
    failure = round_trip(from_exception(raise_and_catch(Http(404, value=value))))
    for globals_ in (globals(), {}):
        error: Any = to_exception(failure, "text", globals_)
        assert (error.status_code, error.method, error.value) == (404, "GET", restored)
        assert type(error.value) is type(restored)
        assert (str(error), error.args, error.failure) == ("text", ("text",), failure)
        assert not hasattr(error, "_inner")
        again: Any = to_exception(from_exception(raise_and_catch(error)), "of the parent", globals())
        assert again.value == restored


@pytest.mark.parametrize(
    "value",
    [
        *(object(), b"x", {1: 2}, {1}, float("nan"), "\ud800", {"\ud800": 1}, cyclic, ValueError("x"), Http),
        *("x" * MAX_ATTRIBUTES_BYTES, [0] * MAX_ATTRIBUTES_BYTES, 2**200_000, {"a": object()}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_attributes_are_left_out(value: Any) -> None:
    failure = round_trip(from_exception(raise_and_catch(Http(404, value=value, after=1))))
    error: Any = to_exception(failure, "text", globals())
    assert not hasattr(error, "value")
    assert (error.status_code, error.after) == (404, 1)


def test_attributes_are_bounded_in_number_and_size() -> None:
    failure = from_exception(Http(404, **{f"a{i}": "x" * 400 for i in range(100)}))
    assert len(failure.attributes) <= MAX_ATTRIBUTES_BYTES
    assert 10 < len(msgspec.json.decode(failure.attributes)) <= MAX_ATTRIBUTES


def test_attributes_of_os_errors_survive() -> None:
    failure = round_trip(from_exception(raise_and_catch(FileNotFoundError(2, "No such file", "x.txt"))))
    error: Any = to_exception(failure, "text", {})
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.strerror, error.filename) == (2, "No such file", "x.txt")
    assert str(error) == "text"


def test_a_failure_without_attributes_has_none_in_its_line() -> None:
    assert b"attributes" not in msgspec.json.encode(from_exception(ValueError("x")))
