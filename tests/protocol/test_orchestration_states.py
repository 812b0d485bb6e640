"""States of orchestrations, as clients of the protocol get them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.protocol.generated import pb
from durablecli.protocol.orchestration_states import OrchestrationFields, make_orchestration_state, read_fields
from durablecli.protocol.values import execution_id, to_datetime
from durablecli.replay.runtime_state import fold_history

START = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = ev.ExecutionStarted(
    "i", "1f", "o", Raw(b'{"$text":"any"}'), "2", ev.Origin("p", "1", 3), tags={"k": "v"}, custom_status=Raw(b'"old"')
)


def state(*events: ev.AnyEvent, payloads: bool = True) -> pb.OrchestrationState:
    records = [ev.Record(n, START + timedelta(seconds=n), event) for n, event in enumerate(events, 1)]
    return make_orchestration_state(read_fields(fold_history(records)), payloads=payloads)


def test_a_running_instance() -> None:
    found = state(STARTED, ev.CustomStatusSet(Raw(b"1")))
    assert (found.instanceId, found.name, found.version.value) == ("i", "o", "2")
    assert found.orchestrationStatus == pb.ORCHESTRATION_STATUS_RUNNING
    assert (found.input.value, found.customStatus.value) == ("any", "1")
    assert found.executionId.value == execution_id("i", "1f")
    assert (found.parentInstanceId.value, dict(found.tags)) == ("p", {"k": "v"})
    assert to_datetime(found.createdTimestamp) == START + timedelta(seconds=1)
    assert to_datetime(found.lastUpdatedTimestamp) == START + timedelta(seconds=2)
    unset = ("output", "failureDetails", "completedTimestamp", "scheduledStartTimestamp")
    assert not any(found.HasField(field) for field in unset)


def test_a_completed_instance() -> None:
    found = state(STARTED, ev.ExecutionCompleted("Completed", Raw(b"[1]")))
    assert found.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED
    assert found.output.value == "[1]"
    assert to_datetime(found.completedTimestamp) == START + timedelta(seconds=2)


def test_a_failed_instance() -> None:
    failure = Failure("builtins.ValueError", "no", traceback="at x", cause=Failure("E", "why", retryable=False))
    found = state(STARTED, ev.ExecutionCompleted("Failed", failure=failure))
    assert found.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
    details = found.failureDetails
    assert (details.errorType, details.errorMessage, details.stackTrace.value) == ("builtins.ValueError", "no", "at x")
    assert (details.innerFailure.errorMessage, details.innerFailure.isNonRetriable) == ("why", True)
    assert not found.HasField("output")


@pytest.mark.parametrize("output", [b'"text"', b'{"a":1}', b"5"])
def test_the_output_of_a_terminated_instance_is_any_json(output: bytes) -> None:
    found = state(
        STARTED, ev.ExecutionTerminated(output=Raw(output)), ev.ExecutionCompleted("Terminated", result=Raw(output))
    )
    assert found.orchestrationStatus == pb.ORCHESTRATION_STATUS_TERMINATED
    assert found.output.value == output.decode()


def test_without_payloads_there_is_no_input_and_no_output() -> None:
    found = state(STARTED, ev.ExecutionCompleted("Completed", Raw(b"[1]")), payloads=False)
    assert not found.HasField("input")
    assert not found.HasField("output")
    assert found.customStatus.value == '"old"'


def test_an_instance_that_no_engine_has_accepted_has_no_execution() -> None:
    later = START + timedelta(days=1)
    found = make_orchestration_state(OrchestrationFields("i", "o", "Pending", START, START, start_at=later))
    assert found.orchestrationStatus == pb.ORCHESTRATION_STATUS_PENDING
    assert not found.HasField("executionId")
    assert to_datetime(found.scheduledStartTimestamp) == later
