"""Transfers between accounts while the daemon is killed again and again: no money is lost, and no lock is left."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest

from durablecli import EntityId
from durablecli.client import Query
from durablecli.model import events as ev
from durablecli.model.status import InstanceSummary
from durablecli.store.check.checker import check_hub
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

BANK = str(Path(__file__).parents[2] / "workflows" / "bank")
SEED = int(os.environ.get("KILLS_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
ACCOUNTS, MONEY = 50, 100
TRANSFERS_PER_KILL = 17
_MAX_UNFINISHED = 40


@dataclass
class Customers:
    """They ask for transfers, a share of them between two kills, and never for too many at once."""

    hub: CliHarness
    rng: random.Random
    limit: int
    allowance: int = 0
    requested: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while len(self.requested) < self.limit and not self.stopped.is_set():
            unfinished = self.hub.client.count(Query(status=("Pending", "Running")))
            for _ in range(min(self.allowance - len(self.requested), _MAX_UNFINISHED - unfinished)):
                self._request_transfer()
            sleep(0.02)

    def _request_transfer(self) -> None:
        source, target = map(str, self.rng.sample(range(ACCOUNTS), 2))
        amount = self.rng.randint(1, 60)
        order = {"source": source, "target": target, "amount": amount}
        self.requested[self.hub.client.start_new("transfer", client_input=order)] = (source, target, amount)


def list_accounts(hub: CliHarness) -> list[InstanceSummary]:
    return hub.client.list_entities(Query(name="account", limit=ACCOUNTS)).rows


def kill_once(hub: CliHarness, counted: Counter[str], options: tuple[str, ...]) -> None:
    """Let a daemon work, kill it while it holds locks, and look at what it left."""
    daemon = hub.start_daemon(BANK, *options)
    limit = monotonic() + 1.0
    while not (held := sum(row.locked_by is not None for row in list_accounts(hub))) and monotonic() < limit:
        sleep(0.01)
    assert daemon.alive, daemon.output
    daemon.kill()
    counted["kills"] += 1
    counted["kills with locks held"] += bool(held)
    counted["locks held at kills"] += held
    report = check_hub(str(hub.root))
    assert report.findings == [], report


def compute_balances(hub: CliHarness, requested: dict[str, tuple[str, str, int]]) -> dict[str, int]:
    """The balance that each account must have, by what became of the transfers; each of them ended once."""
    expected = {str(key): MONEY for key in range(ACCOUNTS)}
    for instance, (source, target, amount) in requested.items():
        status = hub.client.wait(instance, 60)
        ends = [r for r in hub.client.get_history(instance) if isinstance(r.event, ev.ExecutionCompleted)]
        assert status.runtime_status is not None
        assert (status.runtime_status.value, len(ends)) == ("Completed", 1), instance
        expected[source] -= amount * status.output
        expected[target] += amount * status.output
    return expected


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("options", [(), ("--replay-always",)], ids=["live", "replayed"])
def test_kills_neither_make_money_nor_leave_a_lock(hub: CliHarness, options: tuple[str, ...], kills: int) -> None:
    print(f"KILLS_SEED={SEED}")
    counted: Counter[str] = Counter()
    for key in range(ACCOUNTS):
        hub.client.signal_entity(EntityId("account", str(key)), "deposit", MONEY)
    customers = Customers(hub, random.Random(SEED), kills * TRANSFERS_PER_KILL)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(customers.run)
        try:
            for done in range(kills):
                customers.allowance = (done + 1) * TRANSFERS_PER_KILL
                kill_once(hub, counted, options)
        except BaseException:
            customers.stopped.set()
            raise
        daemon = hub.start_daemon(BANK, *options)
        asking.result()
    expected = compute_balances(hub, customers.requested)
    wait_until(lambda: all(row.queued == 0 for row in list_accounts(hub)), description="the accounts are done")
    rows = list_accounts(hub)
    assert [row.id for row in rows if row.locked_by] == []
    balances = {key: hub.client.read_entity_state(f"@account@{key}").entity_state["balance"] for key in expected}
    assert sum(balances.values()) == ACCOUNTS * MONEY
    assert balances == expected
    daemon.kill()
    assert check_hub(str(hub.root)).findings == []
    counted["transfers"] = len(customers.requested)
    counted["transfers refused"] = sum(hub.client.get_status(each).output is False for each in customers.requested)
    print(f"seed {SEED}: " + ", ".join(f"{count} {what}" for what, count in counted.items()))
    assert len(customers.requested) == customers.limit
    assert counted["kills with locks held"] >= kills * 2 // 3
