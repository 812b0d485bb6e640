"""Completion tokens."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from durablecli.errors import UsageError
from durablecli.protocol.completion_token import decode_token, encode_token
from durablecli.replay.remote_work import ActivityKey, EntityBatchKey, RemoteWorkKey, TurnKey

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    "key", [TurnKey("a", "1f", 3, 5, NOW), ActivityKey("ä/b", "1", 7), EntityBatchKey("@counter@x", "2", 9)]
)
def test_a_token_names_what_it_answers(key: RemoteWorkKey) -> None:
    found = decode_token(encode_token(key))
    assert found == key
    assert type(found) is type(key)


NAIVE_TIME = encode_token(TurnKey("a", "1", 3, 5, datetime(2026, 1, 2)))  # noqa: DTZ001 - no hub has such times
NESTED = "W1tb" * 100_000


@pytest.mark.parametrize(
    "token", ["", "x", "AAAA", "bnVsbA==", "WyJ0dXJuIl0=", "WyJvdGhlciIsMV0=", "ü", NAIVE_TIME, NESTED]
)
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match=r"^invalid completion token$"):
        decode_token(token)
