"""An app with a timer function and an HTTP function."""

from __future__ import annotations

import os
from typing import Any

import durablecli as df
from durablecli.azure import functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def record_run(*words: object) -> None:
    """A line in the file that the test looks at."""
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


@app.orchestration_trigger(context_name="context")
def echo(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@app.timer_trigger(arg_name="timer", schedule="%EVERY%")
@app.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client: Any) -> None:
    instance = await client.start_new("echo", client_input="from the timer")
    uri = client.create_http_management_payload(instance)["statusQueryGetUri"]
    record_run(timer.past_due, uri, timer.schedule_status["Next"])


@app.route(route="start/{text}", methods=["POST"])
@app.durable_client_input(client_name="client")
def start(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    instance = client.start_new("echo", client_input=req.route_params["text"])
    answer: func.HttpResponse = client.wait_for_completion_or_create_check_status_response(req, instance)
    return answer
