"""`durable hooks`: which hooks are configured, and whether a sample event reaches one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import RunDurable
from tests.support.http_stub import StubResponse, StubServer


@pytest.fixture
def server() -> Iterator[StubServer]:
    stub = StubServer()
    thread = threading.Thread(target=stub.run, daemon=True)
    thread.start()
    yield stub
    stub.close()
    thread.join(10)


@pytest.fixture
def hooked(work_folder: Path, server: StubServer, monkeypatch: pytest.MonkeyPatch) -> StubServer:
    monkeypatch.setenv("TOKEN", "abc")
    monkeypatch.setenv("NO_COLOR", "1")
    (work_folder / "durable.yaml").write_text(f"""
on:
  failed:
    - url: {server.url}/first?key=secret
      headers: {{Authorization: "Bearer ${{TOKEN}}"}}
      name: [nightly*, order]
    - run: sh -c 'cat > event.json; echo seen'
      children: true
  blocked:
    - run: sh -c 'echo no such user >&2; exit 4'
  completed:
    - url: {server.url}/done
  terminated:
    - run: cat
""")
    return server


def test_the_list_shows_target_and_filters_but_no_secrets(durable: RunDurable, hooked: StubServer) -> None:
    done = durable("hooks", "list", terminal=True)
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0][:3] == ["NO", "HOOK", "TARGET"]
    assert [row[:2] for row in rows[1:] if row[0].isdecimal()] == [
        ["1", "failed0"],
        ["2", "failed1"],
        ["3", "blocked0"],
        ["4", "completed0"],
        ["5", "terminated0"],
    ]
    assert "secret" not in done.out + done.err
    found = json.loads(durable("hooks", "list", "-o", "json").out)
    assert found[0] == {
        "name": "failed0",
        "event": "failed",
        "kind": "url",
        "target": f"{hooked.url}/first",
        "orchestrators": ["nightly*", "order"],
        "children": False,
        "timeout": 30.0,
        "attempts": 10,
    }
    assert [(each["name"], each["children"]) for each in found[1:3]] == [("failed1", True), ("blocked0", True)]


@pytest.mark.parametrize("name", ["failed0", "1"])
def test_a_sample_is_posted_once_as_an_event(durable: RunDurable, hooked: StubServer, name: str) -> None:
    hooked.set_responses("/first?key=secret", StubResponse(204))
    done = durable("hooks", "test", name)
    assert (done.exit_code, done.out) == (0, f"failed0: delivered to {hooked.url}/first\n")
    [request] = hooked.requests
    event = json.loads(request.body)
    assert (event["event"], event["status"], event["instance"]) == ("failed", "Failed", "sample")
    assert event["error"]["message"] == "this is a test of the hook"
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["Idempotency-Key"] == event["id"]


def test_an_event_with_one_hook_is_enough_of_a_name(durable: RunDurable, hooked: StubServer) -> None:
    hooked.set_responses("/done", StubResponse(200))
    assert durable("hooks", "test", "completed").exit_code == 0
    assert durable("hooks", "test", "terminated").exit_code == 0
    assert [json.loads(each.body)["event"] for each in hooked.requests] == ["completed"]


def test_a_command_receives_the_sample_and_what_it_prints_is_shown(
    durable: RunDurable, hooked: StubServer, work_folder: Path
) -> None:
    done = durable("hooks", "test", "failed1")
    assert done.exit_code == 0
    assert "printed: seen" in done.err
    assert json.loads((work_folder / "event.json").read_text())["hub"] == str(work_folder / ".state")


def test_what_is_not_delivered_ends_with_exit_code_6(durable: RunDurable, hooked: StubServer) -> None:
    done = durable("hooks", "test", "blocked0")
    assert done.exit_code == 6
    assert done.err.endswith("exited with code 4: no such user\n")
    hooked.set_responses("/done", StubResponse(500))
    done = durable("hooks", "test", "completed0", "-o", "json")
    assert done.exit_code == 6
    assert json.loads(done.out) == {
        "name": "completed0",
        "target": f"{hooked.url}/done",
        "delivered": False,
        "error": f"{hooked.url}/done answered 500",
    }
    assert len(hooked.requests) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("failed", "'failed' is more than one hook: failed0, failed1"),
        ("faild1", "no hook 'faild1'; did you mean 'failed1'?"),
        ("0", "no hook '0' (known: failed0, failed1, blocked0, completed0, terminated0)"),
        ("6", "no hook '6' (known: failed0"),
    ],
)
def test_an_unknown_hook_is_named(durable: RunDurable, hooked: StubServer, name: str, message: str) -> None:
    done = durable("hooks", "test", name)
    assert done.exit_code == 3
    assert message in done.err


def test_without_hooks_there_is_nothing_to_test(durable: RunDurable) -> None:
    assert "no hooks; declare one in durable.yaml" in durable("hooks", "list").err
    assert durable("hooks", "list", "-o", "json").out == "[]\n"
    assert "durable.yaml has no hooks" in durable("hooks", "test", "1").err
