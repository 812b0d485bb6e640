"""Orchestrators that declare their input."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from pydantic import BaseModel, Field

import durablecli as df


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclasses.dataclass
class Address:
    street: str
    city: str = "Wien"


@dataclasses.dataclass
class Order:
    """An order of the shop."""

    id: int
    "The number of the order."
    city: str
    size: Size = Size.SMALL
    express: bool = False
    tags: list[str] = dataclasses.field(default_factory=list)
    address: Address | None = None


class Sweep(msgspec.Struct, forbid_unknown_fields=True):
    steps: Annotated[int, msgspec.Meta(ge=1, le=10, description="How many steps.")]
    rate: float = 0.5


class Payment(BaseModel):
    amount: int = Field(gt=0, description="In cents.")
    currency: str = "EUR"


class Trip(TypedDict):
    start: str
    end: NotRequired[str]


@df.orchestrator
def order(context: df.DurableOrchestrationContext, order: Order) -> Any:
    return [type(order).__name__, order.id, order.city, order.size.value, order.express, order.tags, order.address]


@df.orchestrator(input_type=Sweep)
def sweep(context: df.DurableOrchestrationContext) -> float:
    given: Sweep = context.get_input()
    return given.steps * given.rate


@df.orchestrator
def pay(context: df.DurableOrchestrationContext, payment: Payment) -> str:
    return f"{payment.amount} {payment.currency}"


@df.orchestrator
def travel(context: df.DurableOrchestrationContext, trip: Trip) -> Trip:
    return trip


@df.orchestrator
def total(context: df.DurableOrchestrationContext, numbers: list[int]) -> int:
    return sum(numbers)


@df.orchestrator
def countdown(context: df.DurableOrchestrationContext, seconds: int = 3) -> int:
    return seconds


@df.orchestrator
def anything(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.orchestrator
def parent(context: df.DurableOrchestrationContext, value: dict[str, Any]) -> Any:
    return (yield context.call_sub_orchestrator(order, value))
