"""The small parts that messages share: payloads, times, statuses and failures."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.model.boxed_text import from_text, to_text
from durablecli.model.exception_attributes import NO_ATTRIBUTES
from durablecli.model.failures import Failure
from durablecli.protocol.generated import pb

STATUSES = {
    "Running": pb.ORCHESTRATION_STATUS_RUNNING,
    "Completed": pb.ORCHESTRATION_STATUS_COMPLETED,
    "ContinuedAsNew": pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW,
    "Failed": pb.ORCHESTRATION_STATUS_FAILED,
    "Canceled": pb.ORCHESTRATION_STATUS_CANCELED,
    "Terminated": pb.ORCHESTRATION_STATUS_TERMINATED,
    "Pending": pb.ORCHESTRATION_STATUS_PENDING,
    "Suspended": pb.ORCHESTRATION_STATUS_SUSPENDED,
}
STATUS_NAMES = {number: name for name, number in STATUSES.items()}


def execution_id(instance: str, execution: str) -> str:
    """Return the id of an execution on the wire, 32 hex digits: instances that one commit began share ours."""
    return sha256(f"{instance}/{execution}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def field_text(message: Any, field: str) -> str | None:
    """Return the text of a `StringValue` field; None if the field isn't set."""
    return getattr(message, field).value if message.HasField(field) else None


def field_payload(message: Any, field: str) -> Raw:
    """Return the payload in a `StringValue` field; null if the field isn't set."""
    return from_text(field_text(message, field))


def field_payload_or_null(message: Any, field: str) -> Raw:
    """Return the payload in a field of another engine's message: some send an empty text where there is none."""
    return from_text(field_text(message, field) or None)


def field_time(message: Any, field: str, what: str | None = None) -> datetime | None:
    """Return the time in a `Timestamp` field; None if the field isn't set. Raises UsageError, about `what`, for what no
    datetime can hold."""
    return to_datetime(getattr(message, field), what or field) if message.HasField(field) else None


def make_text(text: str | None) -> StringValue | None:
    """Return a text as a field's value; None leaves the field unset."""
    return None if text is None else StringValue(value=text)


def make_payload(payload: Raw) -> StringValue | None:
    """Return a payload as a field's value; None, which leaves the field unset, for null and for no payload."""
    return make_text(to_text(payload))


def make_time(time: datetime | None) -> Timestamp | None:
    """Return a time as a field's value; None leaves the field unset."""
    if time is None:
        return None
    made = Timestamp()
    made.FromDatetime(time.astimezone(UTC).replace(tzinfo=None))
    return made


def to_datetime(time: Timestamp, what: str = "a time") -> datetime:
    """Return a time of the protocol in UTC, in microseconds; raises UsageError for what no datetime can hold."""
    try:
        return time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{what} must lie between the years 1 and 9999") from None


def make_failure(failure: Failure | None) -> pb.TaskFailureDetails | None:
    """Return a failure, with its causes, as a message.

    The attributes of the exception are its properties. What the message has no field for is one more property.
    """
    if failure is None:
        return None
    return pb.TaskFailureDetails(
        errorType=failure.type,
        errorMessage=failure.message or failure.type.rpartition(".")[2],  # some engines take an empty text for success
        stackTrace=make_text(failure.traceback or None),
        innerFailure=make_failure(failure.cause),
        isNonRetriable=not failure.retryable,
        properties=_make_properties(failure),
    )


def to_failure(details: pb.TaskFailureDetails) -> Failure:
    """Return a failure of the protocol, with its causes."""
    rest, attributes = _read_properties(details)
    return Failure(
        details.errorType,
        details.errorMessage if rest.message is None else rest.message,
        bases=rest.bases,
        traceback=details.stackTrace.value,
        cause=to_failure(details.innerFailure) if details.HasField("innerFailure") else None,
        attributes=attributes,
        retryable=not details.isNonRetriable,
        omitted=rest.omitted,
    )


REWIND_PROPERTY = "durablecli.rewind"
"""Of the failure that ends an execution: what a worker has to know to rewind it."""
_REST_PROPERTY = "durablecli"


class _FailureRest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a failure that the message doesn't have, and its attributes with numbers as they are."""

    bases: tuple[str, ...] = ()
    message: str | None = None
    omitted: int = 0
    attributes: Raw = NO_ATTRIBUTES


_NO_REST = _FailureRest()


def _make_properties(failure: Failure) -> dict[str, Value]:
    properties = {}
    if failure.attributes:
        struct = Struct()
        struct.update(msgspec.json.decode(failure.attributes))
        properties = dict(struct.fields)
    if (
        failure.bases or failure.omitted or not failure.message
    ):  # else another SDK has made it, and knows its properties
        rest = _FailureRest(failure.bases, failure.message or "", failure.omitted, failure.attributes)
        if failure.message:
            rest = msgspec.structs.replace(rest, message=None)
        properties[_REST_PROPERTY] = Value(string_value=msgspec.json.encode(rest).decode())
    return properties


def _read_properties(details: pb.TaskFailureDetails) -> tuple[_FailureRest, Raw]:
    """Return the fields without a place in the message, and the attributes."""
    found = dict(details.properties)
    text = found.pop(_REST_PROPERTY, Value()).string_value
    found.pop(REWIND_PROPERTY, None)
    try:
        rest = msgspec.json.decode(text, type=_FailureRest) if text else _NO_REST
    except msgspec.MsgspecError:
        rest = _NO_REST
    if rest.attributes or not found:
        return rest, rest.attributes or NO_ATTRIBUTES
    attributes = {}
    for name, value in sorted(found.items()):
        with suppress(ValueError, SerializeToJsonError):  # not a number that JSON has
            attributes[name] = MessageToDict(value)
    return rest, Raw(msgspec.json.encode(attributes)) if attributes else NO_ATTRIBUTES
