"""bank: transfers between accounts, each in a critical section over both of them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from msgspec import Raw, json

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Row, make_rate

TRANSFERS, MONEY = 3_000, 1_000
ACCOUNT_COUNTS = (50, 1_000)
"""So many accounts: with few of them nearly every transfer waits for another one."""


def measure(run: Run) -> Iterator[Row]:
    """Transfers, all asked for at once, until the last has ended and is on disk."""
    transfers = run.size(TRANSFERS)
    for accounts in run.sizes(*ACCOUNT_COUNTS):
        with open_engine(f"{run.make_folder()}/state") as engine:
            money = Raw(json.encode(MONEY))
            measure_run(engine, [MessageItem(f"@account@{n}", "deposit", money) for n in range(accounts)], "signal")
            found = [measure_run(engine, make_transfers(accounts, transfers, n)) for n in run.rounds(3)]
            kept = [engine.instances.get_entity(f"@account@{number}") for number in range(accounts)]
            total = sum(json.decode(each.runtime_state.state)["balance"] for each in kept if each is not None)
            assert total == accounts * MONEY, f"{total:,} where {accounts * MONEY:,} was paid in"
            assert not any(each.runtime_state.lock for each in kept if each is not None), "a lock is left"
        yield make_rate(f"bank: transfers between {accounts:,} accounts", transfers, found)


def make_transfers(accounts: int, count: int, number: int) -> list[MessageItem]:
    """Random pairs, the same in every run."""
    chosen = random.Random(number)
    found = []
    for index in range(count):
        source, target = chosen.sample(range(accounts), 2)
        order = {"source": str(source), "target": str(target), "amount": chosen.randint(1, 50)}
        found.append(MessageItem(f"transfer-{number}-{index}", name="transfer", input=Raw(json.encode(order))))
    return found
