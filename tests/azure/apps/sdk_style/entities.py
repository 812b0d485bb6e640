from datetime import datetime, timedelta, timezone

import azure.durable_functions as df
from durabletask.entities import DurableEntity, EntityContext, EntityInstanceId

bp = df.Blueprint()


@bp.entity_trigger(context_name="context", entity_name="Counter")
class CounterEntity(DurableEntity):
    def add(self, amount: int) -> int:
        self.set_state(self.get_state(int, 0) + amount)
        return self.get_state(int)

    def get(self) -> int:
        return self.get_state(int, 0)

    def break_it(self) -> None:
        self.set_state(-1)
        raise ValueError("broken")

    def start(self, id: str) -> str:
        return self.schedule_new_orchestration("chain", ["Paris"], instance_id=id)

    def pass_on(self, amount: int) -> None:
        self.signal_entity(EntityInstanceId("tally", "passed"), "add", amount)

    def later(self, amount: int) -> None:
        due = datetime.now(timezone.utc) + timedelta(milliseconds=50)
        self.signal_entity(EntityInstanceId("tally", "later"), "add", amount, signal_time=due)


@bp.entity_trigger(context_name="context")
def tally(ctx: EntityContext, amount: int):
    if ctx.operation == "add":
        ctx.set_state(ctx.get_state(int, 0) + amount)
    elif ctx.operation == "reset":
        ctx.set_state(None)
    return ctx.get_state(int, 0)


@bp.entity_trigger(context_name="context")
def older(context: df.DurableEntityContext):
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())
