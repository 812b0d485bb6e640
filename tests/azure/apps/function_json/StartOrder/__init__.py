import azure.durable_functions as df
import azure.functions as func
from shared_code import rates


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    amount = rates.with_tax(int(req.params.get("amount", "1")))
    instance_id = await client.start_new(req.route_params["functionName"], None, amount)
    return client.create_check_status_response(req, instance_id)
