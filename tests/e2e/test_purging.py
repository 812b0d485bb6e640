"""The retention of a daemon, also of one that is killed in the middle, and what `durable purge` reports."""

from __future__ import annotations

import json
from functools import partial

from durablecli.client import Query
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

FINISHED = 100


def count_histories(hub: CliHarness) -> int:
    return sum(1 for _ in hub.root.glob("instances/*/*.jsonl"))


def has_fewer_histories(hub: CliHarness, limit: int) -> bool:
    return count_histories(hub) < limit


def test_a_daemon_killed_while_it_purges_leaves_every_instance_whole_or_gone(hub: CliHarness) -> None:
    hub.client.start_many("greet", ["x"] * FINISHED)
    hub.client.start_new("waits", "live")
    hub.run_until_idle("purged")
    assert count_histories(hub) == FINISHED + 1
    killed = 0
    while (limit := count_histories(hub) - 25) > FINISHED // 3:
        daemon = hub.start_daemon("purged", DURABLE_RETENTION__COMPLETED="0")
        wait_until(partial(has_fewer_histories, hub, limit))
        daemon.kill()
        killed += count_histories(hub) > 1
        hub.assert_sound()
        left = list(hub.client.iter_ids(Query()))
        assert all(hub.client.get_history(id) for id in left)
    assert killed, "every kill came too late"
    last = hub.start("run-daemon", "--until-idle", app="purged", DURABLE_RETENTION__COMPLETED="0")
    assert last.wait_for_exit() == 0
    assert "retention: purged " in last.output
    assert list(hub.client.iter_ids(Query())) == ["live"]
    assert count_histories(hub) == 1
    hub.assert_sound()


def test_retention_is_a_setting_of_the_project(hub: CliHarness) -> None:
    (hub.folder / "durable.yaml").write_text("retention: {completed: 0s, failed: 90d, terminated: null}\n")
    hub.client.start_new("greet", "a", "x")
    hub.client.start_new("waits", "live")
    daemon = hub.start_daemon("purged")
    daemon.wait_for_output("retention: purged 1 instance, freed ")
    assert list(hub.client.iter_ids(Query())) == ["live"]


def test_purge_reports_what_it_has_freed(hub: CliHarness) -> None:
    for name in ("a", "b", "c"):
        hub.client.start_new("parent", name, "x")
    hub.run_until_idle("purged")
    size = sum(path.stat().st_size for path in hub.root.glob("instances/*/*.jsonl"))
    logged = sum(path.stat().st_size for path in hub.root.glob("logs/*/*.jsonl"))
    assert logged
    lines = json.loads(hub("purge", "a", "-o", "json").out)
    assert [(line["instanceId"], line["purge"]) for line in lines] == [("a", "done")]
    assert lines[0]["bytesFreed"] in range((size + logged) // 4, (size + logged) // 2)
    daemon = hub.start_daemon("purged")
    assert hub("purge", "--older-than", "0s", "--dry-run").out.endswith("4 in all; nothing was done\n")
    *each, summary = hub("purge", "--older-than", "0s", "--yes").out.splitlines()
    assert len(each) in (2, 3, 4), "a child is gone with its parent, or purged before it"
    assert summary.startswith("purged 4 instances, freed ")
    assert summary.endswith("KiB")
    assert count_histories(hub) == 0
    daemon.kill()
    hub.assert_sound()
