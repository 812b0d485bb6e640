"""An order desk in the v2 programming model, which uses bindings of every kind; it is written for Azure."""

import json
import logging
import typing

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


# Starters of every kind.


@app.queue_trigger(arg_name="msg", queue_name="incoming-orders", connection="AzureWebJobsStorage")
@app.durable_client_input(client_name="client")
async def queue_start(msg: func.QueueMessage, client: df.DurableOrchestrationClient) -> None:
    order = json.loads(msg.get_body().decode("utf-8"))
    instance_id = await client.start_new("order_orchestrator", client_input=order)
    logging.info("Started orchestration with ID = '%s'.", instance_id)


@app.schedule(schedule="0 */5 * * * *", arg_name="myTimer", run_on_startup=False, use_monitor=False)
@app.durable_client_input(client_name="client")
async def timer_start(myTimer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    if myTimer.past_due:
        logging.info("The timer is past due!")
    await client.start_new("order_orchestrator", client_input={"id": "from-timer", "email": "ops@example.com"})


@app.timer_trigger(schedule="0 0 1 * * *", arg_name="timer", run_on_startup=True)
@app.queue_output(arg_name="report", queue_name="reports", connection="AzureWebJobsStorage")
def nightly_report(timer: func.TimerRequest, report: func.Out[str]) -> None:
    report.set(f"report, past due: {timer.past_due}")


@app.route(route="orders", methods=["POST"])
@app.queue_output(arg_name="audit", queue_name="audit", connection="AzureWebJobsStorage")
@app.durable_client_input(client_name="client")
async def http_start(
    req: func.HttpRequest, audit: func.Out[func.QueueMessage], client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    order = req.get_json()
    instance_id = await client.start_new("order_orchestrator", order["id"], order)
    audit.set(func.QueueMessage(id="a1", body=json.dumps({"started": instance_id})))
    return client.create_check_status_response(req, instance_id)


@app.route(route="orders/sync", methods=["POST"])
@app.durable_client_input(client_name="client")
def http_start_sync(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = client.start_new("order_orchestrator", None, req.get_json())
    return func.HttpResponse(instance_id, status_code=202)


# Answers by every way.


@app.route(route="by_out/{name}", binding_arg_name="answer")
def by_out(req: func.HttpRequest, answer: func.Out[func.HttpResponse]) -> None:
    answer.set(func.HttpResponse(f"Hello {req.route_params['name']}", status_code=203))


@app.function_name(name="ByGeneric")
@app.generic_trigger(arg_name="req", type="httpTrigger", route="by_generic", authLevel="anonymous")
@app.generic_output_binding(arg_name="$return", type="http")
def by_generic(req: func.HttpRequest) -> str:
    return "generic"


@app.route(route="nothing")
@app.queue_output(arg_name="msg", queue_name="out", connection="AzureWebJobsStorage")
def answers_nothing(req: func.HttpRequest, msg: func.Out[str]) -> None:
    msg.set("only for the queue")


@app.route(route="catalog")
@app.blob_input(arg_name="catalog", path="catalog/items.json", connection="AzureWebJobsStorage")
def catalog(req: func.HttpRequest, catalog: func.InputStream) -> func.HttpResponse:
    return func.HttpResponse(catalog.read())


# The orchestration and its activities.


@app.orchestration_trigger(context_name="context")
def order_orchestrator(context: df.DurableOrchestrationContext):
    order = context.get_input()
    receipt = yield context.call_activity("write_receipt", order)
    sent = yield context.call_activity("notify", order["email"])
    stored = yield context.call_activity("store", order)
    routed = yield context.call_activity("route_order", order)
    return {"receipt": receipt, "sent": sent, "stored": stored, "routed": routed}


@app.activity_trigger(input_name="order")
@app.blob_output(arg_name="receipt", path="receipts/{rand-guid}.txt", connection="AzureWebJobsStorage")
def write_receipt(order: dict, receipt: func.Out[str]) -> str:
    receipt.set(f"receipt for {order['id']}")
    return receipt.get()


@app.generic_output_binding(
    arg_name="message", type="sendGrid", apiKey="SendGridKey", to="{email}", **{"from": "shop@example.com"}
)
@app.generic_output_binding(arg_name="sms", type="twilioSms", accountSidSetting="Sid", authTokenSetting="Token")
@app.activity_trigger(input_name="email")
async def notify(context: func.Context, sms: func.Out[str], message: func.Out[str], email: str) -> str:
    message.set(json.dumps({"personalizations": [{"to": [{"email": email}]}]}))
    sms.set(json.dumps({"body": "on its way", "to": "+1"}))
    return f"{context.function_name} {email}"


@app.activity_trigger(input_name="order")
@app.cosmos_db_output(arg_name="documents", database_name="shop", container_name="orders", connection="Cosmos")
@app.event_hub_output(arg_name="event", event_hub_name="hub", connection="EventHub")
@app.service_bus_queue_output(arg_name="bus", queue_name="orders", connection="ServiceBus")
@app.service_bus_topic_output(arg_name="topic", topic_name="orders", connection="ServiceBus")
@app.event_grid_output(arg_name="grid", topic_endpoint_uri="GridUri", topic_key_setting="GridKey")
@app.table_output(arg_name="row", table_name="orders", connection="AzureWebJobsStorage")
@app.blob_output(arg_name="picture", path="pictures/1.png", connection="AzureWebJobsStorage")
@app.kafka_output(arg_name="unused", topic="t", broker_list="b")
def store(
    documents: func.Out[func.DocumentList],
    event: func.Out[str],
    bus: func.Out[str],
    topic: func.Out[typing.List[str]],
    grid: func.Out[func.EventGridOutputEvent],
    row: func.Out[str],
    picture: func.Out[bytes],
    unused: func.Out[str],
    order: dict,
) -> int:
    documents.set(func.DocumentList([func.Document.from_dict({"id": order["id"]})]))
    event.set("first")
    event.set("second")
    bus.set(json.dumps(order))
    topic.set(["a", "b"])
    grid.set(func.EventGridOutputEvent(id="1", data={"a": 1}, subject="s", event_type="t", data_version="1.0"))
    row.set(json.dumps({"RowKey": order["id"]}))
    picture.set(b"\x89PNG")
    return 7


@app.activity_trigger(input_name="order")
@app.queue_output(arg_name="$return", queue_name="routed", connection="AzureWebJobsStorage")
def route_order(order: dict) -> str:
    return f"route {order['id']}"


@app.orchestration_trigger(context_name="context")
def reads_a_blob(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity_with_retry("read_blob", df.RetryOptions(60_000, 5), "x")
    except Exception as error:
        return str(error)


@app.activity_trigger(input_name="name")
@app.blob_input(arg_name="blob", path="in/{name}", connection="AzureWebJobsStorage")
@app.blob_output(arg_name="copy", path="out/{name}", connection="AzureWebJobsStorage")
def read_blob(name: str, blob: func.InputStream, copy: func.Out[bytes]) -> None:
    raise AssertionError("there is no blob here")
