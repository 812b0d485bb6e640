"""An app in a real daemon: HTTP functions on a socket, timer functions across a kill."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from time import sleep

import httpx

from tests.support.cli_harness import CliHarness
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until


def test_an_http_function_starts_an_orchestration_and_answers_with_its_output(hub: CliHarness) -> None:
    port = find_free_port()
    daemon = hub.start("run-daemon", "--http", str(port), app="ticking", EVERY="0 0 0 1 1 *")
    daemon.wait_for_output(f"start: POST http://127.0.0.1:{port}/api/start/{{text}}")
    answer = httpx.post(f"http://127.0.0.1:{port}/api/start/Tokyo", timeout=20)
    assert (answer.status_code, answer.text) == (200, "Tokyo")
    assert httpx.get(f"http://127.0.0.1:{port}/api/start/Tokyo").status_code == 404
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
    hub.assert_sound()


def test_a_timer_function_continues_after_a_kill_and_makes_up_for_missed_calls_once(hub: CliHarness) -> None:
    port = find_free_port()
    daemon = hub.start("run-daemon", "--http", str(port), app="ticking", EVERY="* * * * * *")
    wait_until(lambda: len(hub.read_runs()) >= 2, description=daemon.output)
    daemon.kill()
    before = hub.read_runs()
    assert before[-1][1].startswith(f"http://127.0.0.1:{port}/runtime/webhooks/durabletask/instances/")
    sleep(4)  # real time has to pass, for the due time is in a file
    assert hub.read_runs() == before
    restarted = datetime.now(UTC)
    again = hub.start("run-daemon", "--http", str(port), app="ticking", EVERY="* * * * * *")

    def read_new_calls() -> list[list[str]]:
        # The call that was running at the kill runs again, and isn't a new one.
        return [run for run in hub.read_runs() if run[2] not in {next_call for _, _, next_call in before}]

    wait_until(lambda: len(read_new_calls()) >= 2, description=again.output)
    late, _, following = read_new_calls()[0]
    assert late == "True"
    assert datetime.fromisoformat(following) > restarted
    again.send_signal(signal.SIGTERM)
    assert again.wait_for_exit() == 0
    hub.assert_sound()


def test_a_second_daemon_reports_the_first_and_not_the_port(hub: CliHarness) -> None:
    port = str(find_free_port())
    first = hub.start("run-daemon", "--http", port, app="ticking", EVERY="24:00:00")
    first.wait_for_output("listening on ")
    second = hub.start("run-daemon", "--http", port, app="ticking", EVERY="24:00:00")
    assert second.wait_for_exit() == 75
    assert str(first.pid) in second.output


def test_a_daemon_without_a_port_reports_unserved_http_functions(hub: CliHarness) -> None:
    daemon = hub.start("run-daemon", app="ticking", EVERY="24:00:00")
    daemon.wait_for_output("1 HTTP function not served: add --http 7071, or set http.listen")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
