"""`durable dev`: saved code is live at once, code that can't be loaded changes nothing, and nothing is lost."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.waiting import wait_until

ORDER = """
import durablecli as df
from prices import PRICE

@df.activity
def pay(n: int) -> str:
    return f"{PRICE} {n}"

@df.orchestrator
def order(context: df.DurableOrchestrationContext):
    paid = []
    for n in range(3):
        yield context.wait_for_external_event("go")
        paid.append((yield context.call_activity(pay, n)))
    return paid
"""


class Dev:
    """A project, and `durable dev` in it."""

    def __init__(self, hub: CliHarness) -> None:
        self.hub = hub
        self.workflows = hub.folder / "workflows"
        self.workflows.mkdir()
        self.save("order.py", ORDER)
        (hub.folder / "prices.py").write_text("PRICE = 'one'\n")
        self.process: DurableProcess | None = None

    def start(self, *options: str) -> DurableProcess:
        self.process = self.hub.start("dev", "--listen", "0", *options)
        self.process.wait_for_output("watching workflows/: a saved change is live at once\ndashboard http://")
        return self.process

    def save(self, name: str, text: str, *, says: str = "") -> None:
        """Save a file of the app; with `says`, wait until the process has said that once more."""
        before = self.output.count(says) if says else 0
        (self.workflows / name).write_text(text)
        if says:
            self.wait_until_said(says, before + 1)

    def wait_until_said(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.output.count(text) == times, description=f"{times} × {text!r} in\n{self.output}")

    @property
    def output(self) -> str:
        return self.process.output if hasattr(self, "process") and self.process is not None else ""

    @property
    def url(self) -> str:
        found = re.search(r"dashboard (http\S+)", self.output)
        assert found is not None
        return found[1]

    def wait_for(self, instance: str, condition: Any) -> Any:
        return wait_until(lambda: condition(self.hub.client.get_status(instance)), description=self.output)


@pytest.fixture
def dev(hub: CliHarness) -> Dev:
    return Dev(hub)


def waits_for_event(status: Any) -> bool:
    return [each.name for each in status.waiting_for or ()] == ["go"] and status.blocked is None


def test_a_saved_file_is_live_at_once_and_nothing_restarts(dev: Dev) -> None:
    process = dev.start()
    client = dev.hub.client
    client.start_new("order", "a")
    for count, price in enumerate(("one", "two", "three")):
        if count:
            (dev.hub.folder / "prices.py").write_text(f"PRICE = '{price}'\n")
            dev.wait_until_said("reloaded in", count)
        dev.wait_for("a", waits_for_event)
        client.raise_event("a", "go")
    assert dev.wait_for("a", lambda status: status.output) == ["one 0", "two 1", "three 2"]
    assert "prices.py; 1 instance continues with the new code" in process.output
    process.send_signal(signal.SIGINT)
    assert process.wait_for_exit() == 0
    dev.hub.assert_sound()


def test_broken_code_changes_nothing_and_is_shown_in_the_terminal_and_on_the_pages(dev: Dev) -> None:
    process = dev.start()
    client = dev.hub.client
    client.start_new("order", "a")
    dev.wait_for("a", waits_for_event)
    dev.save("order.py", ORDER + "def (:\n", says="workflows/order.py:16: SyntaxError: invalid syntax; the code from ")
    client.raise_event("a", "go")
    dev.wait_for("a", lambda status: status.task_counts is not None and status.task_counts.completed == 1)
    page = httpx.get(dev.url, headers={"accept": "text/html"}).text
    assert "workflows/order.py:16: SyntaxError: invalid syntax; the code from " in page
    assert 'data-live="/ui/code/changes"' in page
    wait_until(lambda: "SyntaxError: invalid syntax; the code from" in dev.hub("status", "a").err)
    dev.save("order.py", ORDER + "import nothing_of_this_name\n", says="ModuleNotFoundError: No module named")
    assert process.output.count("SyntaxError") == 1
    dev.save("order.py", ORDER, says="reloaded in")
    assert "SyntaxError" not in httpx.get(dev.url, headers={"accept": "text/html"}).text
    wait_until(lambda: "still runs" not in dev.hub("status", "a").err)
    for _ in range(2):
        dev.wait_for("a", waits_for_event)
        client.raise_event("a", "go")
    assert dev.wait_for("a", lambda status: status.output) == ["one 0", "one 1", "one 2"]


def test_run_uses_the_code_that_the_engine_still_has(dev: Dev) -> None:
    hello = "import durablecli as df\n\n@df.orchestrator\ndef hello(context):\n    return 'hello'\n"
    dev.save("hello.py", hello)
    dev.start()
    dev.save("hello.py", hello + "def (:\n", says="SyntaxError: invalid syntax; the code from ")
    done = dev.hub("run", "hello")
    assert done.out == '"hello"\n'
    assert "can't import hello: workflows/hello.py:6: SyntaxError" in done.err
    assert "the function 'helo' doesn't exist" in dev.hub("run", "helo", code=3).err


def test_a_blocked_instance_resumes_when_the_code_fits_again(dev: Dev) -> None:
    dev.start()
    client = dev.hub.client
    client.start_new("order", "a")
    dev.wait_for("a", waits_for_event)
    dev.save("order.py", ORDER.replace('("go")', '("come")'), says="reloaded in")
    client.raise_event("a", "go")
    dev.wait_for("a", lambda status: status.blocked)
    dev.save("order.py", ORDER, says="1 blocked instance tried again")
    for _ in range(2):
        dev.wait_for("a", waits_for_event)
        client.raise_event("a", "go")
    assert dev.wait_for("a", lambda status: status.output) == ["one 0", "one 1", "one 2"]


def test_a_new_module_is_loaded_and_a_removed_one_is_gone(dev: Dev) -> None:
    dev.start()
    dev.save("later.py", ORDER.replace("order", "later").replace("pay", "pay_later"), says="reloaded in")
    dev.hub.client.start_new("later", "b")
    dev.wait_for("b", waits_for_event)
    (dev.workflows / "later.py").unlink()
    dev.wait_until_said("reloaded in", 2)
    assert "later.py (removed)" in dev.output
    dev.hub.client.raise_event("b", "go")
    dev.wait_for("b", lambda status: status.blocked)


def test_a_changed_setting_needs_a_restart(dev: Dev) -> None:
    process = dev.start()
    Path(dev.hub.folder, "durable.yaml").write_text("drain: 3s\n")
    process.wait_for_output("durable.yaml changed: restart to apply")
    assert "reloaded" not in process.output


def test_worker_processes_run_the_code_that_was_loaded_also_while_the_file_is_broken(dev: Dev) -> None:
    app = ORDER.replace("@df.activity", '@df.activity(executor="process")')
    dev.save("order.py", app)
    dev.start()
    client = dev.hub.client
    client.start_new("order", "a")
    dev.wait_for("a", waits_for_event)
    for number, (text, says) in enumerate(
        ((app + "def (:\n", "SyntaxError"), (app.replace("{n}", "{n}!"), "reloaded in"))
    ):
        dev.save("order.py", text, says=says)
        client.raise_event("a", "go")
        dev.wait_for("a", lambda status, done=number + 1: status.task_counts.completed == done)
    client.raise_event("a", "go")
    assert dev.wait_for("a", lambda status: status.output) == ["one 0", "one 1!", "one 2!"]


def test_a_daemon_without_reload_says_which_files_have_changed(dev: Dev) -> None:
    daemon = dev.hub.start("run-daemon")
    daemon.wait_for_output("loaded 1 orchestrator")
    dev.hub.client.start_new("order", "a")
    dev.wait_for("a", waits_for_event)
    assert dev.hub("status", "a").err == ""
    dev.save("order.py", ORDER.replace("{n}", "{n}!"))
    at = r"\(\d\d:\d\d:\d\d\)"
    notice = rf"durable: workflows/order.py changed since the daemon loaded it {at}; restart it, or use durable dev\n"
    wait_until(lambda: re.fullmatch(notice, dev.hub("status", "a").err), description="the notice")
    assert re.search(notice, dev.hub("functions", "--app", "workflows").err)
    running = dev.hub.start("run", "order", "--id", "b")
    wait_until(lambda: re.search(notice, running.output), description=running.output)
    (dev.hub.folder / "prices.py").unlink()
    wait_until(lambda: "prices.py and 1 more changed since the daemon loaded them" in dev.hub("status", "a").err)
    assert daemon.alive


HTTP_APP = """
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="{route}")
def hello(req):
    return "{route}"

