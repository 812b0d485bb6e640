"""Checked fields of workers' answers: a value that no record can hold raises UsageError."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from durablecli.model.entity_id import to_entity_id
from durablecli.model.failures import Failure, limit_failure
from durablecli.model.ids import check_instance_id
from durablecli.model.validation import check_one_line_name, check_time, check_version
from durablecli.protocol.generated import pb
from durablecli.protocol.values import field_text, field_time, to_failure


def read_version(message: Any) -> str | None:
    """Return the version in a message; None if there is none."""
    return check_version(field_text(message, "version"))


def read_instance_id(text: str) -> str:
    """Return the id of an orchestration."""
    return check_instance_id(text)


def read_entity_id(text: str) -> str:
    """Return the id of an entity as `@name@key`, with its name in lower case."""
    return str(to_entity_id(text))


def read_request_id(text: str, what: str) -> str:
    """Return the id that a worker gave a request."""
    return check_one_line_name(text, what)


def read_time(message: Any, field: str, what: str) -> datetime | None:
    """Return the time in a `Timestamp` field; None if the field isn't set."""
    time = field_time(message, field, what)
    return None if time is None else check_time(time, what).astimezone(UTC)


def read_failure(details: pb.TaskFailureDetails) -> Failure:
    """Return a failure, limited in size as those of local code are."""
    return limit_failure(to_failure(details))
