"""The functions of an app in a real daemon: HTTP functions on a socket, timer functions over a kill."""

from __future__ import annotations

import signal
import socket
from time import sleep

import httpx

from tests.support.cli_harness import Hub, until


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_an_http_function_starts_an_orchestration_and_answers_with_its_output(hub: Hub) -> None:
    port = free_port()
    daemon = hub.begin("run-daemon", "--http", str(port), app="ticking", EVERY="0 0 0 1 1 *")
    daemon.says(f"start: POST http://127.0.0.1:{port}/api/start/{{text}}")
    answer = httpx.post(f"http://127.0.0.1:{port}/api/start/Tokyo", timeout=20)
    assert (answer.status_code, answer.text) == (200, "Tokyo")
    assert httpx.get(f"http://127.0.0.1:{port}/api/start/Tokyo").status_code == 404
    daemon.signal(signal.SIGTERM)
    assert daemon.ends() == 0
    hub.is_sound()


def test_a_timer_function_goes_on_after_a_kill_and_makes_up_once_for_what_was_missed(hub: Hub) -> None:
    port = free_port()
    daemon = hub.begin("run-daemon", "--http", str(port), app="ticking", EVERY="*/2 * * * * *")
    until(lambda: len(hub.ran()) >= 2, what=daemon.said)
    daemon.kill()
    before = hub.ran()
    assert {late for late, _ in before} == {"False"}
    assert before[-1][1].startswith(f"http://127.0.0.1:{port}/runtime/webhooks/durabletask/instances/")
    sleep(5)  # the time that is missed has to pass for real: the due time stands in a file
    assert hub.ran() == before
    again = hub.begin("run-daemon", "--http", str(port), app="ticking", EVERY="*/2 * * * * *")
    until(lambda: len(hub.ran()) >= len(before) + 2, what=again.said)
    assert [late for late, _ in hub.ran()[len(before) : len(before) + 2]] == ["True", "False"]
    again.signal(signal.SIGTERM)
    assert again.ends() == 0
    hub.is_sound()


def test_a_second_daemon_is_told_of_the_first_and_not_of_the_port(hub: Hub) -> None:
    port = str(free_port())
    first = hub.begin("run-daemon", "--http", port, app="ticking", EVERY="24:00:00")
    first.says("answers at")
    second = hub.begin("run-daemon", "--http", port, app="ticking", EVERY="24:00:00")
    assert second.ends() == 75
    assert str(first.pid) in second.said


def test_a_daemon_without_a_port_says_that_http_functions_are_not_served(hub: Hub) -> None:
    daemon = hub.begin("run-daemon", app="ticking", EVERY="24:00:00")
    daemon.says("1 HTTP function not served: add --http 7071, or set http.listen")
    daemon.signal(signal.SIGTERM)
    assert daemon.ends() == 0