@app.timer_trigger(schedule="{schedule}", arg_name="timer")
def tick(timer):
    pass

@app.orchestration_trigger(context_name="context")
def flow(context):
    return 1
"""


def test_http_and_timer_functions_are_the_new_ones(dev: Dev) -> None:
    (dev.workflows / "order.py").unlink()
    dev.save("web.py", HTTP_APP.format(route="first", schedule="0 0 3 * * *"))
    dev.start()
    assert httpx.get(f"{dev.url}api/first").text == "first"
    dev.wait_for("timer:tick", lambda status: status and status.custom_status)
    dev.save("web.py", HTTP_APP.format(route="second", schedule="0 0 4 * * *"), says="reloaded in")
    wait_until(lambda: httpx.get(f"{dev.url}api/second").text == "second")
    assert httpx.get(f"{dev.url}api/first").status_code == 404
    dev.wait_for("timer:tick", lambda status: status.custom_status["schedule"] == "0 0 4 * * *")


SCHEDULED_APP = """
from pathlib import Path

import durablecli as df

def note(text):
    with Path("notes.txt").open("a") as file:
        file.write(text + "\\n")

@df.resource
def greeting():
    note("opened {word}")
    yield "{word}"
    note("closed {word}")

@df.activity
def greet(n, text=df.Depends(greeting)):
    return text

