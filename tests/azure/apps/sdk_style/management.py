import json
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func
from durabletask.client import EntityQuery, OrchestrationQuery, OrchestrationStatus
from durabletask.entities import EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.scheduled import AsyncScheduledTaskClient, ScheduleCreationOptions, ScheduledTaskClient

bp = df.Blueprint()


def answer(value: object, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value, default=str), status_code=status, mimetype="application/json")


def show(state) -> dict:
    details = state.failure_details
    return {
        "id": state.instance_id,
        "name": state.name,
        "status": state.runtime_status.name,
        "is_status": isinstance(state.runtime_status, OrchestrationStatus),
        "input": state.get_input(),
        "output": state.get_output(),
        "custom_status": state.get_custom_status(),
        "failure": details and [details.error_type, details.message, details.is_caused_by("TaskFailedError")],
    }


@bp.route(route="start/{name}", methods=["POST"])
@bp.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    input = req.get_json() if req.get_body() else None
    policy = None
    if req.params.get("replace"):
        policy = pb.OrchestrationIdReusePolicy(replaceableStatus=[pb.ORCHESTRATION_STATUS_COMPLETED])
    try:
        id = await client.schedule_new_orchestration(
            req.route_params["name"],
            input=input,
            instance_id=req.params.get("id"),
            version=req.params.get("version"),
            reuse_id_policy=policy,
        )
    except Exception as error:
        return answer(str(error), 409)
    return client.create_check_status_response(req, id)


@bp.route(route="wait/{id}")
@bp.durable_client_input(client_name="client")
async def wait(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    id = req.route_params["id"]
    started = await client.wait_for_orchestration_start(id, timeout=20)
    if started is None:
        return answer(None, 404)
    try:
        return answer(show(await client.wait_for_orchestration_completion(id, timeout=float(req.params["timeout"]))))
    except TimeoutError as error:
        return answer(str(error), 408)


@bp.route(route="state/{id}")
@bp.durable_client_input(client_name="client")
def state(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    found = client.get_orchestration_state(req.route_params["id"])
    return answer(None, 404) if found is None else answer(show(found))


@bp.route(route="do/{verb}/{id}", methods=["POST"])
@bp.durable_client_input(client_name="client")
async def do(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    id, verb = req.route_params["id"], req.route_params["verb"]
    body = req.get_json() if req.get_body() else None
    if verb == "event":
        await client.raise_orchestration_event(id, req.params["name"], data=body)
    elif verb == "terminate":
        await client.terminate_orchestration(id, output=body)
    elif verb == "suspend":
        await client.suspend_orchestration(id, reason="looking")
    elif verb == "resume":
        await client.resume_orchestration(id)
    elif verb == "rewind":
        await client.rewind_orchestration(id, reason="again")
    elif verb == "restart":
        return answer(await client.restart_orchestration(id, restart_with_new_instance_id=bool(body)))
    elif verb == "purge":
        result = await client.purge_orchestration(id)
        return answer([result.deleted_instance_count, result.is_complete])
    return answer(None)


@bp.route(route="list/{prefix}")
@bp.durable_client_input(client_name="client")
async def list_states(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    query = OrchestrationQuery(
        runtime_status=[OrchestrationStatus.COMPLETED],
        instance_id_prefix=req.route_params["prefix"],
        fetch_inputs_and_outputs=True,
    )
    page = await client.list_instance_ids(runtime_status=[OrchestrationStatus.COMPLETED], page_size=2)
    found = [show(each) for each in await client.get_all_orchestration_states(query)]
    return answer({"states": found, "page": page.items, "more": page.continuation_token is not None})


@bp.route(route="purge/{status}", methods=["POST"])
@bp.durable_client_input(client_name="client")
def purge_by(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    status = OrchestrationStatus[req.route_params["status"]]
    return answer(client.purge_orchestrations_by(runtime_status=[status]).deleted_instance_count)


@bp.route(route="history/{id}")
@bp.durable_client_input(client_name="client")
async def history(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    events = await client.get_orchestration_history(req.route_params["id"])
    return answer([type(event).__name__ for event in events])


@bp.route(route="signal/{entity}/{key}/{operation}", methods=["POST"])
@bp.durable_client_input(client_name="client")
async def signal(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    entity = EntityInstanceId(req.route_params["entity"], req.route_params["key"])
    body = req.get_json() if req.get_body() else None
    await client.signal_entity(entity, req.route_params["operation"], body)
    return answer(None)


@bp.route(route="entity/{entity}/{key}")
@bp.durable_client_input(client_name="client")
def entity(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    id = EntityInstanceId(req.route_params["entity"], req.route_params["key"])
    found = client.get_entity(entity_instance_id=id)
    if found is None:
        return answer(None, 404)
    return answer([found.id == id, found.get_state(), found.get_typed_state(int), found.includes_state])


@bp.route(route="entities/{prefix}")
@bp.durable_client_input(client_name="client")
async def list_entities(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    found = await client.get_all_entities(EntityQuery(instance_id_starts_with=f"@{req.route_params['prefix']}"))
    cleaned = await client.clean_entity_storage()
    return answer({"ids": sorted(str(each.id) for each in found), "removed": cleaned.empty_entities_removed})


@bp.route(route="schedule/{id}", methods=["POST"])
@bp.durable_client_input(client_name="client")
def schedule(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    id = req.route_params["id"]
    options = ScheduleCreationOptions(
        schedule_id=id,
        orchestration_name="chain",
        orchestration_input=["Rome"],
        orchestration_instance_id=f"run-of-{id}",
        interval=timedelta(hours=1),
        start_immediately_if_late=True,
    )
    created = ScheduledTaskClient(client).create_schedule(options)
    return answer(created.describe().orchestration_name)


@bp.route(route="schedule/{id}/{verb}", methods=["POST"])
@bp.durable_client_input(client_name="client")
async def change_schedule(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    schedules = AsyncScheduledTaskClient(client)
    one = schedules.get_schedule_client(req.route_params["id"])
    await {"pause": one.pause, "resume": one.resume, "delete": one.delete}[req.route_params["verb"]]()
    found = await schedules.get_schedule(req.route_params["id"])
    return answer(found and found.status.name)
