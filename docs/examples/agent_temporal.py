"""The agent as a workflow of Temporal. It needs a Temporal service; this program is its worker."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_attempts=5,
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
)
NEEDS_APPROVAL = {"refund"}
APPROVERS = ["team lead", "head of service"]


@dataclass(frozen=True)
class Reply:
    """What the model says: a text for the customer, or a tool to call."""

    text: str = ""
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Letter:
    person: str
    text: str


@dataclass(frozen=True)
class Approval:
    number: int
    approved: bool


def model(messages: list[dict[str, str]]) -> Reply:
    """A stub. Call your model here."""
    results = [message["content"] for message in messages if message["role"] == "tool"]
    if not results:
        return Reply(tool="find_order", arguments={"customer": "Mia"})
    if len(results) == 1:
        return Reply(tool="refund", arguments=json.loads(results[0]))
    return Reply(text=f"About your order: {results[-1]}.")


@activity.defn
def think(messages: list[dict[str, str]]) -> Reply:
    return model(messages)


@activity.defn
def find_order(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"order": 7, "amount": 40}


@activity.defn
def refund(arguments: dict[str, Any]) -> str:
    info = activity.info()
    key = f"{info.workflow_run_id}/{info.activity_id}"
    activity.logger.info("refund of %s for order %s, key %s", arguments["amount"], arguments["order"], key)
    return f"{arguments['amount']} were refunded"


@activity.defn
def ask(letter: Letter) -> None:
    activity.logger.info("to the %s: %s", letter.person, letter.text)


TOOLS: dict[str, Callable[..., Any]] = {"find_order": find_order, "refund": refund}


@workflow.defn
class Agent:
    def __init__(self) -> None:
        self.answers: dict[int, bool] = {}
        self.status = ""

    @workflow.signal
    def approve(self, approval: Approval) -> None:
        self.answers.setdefault(approval.number, approval.approved)

    @workflow.query
    def show_status(self) -> str:
        return self.status

    async def is_approved(self, number: int, reply: Reply) -> bool:
        """Ask one person after the other; each has four hours."""
        for person in APPROVERS:
            question = f"may I {reply.tool} {json.dumps(reply.arguments)}? Approval {number}"
            await workflow.execute_activity(
                ask, Letter(person, question), start_to_close_timeout=timedelta(seconds=30), retry_policy=RETRY
            )
            self.status = f"the {person} is asked: {question}"
            try:
                await workflow.wait_condition(lambda: number in self.answers, timeout=timedelta(hours=4))
            except TimeoutError:
                continue
            return self.answers[number]
        return False

    @workflow.run
    async def run(self, question: str) -> str:
        messages = [{"role": "user", "content": question}]
        for number in range(1, 21):
            reply = await workflow.execute_activity(
                think, messages, start_to_close_timeout=timedelta(minutes=2), retry_policy=RETRY
            )
            if reply.tool is None:
                return reply.text
            if reply.tool in NEEDS_APPROVAL and not await self.is_approved(number, reply):
                result = f"{reply.tool} was not approved"
            else:
                result = await workflow.execute_activity(
                    TOOLS[reply.tool],
                    reply.arguments,
                    start_to_close_timeout=timedelta(seconds=30),
                    retry_policy=RETRY,
                )
            messages.append({"role": "assistant", "content": f"{reply.tool} {json.dumps(reply.arguments)}"})
            messages.append({"role": "tool", "content": result if isinstance(result, str) else json.dumps(result)})
        raise ApplicationError("no answer after 20 steps")


async def main() -> None:
    client = await Client.connect("localhost:7233")
    with ThreadPoolExecutor() as threads:
        worker = Worker(
            client,
            task_queue="agents",
            workflows=[Agent],
            activities=[think, ask, *TOOLS.values()],
            activity_executor=threads,
        )
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
