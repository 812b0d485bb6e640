"""What people see of failures: in `run`, `status`, `history`, `list` and in the lines of the daemon."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.support.cli_harness import CliHarness

LINE = r"\S*/flows/failing\.py:\d+"


@pytest.fixture
def failed(hub: CliHarness) -> CliHarness:
    """A hub with a failed fan-out of 99 activities, a failed parent, and one that has given up after retries."""
    hub.environment["DURABLE_CONCURRENCY__ACTIVITIES"] = "1"  # the first one to fail is the first one called
    hub("start", "tour", "--id", "t", "--input", "99")
    hub("start", "grand_tour", "--id", "p")
    hub("start", "stubborn", "--id", "s")
    hub.run_until_idle("failing")
    return hub


def test_run_shows_the_error_once_with_the_line_and_groups_equal_failures(hub: CliHarness) -> None:
    hub.environment["DURABLE_CONCURRENCY__ACTIVITIES"] = "1"
    said = hub.run("failing", "tour", "--id", "t", "--input", "99", code=6)
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[1:3] == ["durable: t Failed: ValueError: empty city", "  with a second line"]
    assert re.fullmatch(rf"  at {LINE} in check, activity visit", lines[3])
    assert re.fullmatch(rf"  awaited at {LINE} in tour", lines[4])
    assert lines[5] == "  67 tasks failed:"
    assert (
        lines[6::2]
        == [
            "    33 × ValueError: empty city",
            "    33 × JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
            "    1 × LookupError: no road to 2\\x1b[31m",
            "    1 × LookupError: no road to 152\\x1b[31m",
        ][: len(lines[6::2])]
    )
    assert all(re.fullmatch(rf"      at {LINE} in \w+, activity visit, .*id \d+", line) for line in lines[7::2])


def test_status_names_what_failed_and_where(failed: CliHarness) -> None:
    out = failed("status", "t").out
    assert re.search(rf"\nfailed     ValueError: empty city\n.*\n {{11}}at {LINE} in check, activity visit\n", out)
    assert re.search(
        rf"\nfailures   33 × ValueError: empty city\n {{13}}at {LINE} in check, activity visit, e\.g\. id 2\n", out
    )
    parent = failed.read_status("p")["failure"]
    assert (parent["type"], parent["task"], parent["at"]["function"]) == ("ValueError", "activity visit", "check")
    assert [line["function"] for line in parent["awaitedAt"]] == ["grand_tour", "tour"]
    own = failed.read_status("s")["failure"]
    assert (own["type"], own["message"], own["causes"][0]["type"]) == ("RuntimeError", "gave up", "ValueError")
    assert "caused by ValueError: empty city\n" in failed("status", "s").out


def test_tracebacks_are_shown_on_demand_and_without_own_frames(failed: CliHarness) -> None:
    assert "Traceback" not in failed("status", "t").out
    for verb in ("status", "history"):
        out = failed(verb, "t", "--traceback").out
        assert "Traceback (most recent call last):" in out
        assert 'raise ValueError("empty city' in out
        assert "activity.py" not in out
        assert "executor.py" not in out
    assert "json/decoder.py" in failed("status", "t", "--traceback").out  # of another failure than the first


def test_history_shows_the_line_of_each_failure(failed: CliHarness) -> None:
    rows = [line for line in failed("history", "t").out.splitlines() if "TaskFailed" in line]
    assert len(rows) == 67
    assert re.search(rf" of \d+: ValueError: empty city\\nwith a second line at {LINE}$", rows[0])
    (end,) = [line for line in failed("history", "p").out.splitlines() if "ExecutionCompleted" in line]
    assert re.search(rf"Failed: ValueError: .* at {LINE}, activity visit$", end)


def test_a_list_of_failed_instances_has_a_column_for_the_error(failed: CliHarness) -> None:
    head, *rows = failed("list", "--status", "Failed").out.splitlines()
    assert head.endswith("  ERROR")
    assert len(rows) == 3
    assert len(failed("list", "--status", "Failed", "--all").out.splitlines()) == 1 + 4
    assert all(re.search(rf"(ValueError: empty city|RuntimeError: gave up).* at {LINE}$", row) for row in rows)


def test_the_daemon_prints_one_line_per_start_end_failure_and_retry(hub: CliHarness) -> None:
    for name in ("stubborn", "grand_tour", "gone", "patient"):
        hub("start", name, "--id", name, "--anyway")
    said = hub.run_until_idle("failing")
    for text in (
        r"INFO durablecli\.instance: stubborn: stubborn started",
        r"WARNING durablecli\.instance: stubborn: retrying activity visit \(id \d+\), attempt 2 of 3, in 10 ms: .*",
        rf"WARNING durablecli\.instance: stubborn: activity visit \(id \d+, attempt 3\) failed: .* at {LINE}",
        rf"ERROR durablecli\.instance: stubborn: stubborn failed after \d.*: RuntimeError: gave up at {LINE}",
        r"WARNING durablecli\.instance: child: tour failed after .*activity visit",
        r"ERROR durablecli\.instance: grand_tour: grand_tour failed after .*activity visit",
        r"gone is blocked: orchestrator 'gone' isn't loaded",
    ):
        assert len(re.findall(text, said)) == 1, f"{text} in\n{said}"
    assert "sub-orchestration tour" not in said
    hub("raise-event", "patient", "Go")
    assert re.search(r"INFO durablecli\.instance: patient: patient completed in ", hub.run_until_idle("failing"))


def test_the_level_decides_what_is_printed(hub: CliHarness) -> None:
    hub.environment["DURABLE_LOG__LEVEL"] = "debug"
    hub("start", "tour", "--id", "t", "--input", "3")
    said = hub.run_until_idle("failing")
    assert re.search(r"DEBUG durablecli\.instance: t: activity visit \(id \d+\) scheduled", said)
    hub.environment["DURABLE_LOG__LEVEL"] = "error"
    hub("start", "tour", "--id", "u", "--input", "3")
    said = hub.run_until_idle("failing")
    assert [line for line in said.splitlines() if "durablecli.instance" in line] == [
        line for line in said.splitlines() if " ERROR durablecli.instance: u: tour failed after " in line
    ]


def test_each_line_is_an_object_with_the_format_json(hub: CliHarness) -> None:
    hub.environment["DURABLE_LOG__FORMAT"] = "json"
    for name in ("stubborn", "gone"):
        hub("start", name, "--id", name, "--anyway")
    lines = [json.loads(line) for line in hub.run_until_idle("failing").splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    events = {(line["instance"], line["event"]): line for line in lines if "event" in line}
    assert events["gone", "blocked"]["reason"] == "orchestrator 'gone' isn't loaded"
    retry = events["stubborn", "retrying"]
    assert (retry["task"], retry["attempt"], retry["maxAttempts"], retry["delay"]) == ("visit", 3, 3, 0.01)
    assert retry["error"]["type"] == "ValueError"
    assert retry["error"]["file"].endswith("failing.py")
    failed = events["stubborn", "failed"]
    assert (failed["level"], failed["name"], failed["error"]["message"]) == ("error", "stubborn", "gave up")


def test_json_lines_stay_whole_at_a_wrong_log_call_and_a_signal(hub: CliHarness) -> None:
    daemon = hub.start_daemon("failing", DURABLE_LOG__FORMAT="json")
    hub("start", "wrong_log", "--id", "w")
    hub("wait", "w", "--timeout", "20")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
    lines = [json.loads(line)["message"] for line in daemon.output.splitlines()]
    assert "bad %d (not formatted: TypeError)" in lines
    assert "shutting down; press Ctrl-C again to exit immediately" in lines


def test_run_prints_no_lines_of_the_daemon(hub: CliHarness) -> None:
    said = hub.run("failing", "stubborn", "--id", "s", code=6)
    assert "durablecli.instance" not in said.err
    assert "retrying" not in said.err
