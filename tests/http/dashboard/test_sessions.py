"""Sessions: what ends one, and what a forged one is worth."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response

from durablecli.http.dashboard.sessions import SESSION_SECONDS, LoginSessions
from durablecli.serving.api_keys import ApiKeys

KEYS = ApiKeys(function="f" * 32, system="s" * 32, master="m" * 32)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def request_with(token: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", f"c={token}".encode("latin-1"))]})


def log_in(sessions: LoginSessions, key: str = "s" * 32) -> str:
    token = sessions.log_in(key, "127.0.0.1")
    assert token is not None
    return token


def test_a_session_survives_a_restart_but_not_other_keys() -> None:
    token = log_in(LoginSessions(KEYS, "c"))
    assert LoginSessions(KEYS, "c").allows(request_with(token))
    assert not LoginSessions(ApiKeys(system="t" * 32, master="m" * 32), "c").allows(request_with(token))
    assert LoginSessions(ApiKeys(function="g" * 32, system="s" * 32, master="m" * 32), "c").allows(request_with(token))


def test_a_session_ends_after_its_time() -> None:
    clock = Clock()
    sessions = LoginSessions(KEYS, "c", clock)
    token = log_in(sessions, "m" * 32)
    clock.now += SESSION_SECONDS - 1
    assert sessions.allows(request_with(token))
    clock.now += 1
    assert not sessions.allows(request_with(token))


def test_a_session_ends_when_the_user_logs_out() -> None:
    sessions = LoginSessions(KEYS, "c")
    token = log_in(sessions)
    sessions.log_out(request_with(token), Response())
    assert not sessions.allows(request_with(token))


@pytest.mark.parametrize(
    "change", [lambda text: "", lambda text: text[:-1], lambda text: f"9{text}", lambda text: "é.é.é"]
)
def test_a_forged_session_is_none(change: object) -> None:
    assert callable(change)
    sessions = LoginSessions(KEYS, "c")
    assert not sessions.allows(request_with(change(log_in(sessions))))


def test_wrong_keys_count_for_their_address_only_and_for_a_minute() -> None:
    clock = Clock()
    sessions = LoginSessions(KEYS, "c", clock)
    for _ in range(10):
        assert sessions.seconds_until_try("10.0.0.1") == 0
        assert sessions.log_in("wrong", "10.0.0.1") is None
        clock.now += 1
    assert sessions.seconds_until_try("10.0.0.1") == 51
    assert sessions.seconds_until_try("10.0.0.2") == 0
    clock.now += 51
    assert sessions.seconds_until_try("10.0.0.1") == 0
