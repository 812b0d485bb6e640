"""Values to JSON and back by annotation: a table of types, and every rejection with its path."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import inspect
import os
import re
import subprocess
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, NoReturn, Optional, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from durablecli.errors import Mismatch, Unserializable, UsageError
from durablecli.limits import MAX_NESTING_DEPTH, PAYLOAD_LIMIT
from durablecli.model.payloads import decode, encode
from tests.support.cyclic_garbage import collect_cyclic_garbage

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Ratio(enum.Enum):
    HALF = 0.5
    PAIR = (1, 2)
    NOTHING = None


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass
class Shape:
    name: str
    points: list[Point]
    colour: Colour = Colour.RED
    made: datetime | None = None


@dataclasses.dataclass
class Node:
    value: int
    children: list[Node] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Circle:
    radius: float


@dataclasses.dataclass
class Ball:
    radius: float
    weight: float


@dataclasses.dataclass
class Box(typing.Generic[T]):
    inside: T


class Packed(msgspec.Struct, rename="camel", tag="packed"):
    first_name: str
    tags: set[str] = set()


class Name(str):
    __slots__ = ()


class Day(date):
    pass


@dataclasses.dataclass
class Counted:
    start: int
    total: int | Path = dataclasses.field(init=False, default=0)

    def __init__(self, start: int, total: int = 0) -> None:
        self.start = start
        self.total = total


@attrs.define
class Hidden:
    x: int
    _folder: Path = Path()


class Row(msgspec.Struct, array_like=True):
    a: int
    b: Path


class Place(NamedTuple):
    city: str
    at: datetime | None = None


class Grown(NamedTuple):
    city: str
    at: datetime


class GrownStruct(msgspec.Struct):
    x: int
    y: int


@attrs.define
class Hid:
    x: int
    _y: int


class Home(NamedTuple):
    folder: Path
    owner: str = "me"


class Options(TypedDict, total=False):
    depth: int
    folder: Path


class Static:
    """A class as azure-functions-durable documents it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]

    @staticmethod
    def to_json(value: Static) -> str:
        return str(value.number)

    @staticmethod
    def from_json(data: str) -> Static:
        return Static(int(data))


@dataclasses.dataclass
class OfInstance:
    number: int

    def to_json(self) -> dict[str, Any]:
        return {"the number": self.number}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> OfInstance:
        return cls(data["the number"])


@dataclasses.dataclass
class Holder:
    static: Static
    many: dict[str, list[OfInstance]]


@dataclasses.dataclass
class Model:
    """A stand-in for a pydantic model, with the two methods in use."""

    x: int

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        assert mode == "json"
        return {"x": self.x}

    @classmethod
    def model_validate(cls, value: dict[str, Any]) -> Model:
        return cls(int(value["x"]))


def spelled_part(part: object) -> str:
    """Make a part of a test's name that is the same in every process: without addresses and sets."""
    return type(part).__name__ if re.search("0x|{", str(part)) else str(part)[:40]


