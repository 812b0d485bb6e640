"""Transfers between accounts. Both are locked meanwhile, so nobody sees one half of a transfer.

durable entity signal @account@ada deposit --input 100
durable run transfer --input '{"source": "ada", "target": "bob", "amount": 30}'
durable entity list --name account
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import durablecli as df


@df.entity
class Account:
    """The money of one person. An operation that raises leaves it as it was."""

    balance: int = 0

    def deposit(self, amount: int) -> int:
        if amount <= 0:
            raise ValueError(f"a deposit is more than nothing, not {amount}")
        self.balance += amount
        return self.balance

    def withdraw(self, amount: int) -> int:
        if amount > self.balance:
            raise ValueError(f"{self.balance} is too little to withdraw {amount}")
        self.balance -= amount
        return self.balance

    def get(self) -> int:
        return self.balance


@dataclass(frozen=True)
class Transfer:
    """How much goes from whom to whom."""

    source: str
    target: str
    amount: int


@df.orchestrator
def transfer(context: df.DurableOrchestrationContext) -> Generator[Any, Any, bool]:
    """Move the money, if there is enough of it. Locks are taken in one order by all, so nobody waits in a circle."""
    order: Transfer = context.get_input(Transfer)
    source, target = df.EntityId("account", order.source), df.EntityId("account", order.target)
    if source == target:
        return False
    with (yield context.lock_entities([source, target])):
        if (yield context.call_entity(source, "get")) < order.amount:
            return False
        withdrawn = context.call_entity(source, "withdraw", order.amount)
        deposited = context.call_entity(target, "deposit", order.amount)
        yield context.task_all([withdrawn, deposited])
    return True
