"""How an orchestration ended, for whoever waited for it: its output, and an exit code."""

from __future__ import annotations

from datetime import timedelta

from durablecli.cli.output import STATUS_COLORS, Output, echo, echo_error
from durablecli.client import Client, DurableOrchestrationStatus

EXIT_CODES = {"Completed": 0, "Failed": 6, "Terminated": 7, "Canceled": 7}


def wait_and_print(client: Client, output: Output, instance: str, timeout: timedelta | None) -> int:
    """Wait, show the outcome, return its code. Ctrl-C leaves the instance as it is."""
    status = client.get_status(instance)
    if status and not status.ended and not status.engine.alive:
        echo("no daemon is running: nothing will move until one does (durable run-daemon)")
    try:
        return print_outcome(output, client.wait(instance, timeout))
    except KeyboardInterrupt:
        echo(f"{instance} goes on; durable wait {instance}")
        raise


def print_outcome(output: Output, status: DurableOrchestrationStatus) -> int:
    """The output as JSON on stdout; what failed or was terminated says so on stderr."""
    word = status.runtime_status.value if status.runtime_status else ""
    if not output.is_human_readable:
        output.print_value(status.payload())
        return EXIT_CODES[word]
    if output.is_terminal:
        output.print_styled(f"{output.style(status.instance_id, None)}  {output.style(word, STATUS_COLORS.get(word))}")
    if word == "Completed":
        output.print_result(status.shown_output)
    else:
        echo_error(f"{status.instance_id} {word}: {status.output}")
    return EXIT_CODES[word]