ROUND_TRIPS: list[tuple[Any, Any, bytes]] = [
    (None, Any, b"null"),
    (True, bool, b"true"),
    (7, int, b"7"),
    (2**63, int, b"9223372036854775808"),
    (-(2**100), int, b"-1267650600228229401496703205376"),
    (1.5, float, b"1.5"),
    (1e300, float, b"1e300"),
    ("Tokyo", str, b'"Tokyo"'),
    ("é\u2028\U0001f600\0", str, '"é\u2028\U0001f600\\u0000"'.encode()),
    ([1, "a", None], list, b'[1,"a",null]'),
    ({"a": {"b": [1]}}, dict, b'{"a":{"b":[1]}}'),
    ({"b": 1, "a": 2}, dict[str, int], b'{"b":1,"a":2}'),
    ((1, "a"), tuple[int, str], b'[1,"a"]'),
    ((1, 2, 3), tuple[int, ...], b"[1,2,3]"),
    ({3, 1, 20}, set[int], b"[1,3,20]"),
    (frozenset("ba"), frozenset[str], b'["a","b"]'),
    ({(2, 1), (1, 2)}, set[tuple[int, int]], b"[[1,2],[2,1]]"),
    (collections.deque([1, 2]), collections.deque, b"[1,2]"),
    (collections.OrderedDict(b=1, a=2), collections.OrderedDict[str, int], b'{"b":1,"a":2}'),
    (collections.Counter("aab"), collections.Counter[str], b'{"a":2,"b":1}'),
    (b"\x00\xff", bytes, b'"AP8="'),
    (bytearray(b"abc"), bytearray, b'"YWJj"'),
    (datetime(2026, 11, 22, 9, 0, 0, 101, tzinfo=UTC), datetime, b'"2026-11-22T09:00:00.000101Z"'),
    (datetime(2026, 11, 22, 9), datetime, b'"2026-11-22T09:00:00"'),  # noqa: DTZ001 - naive ones survive as well
    (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime, b'"2026-01-01T00:00:00+02:00"'),
    (date(2026, 11, 22), date, b'"2026-11-22"'),
    (time(9, 30), time, b'"09:30:00"'),
    (timedelta(days=1, seconds=2), timedelta, b'"P1DT2S"'),
    (timedelta(microseconds=-1), timedelta, b'"-PT0.000001S"'),
    (UUID(int=1), UUID, b'"00000000-0000-0000-0000-000000000001"'),
    (Decimal("1.10"), Decimal, b'"1.10"'),
    (Path("/srv/x"), Path, b'"/srv/x"'),
    (PurePosixPath("a/b"), PurePosixPath, b'"a/b"'),
    (Colour.BLUE, Colour, b'"blue"'),
    (Level.HIGH, Level, b"2"),
    (Mode.READ | Mode.WRITE, Mode, b"3"),
    (Ratio.HALF, Ratio, b"0.5"),
    (Ratio.PAIR, Ratio, b"[1,2]"),
    (Point(1), Point, b'{"x":1,"y":0}'),
    (
        Shape("a", [Point(1, 2)], Colour.BLUE),
        Shape,
        b'{"name":"a","points":[{"x":1,"y":2}],"colour":"blue","made":null}',
    ),
    (Node(1, [Node(2)]), Node, b'{"value":1,"children":[{"value":2,"children":[]}]}'),
    (Box(3), Box[int], b'{"inside":3}'),
    (Box(Path("a")), Box[Path], b'{"inside":"a"}'),
    (Packed("a", {"y", "x"}), Packed, b'{"type":"packed","firstName":"a","tags":["x","y"]}'),
    (Row(1, Path("b")), Row, b'[1,"b"]'),
    (Place("Tokyo"), Place, b'["Tokyo",null]'),
    (Home(Path("a")), Home, b'["a","me"]'),
    ({"depth": 1, "folder": Path("a")}, Options, b'{"depth":1,"folder":"a"}'),
    (Static(5), Static, b'"5"'),
    (OfInstance(5), OfInstance, b'{"the number":5}'),
    (
        Holder(Static(1), {"a": [OfInstance(2)]}),
        Holder,
        b'{"static":"1","many":{"a":[{"the number":2}]}}',
    ),
    ([Static(1), None], list[Static | None], b'["1",null]'),
    (Model(4), Model, b'{"x":4}'),
    ({"a": [Model(4)]}, dict[str, list[Model]], b'{"a":[{"x":4}]}'),
    (5, Optional[int], b"5"),  # noqa: UP045 - the old spelling is tested too
    (Circle(1.0), Circle | Ball, b'{"radius":1.0}'),
    (Ball(1.0, 2.0), Circle | Ball, b'{"radius":1.0,"weight":2.0}'),
    ([Ball(1.0, 2.0), None, "x"], list[Circle | Ball | str | None], b'[{"radius":1.0,"weight":2.0},null,"x"]'),
    (UserId(7), UserId, b"7"),
    ("on", Literal["on", "off"], b'"on"'),
    ([1], Sequence[int], b"[1]"),
    ({"a": Path("b")}, Mapping[str, Path], b'{"a":"b"}'),
    ({Colour.RED: 1}, dict[Colour, int], b'{"red":1}'),
    ({1: "a", -(2**70): "b"}, dict[int, str], b'{"1":"a","-1180591620717411303424":"b"}'),
    ({1.5: "a", 1e300: "b"}, dict[float, str], b'{"1.5":"a","1e+300":"b"}'),
    ({True: 1, False: Path("a")}, dict[bool, int | Path], b'{"true":1,"false":"a"}'),
    ({None: 1, 2: 3}, dict[int | None, int], b'{"null":1,"2":3}'),
    ({"a": 1, 2: 3}, dict[int | str, int], b'{"a":1,"2":3}'),
    ({Level.LOW: 1}, dict[Level, int], b'{"1":1}'),
    ({Ratio.HALF: 1}, dict[Ratio, int], b'{"0.5":1}'),
    ({Level.LOW: Path("a")}, dict[Level, Path], b'{"1":"a"}'),
    (Counted(3, total=9), Counted, b'{"start":3,"total":9}'),
    (Hidden(1, Path("a")), Hidden, b'{"x":1,"_folder":"a"}'),
    (Name("x"), Name, b'"x"'),
    ([Day(2026, 1, 2)], list[Day], b'["2026-01-02"]'),
]


