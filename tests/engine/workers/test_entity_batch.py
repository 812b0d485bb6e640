"""Entity batches: what the operations see, what is recorded, and that the grouping into batches makes no difference."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from queue import SimpleQueue
from typing import Any, ClassVar, Final
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine.workers import entity_batch
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.decided_tasks import EntityOperation
from durablecli.engine.workers.entity_batch import EntityBatchCall
from durablecli.engine.workers.thread_pool import ThreadPool
from durablecli.model import events as ev
from durablecli.model.failures import Failure

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMIT = 16 * 1024 * 1024
EDGE = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))
Call = str | tuple[str, Any]


def run_operations(
    entity: Any, *calls: Call, state: Any = None, waits: bool = True, limit: int = LIMIT
) -> ev.EntityBatch:
    """Run these operations, numbered from 2, as one batch."""
    return run_batch(entity, calls, b"" if state is None else msgspec.json.encode(state), waits, limit)


def run_batch(
    entity: Any, calls: Sequence[Call], state: bytes | Raw, waits: bool = True, limit: int = LIMIT, first: int = 2
) -> ev.EntityBatch:
    [function] = testing.build_registry(entity)
    named = [(call, None) if isinstance(call, str) else call for call in calls]
    wanted = [EntityOperation(n, name, Raw(msgspec.json.encode(x)), waits) for n, (name, x) in enumerate(named, first)]
    key = (f"@{function.name.lower()}@a", "1", wanted[-1].n)
    made = EntityBatchCall(key, function, Raw(state), wanted, limit, Cancellation(), AT)
    result = made.run()
    assert result.key == key
    return result.event


def decode_state(event: ev.EntityBatch) -> Any:
    return msgspec.json.decode(event.state) if event.state else None


def decode_results(event: ev.EntityBatch) -> list[Any]:
    """Return the result of each operation, or the text of its failure."""
    return [each.failure.message if each.failure else msgspec.json.decode(each.result) for each in event.results]


def last_failure(event: ev.EntityBatch) -> Failure:
    found = event.results[-1].failure
    assert found is not None
    return found


@df.entity
def tally(context: df.DurableEntityContext) -> Any:
    value = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            context.set_state(value + context.get_input(int))
        case "get":
            context.set_result(value)
        case "read":
            return value
        case "break":
            context.set_state(99)
            context.signal_entity("@tally@b", "add", 1)
            context.start_new("report")
            raise ValueError("no")
        case "exit":
            raise SystemExit(3)
        case "destroy":
            context.destruct_on_exit()
        case "nothing":
            context.set_state(None)
        case "new":
            return context.is_newly_constructed
    return None


@df.entity
class Counter:
    value: int = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount

    def get(self) -> int:
        return self.value

    def fail(self) -> None:
        self.value = 99
        raise KeyError("no")


# ── functions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_function_gets_state_and_input_and_answers() -> None:
    event = run_operations(tally, ("add", 2), ("add", 3), "get", "read", "new")
    assert (decode_state(event), event.upto, event.deleted) == (5, 6, False)
    assert decode_results(event) == [None, None, 5, 5, False]


def test_results_are_recorded_for_waiting_callers_and_failures_always() -> None:
    event = run_operations(tally, ("add", 2), "get", "break", waits=False)
    assert [(each.n, each.result, each.failure is None) for each in event.results] == [(4, ev.ABSENT, False)]


def test_a_batch_of_signals_records_only_the_state() -> None:
    event = run_operations(tally, ("add", 2), ("add", 3), waits=False)
    assert msgspec.json.encode(event) == b'{"type":"EntityBatch","upto":3,"state":5}'


def test_an_unchanged_state_is_not_recorded() -> None:
    event = run_operations(tally, ("add", 1), ("add", -1), "get", state=7)
    assert (event.state, event.deleted, decode_results(event)) == (ev.ABSENT, False, [None, None, 7])


def test_an_operation_that_raises_changes_nothing() -> None:
    event = run_operations(tally, ("add", 2), "break", ("add", 3), "exit", "get")
    assert decode_state(event) == 5
    assert (event.signals, event.starts) == ((), ())
    assert decode_results(event) == [None, "no", None, "3", 5]
    assert [each.failure.type for each in event.results if each.failure] == [
        "builtins.ValueError",
        "builtins.SystemExit",
    ]


@pytest.mark.parametrize("away", ["destroy", "nothing", "delete", "DELETE"])
def test_cleared_state_is_absent_for_the_next_operation(away: str) -> None:
    event = run_operations(tally, away, "new", state=7)
    assert (event.state, event.deleted, decode_results(event)[1]) == (ev.ABSENT, True, True)
    event = run_operations(tally, away, ("add", 1), state=7)
    assert (decode_state(event), event.deleted) == (1, False)


def test_deleting_a_missing_state_records_nothing() -> None:
    assert run_operations(tally, ("add", 1), "delete", waits=False) == ev.EntityBatch(3)


def test_a_function_may_handle_delete_itself() -> None:
    @df.entity
    def keeper(context: df.DurableEntityContext) -> Any:
        if context.operation_name == "delete":
            context.signal_entity("@audit@all", "asked")

    assert not run_operations(keeper, "delete", state=1).deleted

    @df.entity
    def refusing(context: df.DurableEntityContext) -> Any:
        raise PermissionError("never")

    assert not run_operations(refusing, "delete", state=1).deleted


def test_changes_to_a_state_after_it_was_set_are_lost() -> None:
    @df.entity
    def notes(context: df.DurableEntityContext) -> Any:
        found = context.get_state(list)
        if context.operation_name == "got":
            found.append("lost")
            return context.get_state()
        found.append("kept")
        context.set_state(found)
        found.append("lost")
        return context.get_state()

    event = run_operations(notes, "set", "got", "set")
    assert decode_state(event) == ["kept", "kept"]
    assert decode_results(event) == [["kept"], ["kept"], ["kept", "kept"]]


def test_a_result_that_was_set_wins_over_the_return_value() -> None:
    @df.entity
    def both(context: df.DurableEntityContext) -> Any:
        context.set_result(None if context.operation_name == "none" else "set")
        return "returned"

    assert decode_results(run_operations(both, "both", "none")) == ["set", None]


def test_state_and_input_are_decoded_by_the_type_that_is_expected() -> None:
    @dataclasses.dataclass
    class Money:
        amount: int

    @df.entity
    def purse(context: df.DurableEntityContext) -> Any:
        held = context.get_state(lambda: Money(0), Money)
        context.set_state(Money(held.amount + context.get_input(Money).amount))

    event = run_operations(purse, ("add", {"amount": 2}), ("add", {"amount": "x"}), ("add", {"amount": 3}))
    assert decode_state(event) == {"amount": 5}
    assert decode_results(event)[1] == "$.amount: Expected `int`, got `str`"


def test_an_initializer_is_a_function() -> None:
    @df.entity
    def wrong(context: df.DurableEntityContext) -> Any:
        return context.get_state(0)  # type: ignore[arg-type]

    for before in (None, 1):
        assert decode_results(run_operations(wrong, "any", state=before)) == [
            "initializer argument needs to be a callable function"
        ]


def test_the_context_knows_its_entity_and_is_over_after_the_operation() -> None:
    kept: list[df.DurableEntityContext] = []

    @df.entity
    def curious(context: df.DurableEntityContext) -> Any:
        kept.append(context)
        return [context.entity_name, context.entity_key, str(context.entity_id), context.logger.name]

    assert decode_results(run_operations(curious, "who")) == [
        ["curious", "a", "@curious@a", "durablecli.entity.curious"]
    ]
    attempts = [
        lambda: kept[0].operation_name,
        lambda: kept[0].set_state(1),
        lambda: kept[0].set_result(1),
        lambda: kept[0].signal_entity("@x@y", "z"),
        lambda: kept[0].start_new("x"),
        kept[0].destruct_on_exit,
        kept[0].get_state,
    ]
    for attempt in attempts:
        with pytest.raises(RuntimeError, match="Entity operation is unassigned"):
            attempt()


# ── signals and starts ─────────────────────────────────────────────────────────────────────────────────────────────


def test_signals_and_starts_are_recorded_in_order() -> None:
    @df.orchestrator
    def report(context: df.DurableOrchestrationContext) -> Any:
        return None

    @df.entity
    def sender(context: df.DurableEntityContext) -> Any:
        context.signal_entity(df.EntityId("Other", "Key"), "go", {"x": 1})
        context.signal_entity("@other@b@c", "naive", at=datetime(2026, 5, 1))  # noqa: DTZ001 - it is read as UTC
        context.signal_entity("@other@b", "later", at=timedelta(hours=1))
        given = context.start_new("report", "mine", 5, "2.0")
        return [given, context.start_new(report)]

    event = run_operations(sender, "go")
    later = datetime(2026, 5, 1, tzinfo=UTC), AT + timedelta(hours=1)
    assert [(each.entity, each.name, bytes(each.input), each.scheduled_time) for each in event.signals] == [
        ("@other@Key", "go", b'{"x":1}', None),
        ("@other@b@c", "naive", b"null", later[0]),
        ("@other@b", "later", b"null", later[1]),
    ]
    [[given, random]] = decode_results(event)
    assert (given, len(random)) == ("mine", 32)
    assert event.starts == (
        ev.EntityOperationStart("mine", "report", Raw(b"5"), "2.0"),
        ev.EntityOperationStart(random, "report"),
    )


class Word(str):
    """A string whose `str()` differs from its value."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\ud800"

    def __format__(self, _: str) -> str:
        return "\ud800"


