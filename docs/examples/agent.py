"""An agent for the customer service: it calls tools by itself, and asks people before it spends money."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import durablecli as df

RETRY = df.RetryPolicy(first="1s", max_attempts=5, coefficient=2, max_interval="1m")
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


def model(messages: list[dict[str, str]]) -> Reply:
    """A stub. Call your model here."""
    results = [message["content"] for message in messages if message["role"] == "tool"]
    if not results:
        return Reply(tool="find_order", arguments={"customer": "Mia"})
    if len(results) == 1:
        return Reply(tool="refund", arguments=json.loads(results[0]))
    return Reply(text=f"About your order: {results[-1]}.")


@df.activity(retry=RETRY, timeout="2m")
def think(messages: list[dict[str, str]]) -> Reply:
    return model(messages)


@df.activity(retry=RETRY, timeout="30s")
def find_order(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"order": 7, "amount": 40}


@df.activity(retry=RETRY, timeout="30s")
def refund(arguments: dict[str, Any], context: df.ActivityContext) -> str:
    print(f"refund of {arguments['amount']} for order {arguments['order']}, key {context.idempotency_key}")
    return f"{arguments['amount']} were refunded"


@df.activity(retry=RETRY, timeout="30s")
def ask(letter: Letter) -> None:
    print(f"to the {letter.person}: {letter.text}")


TOOLS: dict[str, Callable[..., Any]] = {"find_order": find_order, "refund": refund}


def is_approved(context: df.DurableOrchestrationContext, number: int, reply: Reply):
    """Ask one person after the other; each has four hours."""
    for person in APPROVERS:
        question = f"may I {reply.tool} {json.dumps(reply.arguments)}? Approval-{number}"
        yield context.call_activity(ask, Letter(person, question))
        context.set_custom_status(f"the {person} is asked: {question}")
        answer = context.wait_for_external_event(f"Approval-{number}", bool)
        deadline = context.create_timer(timedelta(hours=4))
        if (yield context.task_any([answer, deadline])) == answer:
            deadline.cancel()
            return answer.result
    return False


@df.orchestrator
def agent(context: df.DurableOrchestrationContext, question: str):
    messages = [{"role": "user", "content": question}]
    for number in range(1, 21):
        reply: Reply = yield context.call_activity(think, messages)
        if reply.tool is None:
            return reply.text
        if reply.tool in NEEDS_APPROVAL and not (yield from is_approved(context, number, reply)):
            result = f"{reply.tool} was not approved"
        else:
            result = yield context.call_activity(TOOLS[reply.tool], reply.arguments)
        messages.append({"role": "assistant", "content": f"{reply.tool} {json.dumps(reply.arguments)}"})
        messages.append({"role": "tool", "content": result if isinstance(result, str) else json.dumps(result)})
    raise RuntimeError("no answer after 20 steps")