@pytest.mark.parametrize(("value", "annotation", "written"), ROUND_TRIPS, ids=spelled_part)
def test_a_value_survives(value: Any, annotation: Any, written: bytes) -> None:
    raw = encode(value)
    assert bytes(raw) == written
    back = decode(raw, annotation)
    assert back == value
    assert type(back) is type(value)
    assert msgspec.json.encode(decode(raw)) == written or isinstance(value, float)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (memoryview(b"abc"), "YWJj"),
        ([Raw(b'{"a":1}')], [{"a": 1}]),
        (Raw(b'{"a":1}'), {"a": 1}),
        (type("Text", (str,), {})("x"), "x"),
        (type("Real", (float,), {})(1.5), 1.5),
        (type("Day", (datetime,), {})(2026, 1, 1), "2026-01-01T00:00:00"),
        (type("While", (timedelta,), {})(days=1), "P1D"),
        (type("Id", (UUID,), {})(int=1), "00000000-0000-0000-0000-000000000001"),
        (type("Price", (Decimal,), {})("1.10"), "1.10"),
        (type("Data", (bytes,), {})(b"abc"), "YWJj"),
        (np.float64(1.5), 1.5),
        (np.str_("a"), "a"),
        ({1.5, 2, True}, [True, 1.5, 2]),
        ({"b", 1}, ["b", 1]),
        (set(), []),
    ],
    ids=spelled_part,
)
def test_what_else_can_be_written(value: Any, plain: Any) -> None:
    assert decode(encode(value)) == plain


class Meters(int):
    pass


