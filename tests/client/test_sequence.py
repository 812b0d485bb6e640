"""The messages of an execution: participants, counted messages and loops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from durablecli.client.sequence import (
    MAX_STEPS,
    MessageSequence,
    SequenceLoop,
    SequenceMessage,
    SequenceStep,
    build_sequence,
)
from durablecli.model import events as ev
from durablecli.model.failures import Failure

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
NO = Failure("builtins.ValueError", "no")
STARTED = ev.ExecutionStarted("tour-7", "2a", "tour")


def sequence_of(*events: ev.AnyEvent) -> MessageSequence:
    return build_sequence(ev.Record(n, START + timedelta(seconds=n), event) for n, event in enumerate(events, 1))


def lines(found: MessageSequence) -> list[str]:
    """The steps as text: `orchestration > hello: call x3`, a loop as `2 times [...]`."""

    def line(step: SequenceStep) -> str:
        if isinstance(step, SequenceLoop):
            return f"{step.count} times [{', '.join(map(line, step.messages))}]"
        if not isinstance(step, SequenceMessage):
            return f"{step.count} left out"
        sender, receiver = found.participants[step.sender].name, found.participants[step.receiver].name
        count = f" x{step.count}" if step.count > 1 else ""
        return f"{sender}: {step.text}{count}" if sender == receiver else f"{sender} > {receiver}: {step.text}{count}"

    return [line(step) for step in found.steps]


def test_calls_and_results_are_messages() -> None:
    found = sequence_of(
        STARTED,
        ev.TaskScheduled("hello"),
        ev.TaskFailed(2, NO),
        ev.TimerCreated(START + timedelta(seconds=9), retry_of=2),
        ev.TimerFired(4),
        ev.TaskScheduled("hello", attempt=2, retry_of=2),
        ev.TaskCompleted(6),
        ev.EntityOperationCalled("@counter@a", "add"),
        ev.EntityOperationCompleted(8),
        ev.EventAwaited("Go"),
        ev.EventRaised("Go"),
        ev.ExecutionCompleted("Completed"),
    )
    assert lines(found) == [
        "client > orchestration: start tour",
        "orchestration > hello: call",
        "hello > orchestration: ValueError",
        "orchestration: back-off 5 s",
        "orchestration > hello: attempt 2",
        "hello > orchestration: result",
        "orchestration > @counter@a: add",
        "@counter@a > orchestration: result",
        "orchestration: waits for event Go",
        "client > orchestration: event Go",
        "orchestration > client: Completed",
    ]


def test_a_fan_out_is_one_message_with_a_count() -> None:
    calls = [ev.TaskScheduled("square") for _ in range(10_000)]
    results = [ev.TaskCompleted(n) for n in range(2, 10_002)]
    assert lines(sequence_of(STARTED, *calls, *results)) == [
        "client > orchestration: start tour",
        "orchestration > square: call x10000",
        "square > orchestration: result x10000",
    ]


def test_repetitions_are_a_loop() -> None:
    steps = [event for at in range(50) for event in (ev.TaskScheduled("step"), ev.TaskCompleted(2 + 2 * at))]
    assert lines(sequence_of(STARTED, *steps))[1:] == [
        "50 times [orchestration > step: call, step > orchestration: result]"
    ]


def test_many_entities_of_one_name_share_a_column() -> None:
    calls = [ev.EntityOperationSignaled(f"@counter@{key}", "add") for key in range(312)]
    found = sequence_of(STARTED, *calls)
    assert [(each.kind, each.name, each.count) for each in found.participants] == [
        ("client", "client", 1),
        ("orchestration", "orchestration", 1),
        ("entity", "@counter", 312),
    ]


def test_many_functions_share_the_last_column() -> None:
    found = sequence_of(STARTED, *(ev.TaskScheduled(f"f{at}") for at in range(30)))
    assert len(found.participants) == 12
    assert (found.participants[-1].name, found.participants[-1].count) == ("21 others", 21)


def test_the_caller_of_a_child_is_its_parent() -> None:
    child = ev.ExecutionStarted("c-1", "2b", "child", parent=ev.Origin("tour-7", "2a", 3))
    assert lines(sequence_of(child, ev.ExecutionCompleted("Failed", failure=NO))) == [
        "tour-7 > orchestration: start child",
        "orchestration > tour-7: Failed",
    ]


def test_a_long_history_without_a_pattern_stays_small() -> None:
    random = Random(7)
    events: list[ev.AnyEvent] = [STARTED]
    while len(events) < 5_000:
        task = len(events) + 1
        events.append(ev.TaskScheduled(random.choice("abcdefgh")))
        events += [ev.TaskCompleted(task)] * random.randrange(2)
    found = sequence_of(*events)
    assert found.summed
    assert len(found.steps) <= MAX_STEPS + 1


def test_an_empty_history_has_no_messages() -> None:
    assert sequence_of() == MessageSequence((), ())
