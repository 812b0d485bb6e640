"""An expense waits for its approval; after 72 hours without an answer somebody higher up is asked.

durable start human_interaction --id trip --input '{"employee": "Mia", "amount": 740, "mailbox": "/tmp/mailbox"}'
durable raise-event trip Approval --data true
"""

import os
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import durablecli as df


@dataclass(frozen=True)
class Expense:
    """Who wants how much, and who is asked in turn, each for `hours`. Letters go to the folder `mailbox`."""

    employee: str
    amount: float
    mailbox: str
    approvers: list[str] = field(default_factory=lambda: ["manager", "director"])
    hours: float = 72


@dataclass(frozen=True)
class Letter:
    """A message to a person. Its id makes it one message, however often it is sent."""

    mailbox: str
    id: str
    to: str
    text: str


@df.activity
def send(letter: Letter) -> None:
    """Put the letter into the mailbox: under its own name, whole or not at all."""
    folder = Path(letter.mailbox)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{letter.id}.draft"
    draft.write_text(f"To: {letter.to}\n\n{letter.text}\n")
    os.replace(draft, folder / f"{letter.id}.txt")


@df.orchestrator
def human_interaction(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Whichever comes first: the event, or the timer."""
    expense: Expense = context.get_input(Expense)
    for approver in expense.approvers:
        text = f"{expense.employee} asks for {expense.amount:.2f}."
        yield context.call_activity(send, Letter(expense.mailbox, context.new_uuid(), approver, text))
        context.set_custom_status(f"waiting for the {approver}")
        answer = context.wait_for_external_event("Approval", bool)
        timeout = context.create_timer(context.current_utc_datetime + timedelta(hours=expense.hours))
        winner = yield context.task_any([answer, timeout])
        if winner is answer:
            timeout.cancel()
            text = f"Your {expense.amount:.2f} are {'approved' if answer.result else 'refused'}."
            yield context.call_activity(send, Letter(expense.mailbox, context.new_uuid(), expense.employee, text))
            return {"approved": answer.result, "by": approver}
    return {"approved": False, "by": None}
