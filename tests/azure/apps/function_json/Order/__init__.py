import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    amount = context.get_input()
    paid = yield context.call_activity("Pay", amount)
    entity = df.EntityId("Counter", "paid")
    yield context.call_entity(entity, "add", paid)
    total = yield context.call_entity(entity, "get")
    return {"paid": paid, "total": total}


main = df.Orchestrator.create(orchestrator_function)
