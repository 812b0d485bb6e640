"""The outcome of an orchestration: its output, and an exit code."""

from __future__ import annotations

from datetime import timedelta

from durablecli.cli.output import STATUS_COLORS, Output, echo, echo_error
from durablecli.client import Client, DurableOrchestrationStatus

EXIT_CODES = {"Completed": 0, "Failed": 6, "Terminated": 7, "Canceled": 7}


def wait_and_print(client: Client, output: Output, instance: str, timeout: timedelta | None) -> int:
    """Wait for an instance, print its outcome, and return the exit code. Ctrl-C doesn't affect the instance."""
    status = client.get_status(instance)
    if status and not status.ended and not status.engine.alive:
        echo("no daemon is running; start one with: durable run-daemon")
    try:
        return print_outcome(output, client.wait(instance, timeout))
    except KeyboardInterrupt:
        echo(f"stopped waiting; {instance} is not affected. Wait again: durable wait {instance}")
        raise


def print_outcome(output: Output, status: DurableOrchestrationStatus) -> int:
    """Print the output as JSON on stdout, or on stderr that the instance failed or was terminated."""
    name = status.status_name
    if not output.is_human_readable:
        output.print_value(status.payload())
        return EXIT_CODES[name]
    if output.is_terminal:
        output.print_styled(f"{output.style(status.instance_id, None)}  {output.style(name, STATUS_COLORS.get(name))}")
    if name == "Completed":
        output.print_result(status.shown_output)
    else:
        echo_error(f"{status.instance_id} {name}: {status.output}")
    return EXIT_CODES[name]