class Moment(datetime):
    """A subclass of datetime, as some libraries have."""


def test_names_and_times_of_signals_and_starts_are_plain_values() -> None:
    @df.entity
    def sender(context: df.DurableEntityContext) -> Any:
        context.signal_entity(df.EntityId(Word("Other"), Word("Key")), Word("go"), at=Moment(2026, 5, 1, tzinfo=UTC))
        context.signal_entity(Word("@other@key"), Word("go"))
        return context.start_new(Word("report"), Word("mine"), None, Word("2.0"))

    event = run_operations(sender, "go")
    assert decode_results(event) == ["mine"]
    assert [type(each.scheduled_time) for each in event.signals] == [datetime, type(None)]
    said = [text for each in (*event.signals, *event.starts) for text in msgspec.structs.astuple(each)]
    assert {type(text) for text in said if isinstance(text, str)} == {str}
    assert msgspec.json.decode(msgspec.json.encode(event), type=ev.EntityBatch) == event


def test_delays_of_signals_count_from_the_engine_clock() -> None:
    @df.entity
    class Clock(df.DurableEntity):
        rung: int = 0

        def wind(self) -> None:
            self.entity_context.signal_entity(self.entity_context.entity_id, "ring", at=timedelta(hours=1))

        def ring(self) -> None:
            self.rung += 1

    with testing.hub(Clock) as hub:
        hub.client.signal_entity("@clock@a", "wind")
        hub.advance(timedelta(minutes=59))
        assert hub.client.read_entity_state("@clock@a").entity_state == {"rung": 0}
        hub.advance(timedelta(minutes=1))
        assert hub.client.read_entity_state("@clock@a").entity_state == {"rung": 1}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda context: context.signal_entity("other", "x"), "'other' is no entity id; name the entity as @name@key"),
        (lambda context: context.signal_entity("@a@b", None), "the name of an operation must be a string, not None"),
        (lambda context: context.signal_entity("@a@b", "x", at=5), "at is a datetime or a timedelta, not int"),
        (lambda context: context.signal_entity("@a@b", "x", float("nan")), "nan is not a JSON number"),
        (lambda context: context.start_new(""), "the name of an orchestrator must be a non-empty string"),
        (lambda context: context.start_new(tally), "tally is an entity; an orchestrator is needed here"),
        (lambda context: context.start_new("x", "@a@b"), "must not start with @"),
        (lambda context: context.start_new("x\ud800"), "the name of an orchestrator must be valid Unicode"),
        (lambda context: context.start_new("x", version=5), "a version must be a string, not int"),
        (lambda context: context.start_new("x", version="\ud800"), "a version must be valid Unicode"),
        (lambda context: context.signal_entity("@a@b", "\udfff"), "the name of an operation must be valid Unicode"),
        (lambda context: context.signal_entity("@a@b", "x" * 257), "an operation has 257 characters, at most 256"),
        (lambda context: context.signal_entity("@a@b", "x", at=EDGE), "between the years 1 and 9999"),
        (lambda context: context.signal_entity("@a@b", "x", at=timedelta.max), "between the years 1 and 9999"),
        (lambda context: context.set_state(object()), "object can't be written as JSON"),
        (lambda context: {(1, 2): 2}, "the key (1, 2) is not a string, finite number, boolean or None"),
    ],
)
def test_invalid_calls_fail_the_operation_with_a_reason(wrong: Any, text: str) -> None:
    @df.entity
    def slip(context: df.DurableEntityContext) -> Any:
        return wrong(context)

    event = run_operations(slip, "any", waits=False)
    assert text in last_failure(event).message
    assert (event.signals, event.starts, event.state) == ((), (), ev.ABSENT)


