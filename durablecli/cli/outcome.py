"""How an orchestration ended, for whoever waited for it: its output, and an exit code."""

from __future__ import annotations

from datetime import timedelta

from durablecli.cli.output import COLORS, Screen, complain, say
from durablecli.client import Client, DurableOrchestrationStatus

CODES = {"Completed": 0, "Failed": 6, "Terminated": 7, "Canceled": 7}


def await_end(client: Client, screen: Screen, instance: str, timeout: timedelta | None) -> int:
    """Wait, show the outcome, return its code. Ctrl-C leaves the instance as it is."""
    status = client.get_status(instance)
    if status and not status.ended and not status.engine.alive:
        say("no daemon is running: nothing will move until one does (durable run-daemon)")
    try:
        return show_outcome(screen, client.wait(instance, timeout))
    except KeyboardInterrupt:
        say(f"{instance} goes on; durable wait {instance}")
        raise


def show_outcome(screen: Screen, status: DurableOrchestrationStatus) -> int:
    """The output as JSON on stdout; what failed or was terminated says so on stderr."""
    word = status.runtime_status.value if status.runtime_status else ""
    if not screen.for_people:
        screen.one(status.payload())
        return CODES[word]
    if screen.terminal:
        screen.painted(f"{screen.paint(status.instance_id, None)}  {screen.paint(word, COLORS.get(word))}")
    if word == "Completed":
        screen.value(status.shown_output)
    else:
        complain(f"{status.instance_id} {word}: {status.output}")
    return CODES[word]
