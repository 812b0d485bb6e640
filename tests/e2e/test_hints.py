"""What the command says when nothing moves, or when something else will move it."""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

FLOW = """import durablecli as df
import missing_package

@df.orchestrator
def order(context):
    yield context.wait_for_external_event("Go")
"""


def test_following_a_history_that_no_engine_continues(hub: CliHarness) -> None:
    hub("start", "work", "--id", "w", "--anyway")
    follower = hub.start("history", "-f", "w")
    follower.wait_for_output("no daemon is running, so w makes no progress; start one with: durable run-daemon")
    hub.run_until_idle("scope")
    assert follower.wait_for_exit() == 0, follower.output
    assert "ExecutionCompleted" in follower.output


def test_a_daemon_names_what_it_resumes(hub: CliHarness) -> None:
    ids = [f"w{number}" for number in range(5)]
    for id in ids:
        hub("start", "rests", "--id", id, "--anyway")
    daemon = hub.start_daemon("scope")
    wait_until(lambda: len(hub.read_runs()) == len(ids), description="all activities run")
    daemon.kill()
    resumed = hub.start_daemon("scope")
    resumed.wait_for_output("resumed w0, w1, w2 and 2 other instances with pending work")


def test_a_run_that_is_stopped_beside_a_daemon(hub: CliHarness) -> None:
    hub.start_daemon("scope")
    run = hub.start("run", "hold", "--id", "held", "--input", '"x"', app="scope")
    wait_until(lambda: hub.client.get_status("held").waiting_for, description="held runs")
    run.send_signal(SIGINT)
    assert run.wait_for_exit() == 130
    assert "stopped by SIGINT; the running engine continues held" in run.output


def test_an_instance_whose_module_can_t_be_imported(hub: CliHarness, tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "shop.py").write_text(FLOW)
    (tmp_path / "workflows" / "other.py").write_text("import durablecli as df\n\n@df.orchestrator\ndef o(c): ...\n")
    hub("start", "order", "--id", "o-1", "--anyway")
    daemon = hub.start("run-daemon", "--until-idle", "--app", "workflows")
    assert daemon.wait_for_exit() == 0, daemon.output
    shown = hub("status", "o-1").out
    assert "orchestrator 'order' isn't loaded" in shown
    assert "can't import workflows/shop.py:2: ModuleNotFoundError: No module named 'missing_package'" in shown


def test_the_folder_of_a_project_stands_for_its_workflows(hub: CliHarness, tmp_path: Path) -> None:
    (tmp_path / "project" / "workflows").mkdir(parents=True)
    (tmp_path / "project" / "workflows" / "greet.py").write_text(
        "import durablecli as df\n\n@df.orchestrator\ndef greet(context):\n    return 'hello'\n    yield\n"
    )
    assert hub("run", "greet", "--app", "project").out == '"hello"\n'
    (tmp_path / "project" / "setup.py").write_text("raise SystemExit('this is no module of functions')\n")
    (tmp_path / "project" / "durable.yaml").write_text("{}\n")
    assert hub("run", "greet", "--app", "project").out == '"hello"\n'


def test_tasks_that_all_failed_like_the_instance_are_counted_once(hub: CliHarness) -> None:
    failed = hub.run("failing", "visits_of_one_kind", "--input", "4", code=6)
    assert failed.err.count("ValueError: empty city") == 1
    assert failed.err.splitlines()[-1] == "  4 tasks failed like this"