@df.orchestrator{schedule}
def nightly(context: df.DurableOrchestrationContext):
    return (yield context.call_activity(greet, 1))
"""


def test_schedules_and_resources_are_those_of_the_new_code(dev: Dev) -> None:
    notes, client = dev.hub.folder / "notes.txt", dev.hub.client

    def save(word: str, schedule: str, says: str = "") -> None:
        dev.save("nightly.py", SCHEDULED_APP.format(word=word, schedule=schedule), says=says)

    def wait_for_schedule(loaded: bool, expression: str) -> None:
        def is_so() -> bool:
            state = client.entity("@builtin__schedule@nightly").state or {}
            return state.get("loaded", False) == loaded and (state.get("spec") or {}).get("schedule") == expression

        wait_until(is_so, description=dev.output)

    save("first", '(schedule="0 3 * * *")')
    process = dev.start()
    wait_for_schedule(True, "0 3 * * *")
    client.start_new("nightly", "a")
    assert dev.wait_for("a", lambda status: status.output) == "first"
    save("second", '(schedule="0 4 * * *")', says="reloaded in")
    wait_for_schedule(True, "0 4 * * *")
    wait_until(lambda: notes.read_text().splitlines() == ["opened first", "closed first"])
    client.start_new("nightly", "b")
    assert dev.wait_for("b", lambda status: status.output) == "second"
    save("third", "", says="reloaded in")
    wait_for_schedule(False, "0 4 * * *")
    process.send_signal(signal.SIGINT)
    assert process.wait_for_exit() == 0
    assert notes.read_text().splitlines() == ["opened first", "closed first", "opened second", "closed second"]
    dev.hub.assert_sound()
