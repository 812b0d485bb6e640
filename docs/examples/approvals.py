"""A web app for expenses: somebody asks for money, a manager decides within three days, else the director."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import durablecli as df
from durablecli.errors import DurableError

RETRY = df.RetryPolicy(first="1s", max_attempts=10, coefficient=3, max_interval="1h")


@dataclass(frozen=True)
class Expense:
    employee: str
    amount: float


@dataclass(frozen=True)
class Decision:
    approved: bool
    by: str


@dataclass(frozen=True)
class Letter:
    to: str
    text: str


@df.activity(retry=RETRY)
def notify(letter: Letter) -> None:
    print(f"to {letter.to}: {letter.text}")


@df.activity(retry=RETRY)
def pay(expense: Expense, context: df.ActivityContext) -> str:
    print(f"{expense.amount:.2f} to {expense.employee}, key {context.idempotency_key}")
    return "paid"


@df.orchestrator
def expense(context: df.DurableOrchestrationContext, expense: Expense):
    for approver in ("manager", "director"):
        yield context.call_activity(notify, Letter(approver, f"{expense.employee} asks for {expense.amount:.2f}"))
        context.set_custom_status({"waits for": approver})
        answer = context.wait_for_external_event("Decision", Decision)
        deadline = context.create_timer(timedelta(days=3))
        if (yield context.task_any([answer, deadline])) == answer:
            deadline.cancel()
            outcome = (yield context.call_activity(pay, expense)) if answer.result.approved else "refused"
            yield context.call_activity(notify, Letter(expense.employee, f"{outcome} by {answer.result.by}"))
            return outcome
    yield context.call_activity(notify, Letter(expense.employee, "nobody has decided"))
    return "expired"


async def ask(request: Request) -> JSONResponse:
    wanted = msgspec.json.decode(await request.body(), type=Expense)
    return JSONResponse({"id": await request.app.state.client.start_new(expense, client_input=wanted)}, 202)


async def list_expenses(request: Request) -> JSONResponse:
    found = await request.app.state.client.get_status_all()
    rows = [{"id": one.instance_id, **one.input_, "status": one.output or one.custom_status} for one in found]
    return JSONResponse(rows)


async def decide(request: Request) -> JSONResponse:
    decision = msgspec.json.decode(await request.body(), type=Decision)
    await request.app.state.client.raise_event(request.path_params["id"], "Decision", decision)
    return JSONResponse({}, 202)


async def refuse(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, getattr(error, "http_status", 400))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with df.embedded([expense, notify, pay], "expenses.state") as app.state.client:
        yield


app = Starlette(
    routes=[
        Route("/expenses", ask, methods=["POST"]),
        Route("/expenses", list_expenses),
        Route("/expenses/{id}/decision", decide, methods=["POST"]),
    ],
    exception_handlers={DurableError: refuse, msgspec.MsgspecError: refuse},
    lifespan=lifespan,
)
