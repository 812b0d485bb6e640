"""The answer of a worker to an activity."""

from __future__ import annotations

from durablecli.protocol.answer_fields import read_failure
from durablecli.protocol.generated import pb
from durablecli.protocol.values import field_payload
from durablecli.replay.remote_work import ActivityAnswer, ActivityKey


def read_activity_answer(response: pb.ActivityResponse, key: ActivityKey) -> ActivityAnswer:
    """Return the result in a response, or the failure."""
    if response.HasField("failureDetails"):
        return ActivityAnswer(key, failure=read_failure(response.failureDetails))
    return ActivityAnswer(key, field_payload(response, "result"))
