"""The outcome of an orchestration: its output, and an exit code."""

from __future__ import annotations

from datetime import timedelta

from durablecli.cli.output import STATUS_COLORS, Output, echo, echo_error
from durablecli.client import DurableOrchestrationStatus, FailureReport, HubClient
from durablecli.plurals import format_count

EXIT_CODES = {"Completed": 0, "Failed": 6, "Terminated": 7, "Canceled": 7}


def wait_and_print(
    client: HubClient, output: Output, instance: str, timeout: timedelta | None, *, traceback: bool = False
) -> int:
    """Wait for an instance, print its outcome, and return the exit code. Ctrl-C doesn't affect the instance."""
    status = client.get_status(instance)
    if status and not status.ended and status.lacks_engine:
        echo("no daemon is running; start one with: durable run-daemon")
    try:
        return print_outcome(output, client.wait(instance, timeout), traceback=traceback)
    except KeyboardInterrupt:
        echo(f"stopped waiting; {instance} is not affected. Wait again: durable wait {instance}")
        raise


def print_outcome(output: Output, status: DurableOrchestrationStatus, *, traceback: bool = False) -> int:
    """Print the output as JSON on stdout, or on stderr that the instance failed or was terminated, and why."""
    name = status.status_name
    if not output.is_human_readable:
        output.print_value(status.payload())
    elif name == "Completed":
        if output.is_terminal:
            output.print_styled(
                f"{output.style(status.instance_id, None)}  {output.style(name, STATUS_COLORS.get(name))}"
            )
        output.print_result(status.shown_output)
    elif status.failure is None:
        echo_error(f"{status.instance_id} {name}: {status.output}")
    else:
        _print_failure(status, status.failure, traceback)
    return EXIT_CODES[name]


def _print_failure(status: DurableOrchestrationStatus, failure: FailureReport, traceback: bool) -> None:
    from durablecli.cli.failure_text import (
        describe_failure,
        describe_task_failures,
        has_more_to_say,
        is_same_failure,
        message_lines,
        traceback_lines,
    )

    groups = status.task_failures
    first, *rest = message_lines(failure.text) if traceback else describe_failure(failure)
    echo_error(f"{status.instance_id} {status.status_name}: {first}")
    for line in rest:
        echo(f"  {line}")
    if traceback:
        for line in traceback_lines(failure, groups):
            echo(line)
    elif is_same_failure(groups, failure):
        echo(f"  {groups[0].count:,} tasks failed like this")
    elif has_more_to_say(groups, failure):
        echo(f"  {format_count(sum(group.count for group in groups), 'task')} failed:")
        for line in describe_task_failures(groups):
            echo(f"    {line}")