class Moment(datetime):
    """Like a pandas.Timestamp, which has nanoseconds."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return super().isoformat(sep, timespec) + ".000000007"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment)

    __hash__ = None  # type: ignore[assignment]


class NotATime(datetime):
    """Like pandas.NaT."""

    def utcoffset(self) -> NoReturn:
        raise ValueError("NotATime does not support utcoffset")

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return "NaT"


class Frame:
    """Like a pandas.DataFrame: to_json returns text, and there is no from_json."""

    def to_json(self) -> str:
        return '{"a":{"0":1}}'


Frame.__module__ = "pandas.core.frame"


class Loop:
    def to_json(self) -> Loop:
        return self


class Broken:
    def to_json(self) -> str:
        raise KeyError("x")


async def coroutine() -> None: ...


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (float("nan"), "$", "nan is not a JSON number"),
        ({"a": [1, 2, 3, {"b": float("inf")}]}, "$.a[3].b", "inf is not a JSON number"),
        ([1, -float("inf")], "$[1]", "-inf"),
        ((0.5, (float("nan"),)), "$[1][0]", "nan"),
        (Circle(float("nan")), "$.radius", "nan"),
        ({float("nan")}, "$[*]", "nan"),
        (type("Real", (float,), {})("nan"), "$", "nan"),
        ("a\ud800", "$", "lone surrogate at 1"),
        ({"a": ["\udfff"]}, "$.a[0]", "lone surrogate"),
        ({"\ud800": 1}, "$", "lone surrogate"),
        (Path(os.fsdecode(b"\xff")), "$", "lone surrogate"),
        ({"a": {(1, 2): 2}}, "$.a", "the key (1, 2)"),
        ({b"a": 2}, "$", "the key b'a' is not a string, finite number, boolean or None; pass str(key)"),
        ({float("nan"): 2}, "$", "the key nan"),
        ({"a": [{1: 1, "1": 2}]}, "$.a[0]", "two keys are both written as '1'"),
        ({True: 1, "true": 2}, "$", "two keys are both written as 'true'"),
        ({None: 1, "null": 2}, "$", "two keys are both written as 'null'"),
        ({1.5: 1, "1.5": 2}, "$", "two keys are both written as '1.5'"),
        ({Colour.RED: 1, "red": 2}, "$", "two keys are both written as 'red'"),
        ({"a": Meters(3)}, "$.a", "Meters is a kind of int"),
        ({"odd key": {"0": 1j}}, '$["odd key"]["0"]', "complex can't be written"),
        (object(), "$", "object can't be written as JSON; make it a dataclass"),
        ([Point], "$[0]", "the class Point can't be written as JSON"),
        ((one for one in [1]), "$", "pass list(...)"),
        (range(3), "$", "pass list(...)"),
        ({"a": 1}.keys(), "$", "pass list(...)"),
        ({"a": 10**5000}, "$.a", "more than 4,300 digits"),
        ([Broken()], "$[0]", "Broken couldn't be written: KeyError: 'x'"),
        (Loop(), "$", "nested deeper"),
        (endless(), "$", "nested deeper"),
        (deep(MAX_NESTING_DEPTH + 5), "$", "nested deeper"),
        (ValueError("x"), "$", "ValueError can't be written"),
        (np.int64(3), "$", "numpy.int64 can't be written as JSON; pass value.item()"),
        ([np.bool_(True)], "$[0]", "numpy.bool can't be written as JSON; pass value.item()"),
        ({"a": np.float32(1.5)}, "$.a", "numpy.float32 can't be written as JSON; pass value.item()"),
        (np.array([1]), "$", "numpy.ndarray can't be written as JSON; pass value.tolist()"),
        (np.array(1), "$", "numpy.ndarray can't be written as JSON; pass value.item()"),
        (Circle(np.array([1.5])), "$.radius", "numpy.ndarray can't be written as JSON; pass value.tolist()"),  # type: ignore[arg-type]
        ({np.int64(3): 1}, "$", "the key np.int64(3) is not a string, finite number, boolean or None; pass key.item()"),
        (np.datetime64("2026-01-01"), "$", "numpy.datetime64 can't be written as JSON; pass str(value)"),
        ({"a": Frame()}, "$.a", "pandas.Frame has a to_json that returns text, and no from_json to read it back"),
        (Moment(2026, 1, 1), "$", "is more than a datetime holds; pass str(value)"),
        ([NotATime(2026, 1, 1)], "$[0]", "NotATime can't be written"),
        (
            datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=34))),
            "$",
            "has a UTC offset with seconds; pass it in UTC",
        ),
    ],
    ids=lambda part: str(part)[:30] if isinstance(part, str | int | float) else type(part).__name__,
)
def test_what_json_cannot_hold_is_refused_with_its_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(Unserializable) as refused:
        encode(value)
    assert refused.value.path == path
    assert reason in refused.value.reason


def test_a_forgotten_await_is_named() -> None:
    forgotten = coroutine()
    with pytest.raises(Unserializable, match="did you forget yield or await"):
        encode(forgotten)
    forgotten.close()


def test_what_is_nested_to_the_limit_survives() -> None:
    assert decode(encode(deep(MAX_NESTING_DEPTH))) == deep(MAX_NESTING_DEPTH)
    assert decode(encode([deep(MAX_NESTING_DEPTH - 1), Point(1)]))[0] == deep(MAX_NESTING_DEPTH - 1)
    assert decode(encode(Raw(b"[" * MAX_NESTING_DEPTH + b"]" * MAX_NESTING_DEPTH))) == decode(
        b"[" * MAX_NESTING_DEPTH + b"]" * MAX_NESTING_DEPTH
    )


def nested_structs(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = Box(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        deep(MAX_NESTING_DEPTH + 1),
        {"a": deep(MAX_NESTING_DEPTH)},
        {1: deep(MAX_NESTING_DEPTH)},
        nested_structs(MAX_NESTING_DEPTH + 1),
        [Raw(b"[" * MAX_NESTING_DEPTH + b"]" * MAX_NESTING_DEPTH)],
        Raw(b"[" * (MAX_NESTING_DEPTH + 1) + b"]" * (MAX_NESTING_DEPTH + 1)),
        Raw(b'{"a":' * (MAX_NESTING_DEPTH + 1) + b"1" + b"}" * (MAX_NESTING_DEPTH + 1)),
        Raw(b"[" * 100_000 + b"]" * 100_000),
    ],
    ids=["list", "dict", "other keys", "dataclasses", "Raw within", "Raw", "Raw of objects", "beyond any stack"],
)
def test_what_is_nested_one_level_deeper_is_refused(value: Any) -> None:
    with pytest.raises(Unserializable, match="nested deeper than 200 levels"):
        encode(value)


def test_many_brackets_that_are_not_nested_are_no_nesting() -> None:
    flat = Raw(b"[" + b",".join([b"[]", b'"[[[["'] * 5_000) + b"]")
    assert len(decode(encode(flat))) == 10_000


@pytest.mark.parametrize("text", [b"", b"{", b"nonsense", b"1 2", b'"\xff"', b"[\n", b"NaN"])
def test_a_raw_that_holds_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(Unserializable, match="holds invalid JSON"):
        encode(Raw(text))


def test_a_raw_is_written_on_one_line() -> None:
    assert bytes(encode(Raw(b'{\n  "a": 1.50,\r\n"b": "\\n"}'))) == b'{"a":1.50,"b":"\\n"}'


def test_a_payload_may_have_as_many_bytes_as_the_limit_and_no_more() -> None:
    assert PAYLOAD_LIMIT == 16 * 1024 * 1024
    assert len(bytes(encode("x" * 8, limit=10))) == 10
    with pytest.raises(UsageError, match="11 bytes, the limit is 10"):
        encode("x" * 9, limit=10)
    with pytest.raises(UsageError, match="16,777,217 bytes, the limit is 16,777,216"):
        encode("x" * (PAYLOAD_LIMIT - 1))


def test_a_set_is_written_alike_under_every_hash_seed() -> None:
    program = (
        "from durablecli.model.payloads import encode;"
        "print(bytes(encode({'b', 'a', 'é', ('x', 1), ('x', 'y'), 3, 2.5})))"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2", "3")
    }
    assert len(written) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_plain_json_survives(value: Any) -> None:
    raw = encode(value)
    assert decode(raw) == value
    assert bytes(encode(decode(raw))) == bytes(raw)


@given(JSON)
def test_the_quick_way_and_the_careful_way_write_alike(value: Any) -> None:
    quick = bytes(encode([value, 1]))
    careful = bytes(encode(collections.deque([value, 1])))
    assert quick == careful


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "annotation", "path", "reason"),
    [
        (b'"3"', int, "$", "Expected `int`, got `str`"),
        (b'{"x":"a"}', Point, "$.x", "Expected `int`, got `str`"),
        (b"{}", Point, "$", "missing required field `x` (a field that was added later needs a default)"),
        (b'["Tokyo"]', Grown, "$", "missing required field `at`"),
        (b'[["Tokyo"]]', list[Grown], "$[0]", "missing required field `at`"),
        (b'{"x":1}', GrownStruct, "$", "missing required field `y`"),
        (b'{"x":1}', Hid, "$", "missing required field `_y`"),
        (b'[{"x":1},{"x":1},{"x":null}]', list[Point], "$[2].x", "Expected `int`, got `null`"),
        (b'{"a":[1,2,3,{"x":"b"}]}', dict[str, list[int | Point]], "$.a[3].x", "Expected `int`, got `str`"),
        (b'{"odd key":{"x":"b"}}', dict[str, Point], '$["odd key"].x', "Expected `int`"),
        (b'"green"', Colour, "$", "Invalid enum value 'green'"),
        (b"0.7", Ratio, "$", "0.7 is not a value of Ratio"),
        (b'"no date"', datetime, "$", "Invalid RFC3339"),
        (b'"x"', UUID, "$", "Invalid UUID"),
        (b"[1]", tuple[int, str], "$", "length 2"),
        (b'[1,"a"]', Home, "$[0]", "Expected `Path`"),
        (b'{"a":[5]}', dict[str, list[Path]], "$.a[0]", "Expected `"),
        (b'{"static":"x","many":{}}', Holder, "$.static", "Static couldn't be made of this: ValueError"),
        (b'{"static":"1","many":{"k":[{}]}}', Holder, "$.many.k[0]", "OfInstance couldn't be made of this: KeyError"),
        (b'{"static":"1"}', Holder, "$", "missing required field `many`"),
        (b'"1"', Holder, "$", "Expected `object`, got `str`"),
        (b'{"x":"b"}', Model, "$", "Model couldn't be made of this"),
        (b"5", Circle | Ball, "$", "fits none of the types"),
        (b'{"radius":"b"}', Circle | None, "$.radius", "Expected `float`"),
        (b'{"a":1}', Broken, "$", "make it a dataclass, or give it to_json and from_json"),
        (b"{}", list[Static], "$", "Expected `array`, got `object`"),
        (b"[]", dict[str, Static], "$", "Expected `object`, got `array`"),
        (b"[[1]]", set[list[Path]], "$[0][0]", "Expected `"),
        (b"{", Any, "$", "invalid JSON"),
        (b"", Any, "$", "invalid JSON"),
        (b'"\xff"', Any, "$", "invalid JSON"),
        (b"1 2", int, "$", "invalid JSON"),
        (b"[" * 100_000, Any, "$", "nested deeper than 200 levels"),
        (b'{"yes":1}', dict[bool, int], "$.yes", "the key 'yes' is not a value of bool"),
        (b'{"a":1}', dict[int | None, int], "$.a", "fits none of the types"),
        (b'{"0.7":1}', dict[Ratio, int], '$["0.7"]', "is not a value of Ratio"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_what_does_not_fit_is_refused_with_its_path(raw: bytes, annotation: Any, path: str, reason: str) -> None:
    with pytest.raises(Mismatch) as refused:
        decode(Raw(raw), annotation)
    assert refused.value.path == path
    assert reason in refused.value.reason


Unresolved = dataclasses.make_dataclass("Unresolved", [("a", "NoSuchName"), ("b", "int", 5)])


@pytest.mark.parametrize(
    "annotation",
    [Any, object, inspect.Parameter.empty, None, "NoSuchName", T, typing.ForwardRef("NoSuchName"), typing.Hashable],
    ids=spelled_part,
)
def test_an_annotation_that_says_nothing_leaves_plain_json(annotation: Any) -> None:
    assert decode(b"5", annotation) == 5


def test_parts_that_say_nothing_stay_plain_json() -> None:
    assert decode(b'[{"a":1}]', list["NoSuchName"]) == [{"a": 1}]  # type: ignore[name-defined]  # noqa: F821
    made = decode(b'{"a":{"x":1}}', Unresolved)
    assert (type(made), made.a, made.b) == (Unresolved, {"x": 1}, 5)


def test_an_annotation_that_cannot_be_hashed_works() -> None:
    assert decode(b"5", Annotated[int, ["notes"]]) == 5
    assert decode(b'"a"', Annotated[Path, ["notes"]]) == Path("a")


def test_constraints_are_checked() -> None:
    assert decode(b"5", Annotated[int, msgspec.Meta(ge=5)]) == 5
    with pytest.raises(Mismatch, match=">= 5"):
        decode(b"4", Annotated[int, msgspec.Meta(ge=5)])


@pytest.mark.parametrize(
    ("raw", "annotation", "expected"),
    [
        (b"3", float | int, 3),
        (b"3.5", int | float, 3.5),
        (b"3", float | int | Path, 3),
        (b"true", int | bool, True),
        (b'"2026-11-22"', date | str, date(2026, 11, 22)),
        (b'"Tokyo"', date | str, "Tokyo"),
        (b"null", Circle | Ball | None, None),
        (b'{"1":2}', dict[int, int], {1: 2}),
        (b'{"1":"a"}', dict[int, Path], {1: Path("a")}),
    ],
)
def test_a_union_takes_what_fits_best(raw: bytes, annotation: Any, expected: Any) -> None:
    made = decode(raw, annotation)
    assert (made, type(made)) == (expected, type(expected))


def test_a_class_that_a_payload_names_is_never_touched() -> None:
    raw = encode({"__class__": "Popen", "__module__": "antigravity", "__data__": ["true"]})
    assert decode(raw) == {"__class__": "Popen", "__module__": "antigravity", "__data__": ["true"]}
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("raw", [b"{}", b'"x"', b"[]"])
def test_decoding_a_union_leaves_nothing_to_the_garbage_collector(raw: bytes) -> None:
    def scenario() -> None:
        with contextlib.suppress(Mismatch):
            decode(raw, Static | OfInstance | Path)

    scenario()
    with collect_cyclic_garbage() as garbage:
        scenario()
    assert garbage == {}
