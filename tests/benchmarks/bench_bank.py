"""bank: transfers between accounts, each in a critical section over both of them."""

from __future__ import annotations

import random

from msgspec import Raw, json

from durablecli.store.mailbox import Item
from tests.benchmarks.ground import bare_loop, engine, introduce, run

ACCOUNTS, TRANSFERS, MONEY = 50, 3_000, 1_000
ROUNDS = 3


def transfers(number: int) -> list[Item]:
    """Random pairs, the same in every run."""
    chosen = random.Random(number)
    found = []
    for index in range(TRANSFERS):
        source, target = chosen.sample(range(ACCOUNTS), 2)
        order = {"source": str(source), "target": str(target), "amount": chosen.randint(1, 50)}
        found.append(Item(f"transfer-{number}-{index}", name="transfer", input=Raw(json.encode(order))))
    return found


def main() -> None:
    place = introduce()
    before = bare_loop()
    with engine(place) as running:
        for key in range(ACCOUNTS):
            money = Raw(json.encode(MONEY))
            running.hand_in("signal", [Item(f"@account@{key}", name="deposit", input=money)])
        running.run(lambda engine: engine.is_idle)
        rounds = [TRANSFERS / run(running, transfers(number)) for number in range(ROUNDS)]
        accounts = [running.instances.entity(f"@account@{key}") for key in range(ACCOUNTS)]
        total = sum(json.decode(each.ledger.state)["balance"] for each in accounts if each is not None)
        assert total == ACCOUNTS * MONEY, f"{total:,} where {ACCOUNTS * MONEY:,} was paid in"
        assert not any(each.ledger.lock for each in accounts if each is not None), "a lock is left"
    print(f"bank       {' / '.join(f'{each:,.0f}' for each in rounds)} transfers a second, {ACCOUNTS} accounts")
    print(f"bare loop  {before:.3f} s before, {bare_loop():.3f} s after")


if __name__ == "__main__":
    main()
