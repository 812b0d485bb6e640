"""A shop in the v2 programming model: it is written for Azure, and knows nothing of durablecli."""

import json
import logging
import os
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func
from blueprints.carts import bp as carts
from pricing.table import price_of

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(carts)


@app.route(route="orders/{item}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_order(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    body = req.get_json() if req.get_body() else {}
    order = {"item": req.route_params["item"], "count": body.get("count", 1)}
    instance_id = await client.start_new("order", req.params.get("id"), order)
    logging.info("started %s", instance_id)
    return client.create_check_status_response(req, instance_id)


@app.function_name(name="OrderAndWait")
@app.route(route="orders/{item}/now", methods=[func.HttpMethod.POST])
@app.durable_client_input(client_name="client")
async def order_and_wait(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = await client.start_new("order", None, {"item": req.route_params["item"], "count": 1})
    return await client.wait_for_completion_or_create_check_status_response(req, instance_id, 20000, 100)


@app.route(route="orders/{id}/approve", methods=["POST"])
@app.durable_client_input(client_name="client")
async def approve(req: func.HttpRequest, client) -> func.HttpResponse:
    await client.raise_event(req.route_params["id"], "Approval", {"by": req.form.get("by", "nobody")})
    return func.HttpResponse(status_code=202)


@app.route(route="orders/{id?}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def orders(req: func.HttpRequest, client) -> func.HttpResponse:
    if req.route_params.get("id"):
        status = await client.get_status(req.route_params["id"])
        if not status:
            return func.HttpResponse("no such order", status_code=404)
        return func.HttpResponse(json.dumps(status.to_json()), mimetype="application/json")
    found = await client.get_status_by(runtime_status=[df.OrchestrationRuntimeStatus.Completed])
    return func.HttpResponse(json.dumps(sorted(one.instance_id for one in found if one.name == "order")))


@app.route(route="orders/{id}/links", methods=["GET"])
@app.durable_client_input(client_name="client")
def links(req: func.HttpRequest, client) -> str:
    payload = client.create_http_management_payload(req.route_params["id"])
    others = client.get_client_response_links(req, req.route_params["id"])
    return json.dumps({"same": sorted(payload) == sorted(others), **payload})


@app.route(route="orders/{id}/cancel", methods=["POST"])
@app.durable_client_input(client_name="client")
async def cancel(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = req.route_params["id"]
    await client.suspend(instance_id, "looking at it")
    await client.resume(instance_id, "seen")
    await client.terminate(instance_id, "cancelled")
    return func.HttpResponse("", status_code=204)


@app.route(route="orders/{id}", methods=["DELETE"])
@app.durable_client_input(client_name="client")
async def forget(req: func.HttpRequest, client) -> func.HttpResponse:
    purged = await client.purge_instance_history(req.route_params["id"])
    return func.HttpResponse(str(purged.instances_deleted))


@app.route(route="secret", auth_level=func.AuthLevel.FUNCTION)
def secret(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return func.HttpResponse(context.function_name, headers={"X-Currency": os.environ["SHOP_CURRENCY"]})


@app.orchestration_trigger(context_name="context")
def order(context: df.DurableOrchestrationContext):
    wanted = context.get_input()
    retry = df.RetryOptions(first_retry_interval_in_milliseconds=10, max_number_of_attempts=3)
    prices = yield context.task_all([context.call_activity(price, wanted["item"]) for _ in range(wanted["count"])])
    if wanted["count"] > 2:
        context.set_custom_status("waiting for approval")
        approval = context.wait_for_external_event("Approval")
        patience = context.create_timer(context.current_utc_datetime + timedelta(minutes=5))
        winner = yield context.task_any([approval, patience])
        if winner == patience:
            return {"refused": True}
        patience.cancel()
        context.set_custom_status(f"approved by {approval.result['by']}")
    ledger = df.EntityId("ledger", "main")
    context.signal_entity(ledger, "add", sum(prices))
    total = yield context.call_entity(ledger, "get")
    receipt = yield context.call_activity_with_retry("pack", retry, {"item": wanted["item"], "prices": prices})
    child = yield context.call_sub_orchestrator("ship", receipt)
    return {"total": total, "shipped": child, "version": context.version}


@app.activity_trigger(input_name="item")
def price(context: func.Context, item: str) -> str:
    # The annotation is wrong, as annotations are in the wild: Azure doesn't look at it.
    return price_of(item)


@app.entity_trigger(context_name="context")
def ledger(context: df.DurableEntityContext):
    total = context.get_state(lambda: 0)
    if context.operation_name == "add":
        total += context.get_input()
        context.set_state(total)
    context.set_result(total)


@app.timer_trigger(arg_name="timer", schedule="%TICK_SCHEDULE%", run_on_startup=True)
@app.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client) -> None:
    await client.signal_entity(df.EntityId("ticks", "all"), "tick", timer.past_due)


@app.entity_trigger(context_name="context", entity_name="ticks")
def count_ticks(context: df.DurableEntityContext):
    context.set_state(context.get_state(lambda: 0) + 1)


@app.route(route="ticks", methods=["GET"])
@app.durable_client_input(client_name="client")
async def ticks(req: func.HttpRequest, client) -> str:
    state = await client.read_entity_state(df.EntityId("ticks", "all"))
    return str(state.entity_state if state.entity_exists else 0)


@app.queue_trigger(arg_name="message", queue_name="orders", connection="AzureWebJobsStorage")
@app.durable_client_input(client_name="client")
async def from_queue(message: func.QueueMessage, client) -> None:
    await client.start_new("order", None, message.get_json())


@app.route(route="export", methods=["POST"])
@app.blob_output(arg_name="blob", path="exports/{rand-guid}", connection="AzureWebJobsStorage")
def export(req: func.HttpRequest, blob: func.Out[str]) -> func.HttpResponse:
    blob.set("everything")
    return func.HttpResponse("exported", status_code=201)


@app.route(route="late", methods=["GET"])
def late(req: func.HttpRequest) -> str:
    from azure.durable_functions.models.Task import TaskBase  # imported when the request comes
    from azure.functions.decorators.core import AuthLevel

    return f"{TaskBase.__name__} {AuthLevel.ADMIN.value}"
