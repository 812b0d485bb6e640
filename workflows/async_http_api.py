"""A long job behind HTTP: a POST is answered 202 at once, and its Location says 202 until it says 200.

durable run-daemon --http
curl -i -X POST localhost:7071/api/orchestrators/DoWork -d '{"folder": "/usr/share/doc"}'
curl -i LOCATION-OF-THAT-ANSWER

Any orchestration has such a door. `POST /api/inventories/NAME` is one of the app's own, with its own rules; and the
orchestrator `ask` is somebody on the other side of it, who sleeps between the polls and survives every restart:

durable start ask --input '{"uri": "http://localhost:7071/api/inventories/all", "content": {"folder": "/usr"}}'
"""

import hashlib
import json
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import durablecli as df
from durablecli.azure.durable_functions import SyncDurableFunctionsClient
from durablecli.azure.functions import HttpRequest, HttpResponse
from durablecli.errors import Conflict

app = df.DFApp(http_auth_level="ANONYMOUS")


@app.activity_trigger(input_name="folder")
def list_files(folder: str) -> list[str]:
    """The files of a folder and of all below it."""
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


@app.activity_trigger(input_name="paths")
def digest(paths: list[str]) -> dict[str, str]:
    """The SHA-256 of each file."""
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}


@app.orchestration_trigger(context_name="context", orchestration="DoWork")
def do_work(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Take stock of a folder, a hundred files at a time. The custom status shows in every poll how far it has got."""
    files = yield context.call_activity(list_files, context.get_input()["folder"])
    found: dict[str, str] = {}
    for start in range(0, len(files), 100):
        found |= yield context.call_activity(digest, files[start : start + 100])
        context.set_custom_status({"files": len(files), "done": len(found)})
    return {"files": len(files), "different": len(set(found.values()))}


@app.route(route="inventories/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
def take_inventory(req: HttpRequest, client: SyncDurableFunctionsClient) -> HttpResponse:
    """One inventory of a name at a time: whoever asks meanwhile is shown the one that runs."""
    wanted = req.get_json()
    if not Path(wanted["folder"]).is_dir():
        return HttpResponse(f"{wanted['folder']} is no folder", status_code=400)
    name = f"inventory-{req.route_params['name']}"
    with suppress(Conflict):  # it runs already
        client.start_new("DoWork", name, wanted)
    return client.create_check_status_response(req, name)


@app.orchestration_trigger(context_name="context")
def ask(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Post to somebody else's asynchronous API and wait for the end of what that began, however long it takes."""
    wanted = context.get_input()
    answer = yield context.call_http("POST", wanted["uri"], wanted["content"])
    if answer.status_code != 200:
        raise RuntimeError(f"{wanted['uri']} said {answer.status_code}: {answer.content}")
    return json.loads(answer.content)["output"]
