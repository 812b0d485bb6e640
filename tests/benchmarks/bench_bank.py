"""bank: transfers between accounts, each in a critical section over both of them."""

from __future__ import annotations

import random

from msgspec import Raw, json

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import measure_bare_loop, measure_run, open_engine, print_environment

TRANSFERS, MONEY, ROUNDS = 3_000, 1_000, 3
ACCOUNT_COUNTS = (50, 1_000)
"""So many accounts: with few of them nearly every transfer waits for another one."""


def make_transfers(accounts: int, number: int) -> list[MessageItem]:
    """Random pairs, the same in every run."""
    chosen = random.Random(number)
    found = []
    for index in range(TRANSFERS):
        source, target = chosen.sample(range(accounts), 2)
        order = {"source": str(source), "target": str(target), "amount": chosen.randint(1, 50)}
        found.append(MessageItem(f"transfer-{number}-{index}", name="transfer", input=Raw(json.encode(order))))
    return found


def measure_rates(folder: str, accounts: int) -> list[float]:
    """Transfers a second, all asked for at once, until the last has ended and is on disk; one figure a round."""
    with open_engine(folder) as running:
        for key in range(accounts):
            money = Raw(json.encode(MONEY))
            running.submit("signal", [MessageItem(f"@account@{key}", name="deposit", input=money)])
        running.run(lambda engine: engine.is_idle)
        found = [TRANSFERS / measure_run(running, make_transfers(accounts, number)) for number in range(ROUNDS)]
        kept = [running.instances.get_entity(f"@account@{key}") for key in range(accounts)]
        total = sum(json.decode(each.runtime_state.state)["balance"] for each in kept if each is not None)
        assert total == accounts * MONEY, f"{total:,} where {accounts * MONEY:,} was paid in"
        assert not any(each.runtime_state.lock for each in kept if each is not None), "a lock is left"
    return found


def main() -> None:
    folder = print_environment()
    before = measure_bare_loop()
    for accounts in ACCOUNT_COUNTS:
        rounds = " / ".join(f"{each:,.0f}" for each in measure_rates(folder, accounts))
        print(f"bank       {rounds} transfers a second between {accounts:,} accounts")
    print(f"bare loop  {before:.3f} s before, {measure_bare_loop():.3f} s after")


if __name__ == "__main__":
    main()
