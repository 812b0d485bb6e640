import json

import azure.durable_functions as df
from azure.durable_functions.models.DurableOrchestrationStatus import DurableOrchestrationStatus
from azure.functions import HttpRequest, HttpResponse


async def main(req: HttpRequest, starter: str) -> HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    status: DurableOrchestrationStatus = await client.get_status(req.params["id"])
    return HttpResponse(json.dumps(status.to_json()), mimetype="application/json")
