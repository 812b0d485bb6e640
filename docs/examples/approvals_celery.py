"""The web app for expenses with Celery and a database.

`uvicorn approvals_celery:app` serves it. It needs Redis, a worker and a clock, which this starts:
`celery --app approvals_celery:queue worker --beat`. SQLite is for a try only: it ignores `with_for_update`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from celery import Celery
from sqlalchemy import DateTime, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

queue = Celery("approvals_celery", broker="redis://localhost")
queue.conf.update(
    task_ignore_result=True,
    task_acks_late=True,  # what a killed worker was doing runs again
    task_reject_on_worker_lost=True,
    beat_schedule={"advance": {"task": "approvals_celery.advance", "schedule": 10.0}},
)
engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///expenses.sqlite"))
transaction = sessionmaker(engine)
NEXT = {"manager": "director", "director": None}


class Base(DeclarativeBase):
    pass


class Row(Base):
    """An expense: `status` is `waiting` for the `approver`, `approved`, `paid`, `refused` or `expired`."""

    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True)
    employee: Mapped[str]
    amount: Mapped[float]
    status: Mapped[str]
    approver: Mapped[str]
    deadline: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    by: Mapped[str | None]


class Letter(Base):
    """A letter is written in the transaction of the change that it reports, so that a crash loses neither."""

    __tablename__ = "letters"
    id: Mapped[int] = mapped_column(primary_key=True)
    to: Mapped[str]
    text: Mapped[str]


@dataclass(frozen=True)
class Expense:
    employee: str
    amount: float


@dataclass(frozen=True)
class Decision:
    approved: bool
    by: str


def ask_approver(session: Session, row: Row, approver: str) -> None:
    row.approver, row.deadline = approver, datetime.now(UTC) + timedelta(days=3)
    session.add(Letter(to=approver, text=f"{row.employee} asks for {row.amount:.2f}"))


@queue.task
def notify(id: int) -> None:
    with transaction.begin() as session:
        letter = session.get(Letter, id, with_for_update=True)
        if letter is not None:  # else another delivery of this message has sent it
            print(f"to {letter.to}: {letter.text}")
            session.delete(letter)


@queue.task
def pay(id: int) -> None:
    with transaction.begin() as session:
        row = session.get_one(Row, id, with_for_update=True)
        if row.status == "approved":
            print(f"{row.amount:.2f} to {row.employee}, key {row.id}")
            row.status = "paid"
            session.add(Letter(to=row.employee, text=f"paid by {row.by}"))


@queue.task
def advance() -> None:
    """Queue what the tables say is to be done. So a crash loses nothing, and what has failed is tried again."""
    with transaction.begin() as session:
        overdue = select(Row).where(Row.status == "waiting", Row.deadline <= datetime.now(UTC)).with_for_update()
        for row in session.scalars(overdue):
            if following := NEXT[row.approver]:
                ask_approver(session, row, following)
            else:
                row.status = "expired"
                session.add(Letter(to=row.employee, text="nobody has decided"))
    with transaction() as session:
        for id in session.scalars(select(Row.id).where(Row.status == "approved")):
            pay.apply_async((id,), expires=10)
        for id in session.scalars(select(Letter.id)):
            notify.apply_async((id,), expires=10)


def insert(wanted: Expense) -> int:
    with transaction.begin() as session:
        row = Row(employee=wanted.employee, amount=wanted.amount, status="waiting")
        ask_approver(session, row, "manager")
        session.add(row)
        session.flush()
        id = row.id
    advance.delay()
    return id


def show_all() -> list[dict[str, object]]:
    with transaction() as session:
        return [
            {
                "id": row.id,
                "employee": row.employee,
                "amount": row.amount,
                "status": {"waits for": row.approver} if row.status == "waiting" else row.status,
            }
            for row in session.scalars(select(Row).order_by(Row.id))
        ]


def record(id: int, decision: Decision) -> None:
    with transaction.begin() as session:
        row = session.get(Row, id, with_for_update=True)
        if row is None:
            raise HTTPException(404)
        if row.status != "waiting":
            raise HTTPException(409, f"it is {row.status}")
        row.status, row.by = "approved" if decision.approved else "refused", decision.by
        if not decision.approved:
            session.add(Letter(to=row.employee, text=f"refused by {row.by}"))
    advance.delay()


async def ask(request: Request) -> JSONResponse:
    wanted = msgspec.json.decode(await request.body(), type=Expense)
    return JSONResponse({"id": await run_in_threadpool(insert, wanted)}, 202)


async def list_expenses(request: Request) -> JSONResponse:
    return JSONResponse(await run_in_threadpool(show_all))


async def decide(request: Request) -> JSONResponse:
    decision = msgspec.json.decode(await request.body(), type=Decision)
    await run_in_threadpool(record, request.path_params["id"], decision)
    return JSONResponse({}, 202)


async def refuse(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 400)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    yield


app = Starlette(
    routes=[
        Route("/expenses", ask, methods=["POST"]),
        Route("/expenses", list_expenses),
        Route("/expenses/{id:int}/decision", decide, methods=["POST"]),
    ],
    exception_handlers={msgspec.MsgspecError: refuse},
    lifespan=lifespan,
)