# ── limits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("what", ["state", "result", "signal"])
def test_each_value_has_a_limit(what: str) -> None:
    @df.entity
    def large(context: df.DurableEntityContext) -> Any:
        if what == "state":
            context.set_state("x" * 100)
        elif what == "result":
            return "x" * 100
        else:
            context.signal_entity("@a@b", "x", "x" * 100)
        return None

    assert "the limit is 100" in last_failure(run_operations(large, "any", limit=100)).message


def test_state_result_and_signals_share_one_limit() -> None:
    @df.entity
    def large(context: df.DurableEntityContext) -> Any:
        context.set_state("x" * 60)
        return "x" * 60

    event = run_operations(large, "any", limit=100)
    assert event.state == ev.ABSENT
    assert "the operation's state, result, signals and starts have 124 bytes together" in last_failure(event).message


def test_a_batch_ends_early_at_its_time_limit_after_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_batch, "MAX_BATCH_SECONDS", 0.0)
    event = run_operations(tally, ("add", 1), ("add", 1), ("add", 1))
    assert (event.upto, decode_state(event), len(event.results)) == (2, 1, 1)


@pytest.fixture
def no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a batch may run out of time before it reaches another limit."""
    monkeypatch.setattr(entity_batch, "MAX_BATCH_SECONDS", 3600.0)


@pytest.mark.usefixtures("no_time_limit")
def test_a_batch_ends_early_at_its_size_limit() -> None:
    @df.entity
    def large(context: df.DurableEntityContext) -> Any:
        return "x" * 800_000

    assert run_operations(large, *["any"] * 9).upto == 4
    assert run_operations(large, *["any"] * 9, waits=False).upto == 10


@pytest.mark.usefixtures("no_time_limit")
@pytest.mark.parametrize("kind", ["signal", "start"])
def test_signals_and_starts_count_with_their_names_and_overhead(kind: str) -> None:
    @df.entity
    def chatty(context: df.DurableEntityContext) -> Any:
        for _ in range(context.get_input(int)):
            if kind == "signal":
                context.signal_entity("@a@" + "k" * 200, "o" * 200)
            else:
                context.start_new("f" * 200, "i" * 200)

    assert last_failure(run_operations(chatty, ("go", 10), limit=8_000)).message.startswith(
        "the operation's state, result, signals and starts"
    )
    assert run_operations(chatty, ("go", 9), limit=8_000).results[0].failure is None
    assert run_operations(chatty, *[("go", 1_000)] * 9).upto == 4


def test_one_operation_sends_at_most_ten_thousand() -> None:
    @df.entity
    def chatty(context: df.DurableEntityContext) -> Any:
        context.start_new("x")
        for _ in range(context.get_input(int) - 1):
            context.signal_entity("@a@b", "x")

    event = run_operations(chatty, ("go", 10_001))
    assert "at most 10,000 signals and starts" in last_failure(event).message
    assert (event.signals, event.starts) == ((), ())
    assert len(run_operations(chatty, ("go", 10_000)).signals) == 9_999


def test_a_cancelled_batch_runs_at_most_one_more_operation() -> None:
    [function] = testing.build_registry(tally)
    told = Cancellation()
    told.requested = True
    wanted = [EntityOperation(n, "add", Raw(b"1"), False) for n in (2, 3)]
    assert EntityBatchCall(("@tally@a", "1", 3), function, Raw(), wanted, LIMIT, told, AT).run().event.upto == 2


# ── classes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_attributes_of_a_class_are_its_state() -> None:
    event = run_operations(Counter, ("add", 2), "add", "get", "GET", "fail", "get")
    assert decode_state(event) == {"value": 3}
    assert decode_results(event) == [None, None, 3, 3, "'no'", 3]


def test_the_failure_of_an_unknown_operation_lists_the_known_ones() -> None:
    event = run_operations(Counter, "sub")
    assert decode_results(event) == ["Counter has no operation 'sub'; its operations: add, get, fail"]
    assert event.state == ev.ABSENT


def test_a_class_without_delete_can_be_deleted() -> None:
    event = run_operations(Counter, "Delete", state={"value": 3})
    assert (event.deleted, decode_results(event)) == (True, [None])
    assert decode_results(run_operations(Counter, "delete", "get", state={"value": 3})) == [None, 0]


def test_a_class_may_define_delete() -> None:
    @df.entity
    class Careful(df.DurableEntity):
        value: int = 0

        def delete(self) -> None:
            if self.value:
                raise ValueError("not empty")
            self.entity_context.destruct_on_exit()

    assert not run_operations(Careful, "delete", state={"value": 1}).deleted
    assert run_operations(Careful, "delete", state={"value": 0}).deleted


def test_an_input_is_decoded_by_the_annotation_of_its_parameter() -> None:
    class Colour(Enum):
        RED = "red"

    @df.entity
    class Box:
        def put(self, colour: Colour) -> str:
            return colour.name

    Box.put.__annotations__["colour"] = Colour
    assert decode_results(run_operations(Box, ("put", "red"), ("put", "blue"))) == [
        "RED",
        "$: Invalid enum value 'blue'",
    ]


def test_an_operation_may_take_the_context_anywhere() -> None:
    @df.entity
    class Curious(df.DurableEntity):
        def alone(self, context: df.DurableEntityContext) -> str:
            return context.operation_name

        def before(self, context: df.DurableEntityContext, x: int) -> list[Any]:
            return [context.operation_name, x]

        def after(self, x: int, context: df.DurableEntityContext) -> list[Any]:
            return [context.operation_name, x]

        def named(self, x: int = 7, *, context: df.DurableEntityContext) -> list[Any]:
            return [context.operation_name, x]

        def inherited(self) -> bool:
            return self.entity_context.is_newly_constructed

    event = run_operations(Curious, "alone", ("before", 1), ("after", 2), ("named", 3), "named", "inherited")
    assert decode_results(event) == ["alone", ["before", 1], ["after", 2], ["named", 3], ["named", 7], False]
    assert decode_state(event) == {}
    with pytest.raises(RuntimeError, match="Entity operation is unassigned"):
        Curious().inherited()


def test_methods_of_a_base_are_operations_and_those_of_durablecli_are_not() -> None:
    class Base:
        total: int = 0

        def add(self, x: int) -> None:
            self.total += x

        def _hidden(self) -> None: ...

    @df.entity
    class Sub(Base, df.DurableEntity):
        helper = staticmethod(len)

        def get(self) -> int:
            return self.total

    event = run_operations(Sub, ("add", 2), "get", "_hidden", "entity_context", "helper")
    assert decode_results(event)[:2] == [None, 2]
    assert all(text.endswith("its operations: add, get") for text in decode_results(event)[2:])


def test_annotated_attributes_keep_their_types() -> None:
    @dataclasses.dataclass
    class Item:
        name: str

    @df.entity
    class Shelf:
        items: list[Item] = []  # noqa: RUF012 - it is copied for each object
        seen: set[str] = set()  # noqa: RUF012
        when: datetime | None = None
        size: float = 0

        def put(self, name: str) -> list[str]:
            assert all(isinstance(item, Item) for item in self.items)
            assert isinstance(self.seen, set)
            assert self.when is None or isinstance(self.when, datetime)
            assert not self.items or isinstance(self.size, float)
            self.items.append(Item(name))
            self.seen.add(name)
            self.when, self.size = AT, 1.0
            return sorted(self.seen)

    Shelf.__annotations__["items"] = list[Item]
    event = run_operations(Shelf, ("put", "b"), ("put", "a"))
    assert decode_results(event) == [["b"], ["a", "b"]]
    assert decode_state(event)["items"] == [{"name": "b"}, {"name": "a"}]
    assert (Shelf.items, Shelf.seen) == ([], set())


def test_constants_caches_and_class_variables_are_not_state() -> None:
    @df.entity
    class Shop:
        PRICES = {"a": 1}  # noqa: RUF012
        LIMIT = 5
        RATE: Final = 0.5
        made: ClassVar[int] = 0
        names = ["first"]  # noqa: RUF012

        @functools.cached_property
        def doubled(self) -> int:
            return 2 * self.count

        @property
        def shown(self) -> str:
            return str(self.count)

        def __init__(self) -> None:
            self.count = 0

        def go(self) -> int:
            self.count += 1
            return self.doubled

        def name(self, name: str) -> None:
            self.names.append(name)

    event = run_operations(Shop, "go", "go")
    assert (decode_state(event), decode_results(event)) == ({"count": 2}, [2, 4])
    assert decode_state(run_operations(Shop, ("name", "x"), ("name", "y"))) == {
        "names": ["first", "x", "y"],
        "count": 0,
    }
    assert Shop.names == ["first"]


def test_new_fields_get_their_default_and_removed_ones_are_kept() -> None:
    event = run_operations(Counter, "add", state={"was": [1]})
    assert decode_state(event) == {"value": 1, "was": [1]}


def test_a_saved_state_that_does_not_fit_fails_the_operation_and_is_kept() -> None:
    event = run_operations(Counter, "get", state={"value": "x"})
    assert (decode_results(event), event.state) == (["$.value: the saved state: Expected `int`, got `str`"], ev.ABSENT)
    assert decode_results(run_operations(Counter, "get", state=5)) == ["$: Expected `object`, got `int`"]


def test_dataclasses_and_structs_keep_their_fields() -> None:
    @df.entity(name="one")
    @dataclasses.dataclass
    class Plain:
        value: int = 0
        log: list[int] = dataclasses.field(default_factory=list)

        def add(self, x: int) -> None:
            self.value += x
            self.log.append(x)

    @df.entity(name="two")
    @dataclasses.dataclass(slots=True)
    class Slotted:
        value: int = 0
        log: list[int] = dataclasses.field(default_factory=list)

        def add(self, x: int) -> None:
            self.value += x
            self.log.append(x)

    @df.entity(name="three")
    class Struct(df.DurableEntity, msgspec.Struct):
        value: int = 0
        log: list[int] = []  # msgspec makes a new one for each object

        def add(self, x: int) -> None:
            self.value += x
            self.log.append(x)
            assert self.entity_context.operation_name == "add"

    for entity in (Plain, Slotted, Struct):
        assert decode_state(run_operations(entity, ("add", 1), ("add", 2))) == {"value": 3, "log": [1, 2]}
    assert decode_state(run_operations(Slotted, ("add", 1), state={"value": 3, "gone": 1})) == {"value": 4, "log": [1]}


def test_a_class_entity_sets_attributes_not_the_state() -> None:
    @df.entity
    class Slip(df.DurableEntity):
        def go(self) -> None:
            self.entity_context.set_state(1)

    assert decode_results(run_operations(Slip, "go")) == [
        "the state of a class entity is its attributes: set those instead of calling set_state"
    ]


# ── asynchronous ones ──────────────────────────────────────────────────────────────────────────────────────────────


def test_asynchronous_operations_are_awaited_one_after_another() -> None:
    @df.entity
    class Slow:
        value: int = 0

        async def add(self, x: int) -> int:
            before = self.value
            await asyncio.sleep(0)
            self.value = before + x
            return self.value

        def get(self) -> int:
            return self.value

        async def give_up(self) -> None:
            raise asyncio.CancelledError

    event = run_operations(Slow, ("add", 1), ("add", 2), "give_up", "get")
    assert (decode_state(event), [each.failure is None for each in event.results]) == (
        {"value": 3},
        [True, True, False, True],
    )

    @df.entity
    async def slow(context: df.DurableEntityContext) -> int:
        await asyncio.sleep(0)
        context.set_state(context.get_state(int) + 1)
        return 1

    assert decode_state(run_operations(slow, "a", "b")) == 2


@pytest.mark.parametrize("name", ["block", "block_async"])
def test_an_operation_that_blocks_delays_no_other_entity(name: str) -> None:
    """Also one that is `async`, and blocks without awaiting."""
    reached, go_on = threading.Event(), threading.Event()

    @df.entity
    class Mixed:
        value: int = 0

        def block(self) -> int:
            reached.set()
            self.value += 1
            return self.value if go_on.wait(30) else -1

        async def block_async(self) -> int:
            return self.block()

        async def add(self) -> int:
            self.value += 1
            return self.value

    [function] = testing.build_registry(Mixed)
    results: SimpleQueue[Any] = SimpleQueue()
    threads = ThreadPool(50, results.put, "entity")
    wanted = [EntityOperation(n, each, ev.NULL, True) for n, each in enumerate(("add", name, name, "add"), 2)]
    try:
        for i in range(40):
            threads.start(
                [EntityBatchCall((f"@mixed@{i}", "1", 5), function, Raw(), wanted, LIMIT, Cancellation(), AT)]
            )
        assert reached.wait(30)
        threads.start([EntityBatchCall(("@mixed@b", "1", 2), function, Raw(), wanted[:1], LIMIT, Cancellation(), AT)])
        assert decode_results(results.get(timeout=30).event) == [1]
        go_on.set()
        held = [results.get(timeout=30).event for _ in range(40)]
    finally:
        go_on.set()
        threads.stop()
    assert all(decode_results(event) == [1, 2, 3, 4][: event.upto - 1] for event in held)


def test_an_operation_that_awaits_for_ever_ends_when_abandoned() -> None:
    waits = threading.Event()

    @df.entity
    async def patient(context: df.DurableEntityContext) -> None:
        waits.set()
        await asyncio.sleep(1e9)

    [function] = testing.build_registry(patient)
    results: SimpleQueue[Any] = SimpleQueue()
    threads, cancellation = ThreadPool(1, results.put, "entity"), Cancellation()
    wanted = [EntityOperation(2, "go", ev.NULL, True)]
    threads.start([EntityBatchCall(("@patient@a", "1", 2), function, Raw(), wanted, LIMIT, cancellation, AT)])
    try:
        assert waits.wait(30)
        while cancellation.interrupt is None:
            pass
        cancellation.abandon()
        assert results.get(timeout=30).event.results[0].failure is not None
    finally:
        threads.stop()


def test_an_operation_that_stops_its_event_loop_fails_alone() -> None:
    @df.entity
    class Vandal:
        async def stop(self) -> None:
            asyncio.get_running_loop().stop()
            await asyncio.sleep(10)

        async def get(self) -> int:
            await asyncio.sleep(0)
            return 1

    event = run_operations(Vandal, "stop", "get")
    assert [each.failure is None for each in event.results] == [False, True]


# ── batches ────────────────────────────────────────────────────────────────────────────────────────────────────────

CALLS = st.one_of(
    st.tuples(st.just("add"), st.integers(-3, 3)),
    st.sampled_from(["get", "delete", "fail", "break", "destroy", "new", "no such"]).map(lambda name: (name, None)),
)


@mock.patch.object(entity_batch, "MAX_BATCH_SECONDS", 3600.0)
@given(entity=st.sampled_from([tally, Counter]), calls=st.lists(CALLS, min_size=1, max_size=12), cut=st.integers(1, 11))
def test_the_grouping_into_batches_makes_no_difference(entity: Any, calls: list[Call], cut: int) -> None:
    whole = run_batch(entity, calls, b"")
    held, answers = Raw(b""), []
    for start in range(0, len(calls), cut):
        event = run_batch(entity, calls[start : start + cut], held, first=2 + start)
        held = ev.ABSENT if event.deleted else event.state or held
        answers += [(each.n, each.result, each.failure and each.failure.message) for each in event.results]
    assert held == whole.state
    assert answers == [(each.n, each.result, each.failure and each.failure.message) for each in whole.results]


class Hostile(type):
    """A metaclass that raises before any operation runs."""

    def __dir__(cls) -> Any:
        raise SystemExit("no list of names")


def test_a_class_that_cannot_be_inspected_fails_its_first_operation() -> None:
    @df.entity
    class Bad(metaclass=Hostile):
        def go(self) -> None: ...

    [function] = testing.build_registry(Bad)
    results: SimpleQueue[Any] = SimpleQueue()
    threads = ThreadPool(1, results.put, "entity")
    wanted = [EntityOperation(n, "go", ev.NULL, True) for n in (2, 3)]
    for i in range(2):  # the second shows that the thread is still there
        threads.start([EntityBatchCall((f"@bad@{i}", "1", 3), function, Raw(), wanted, LIMIT, Cancellation(), AT)])
    events = [results.get(timeout=30).event for _ in range(2)]
    threads.stop()
    assert [(event.upto, decode_results(event)) for event in events] == [(2, ["no list of names"])] * 2


def test_an_abandoned_batch_reports_at_most_one_operation() -> None:
    [function] = testing.build_registry(tally)
    wanted = [EntityOperation(n, "add", Raw(b"1"), False) for n in (2, 3)]
    event = (
        EntityBatchCall(("@tally@a", "1", 3), function, Raw(), wanted, LIMIT, Cancellation(), AT)
        .make_cancelled_result()
        .event
    )
    assert (event.upto, [each.n for each in event.results]) == (2, [2])
