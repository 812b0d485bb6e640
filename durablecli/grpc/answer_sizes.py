"""The sizes of payloads in answers: a record, with its payload, has to fit into one write of the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.failures import Failure
from durablecli.replay.remote_work import ActivityAnswer, Answer, EntityBatchAnswer, TurnAnswer

_PAYLOAD_FIELDS = ("input", "result", "output", "status")


def limit_answer(answer: Answer, limit: int = PAYLOAD_LIMIT) -> Answer:
    """Return the answer. An activity whose result is too large has failed; any other answer with too large a payload
    raises UsageError."""
    largest = max(map(len, _iter_payloads(answer)), default=0)
    if largest <= limit:
        return answer
    text = f"a payload has {largest:,} bytes, the limit is {limit:,}: keep it in a file and pass its path"
    if isinstance(answer, ActivityAnswer):
        return ActivityAnswer(answer.key, failure=Failure("durablecli.errors.UsageError", text, retryable=False))
    raise UsageError(text)


def _iter_payloads(answer: Answer) -> Iterator[memoryview]:
    values: Iterable[Any]
    match answer:
        case ActivityAnswer():
            values = (answer,)
        case TurnAnswer():
            values = (*answer.decisions, *(answer.carried or ()))
            if answer.custom_status is not None:
                yield memoryview(answer.custom_status)
        case EntityBatchAnswer():
            values = (*answer.results, *answer.signals, *answer.starts)
            yield memoryview(answer.state)
    for value in values:
        for name in _PAYLOAD_FIELDS:
            payload = getattr(value, name, None)
            if isinstance(payload, Raw):
                yield memoryview(payload)
