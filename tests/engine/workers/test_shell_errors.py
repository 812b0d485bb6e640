"""The message of a command that failed: lists, logs and hooks show its first line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import durablecli as df
from durablecli.testing import TestEnvironment


@df.orchestrator
def run(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_activity("command"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "/bin/sh exited with code 3"),
        ("echo no disk >&2; exit 3", "/bin/sh exited with code 3: no disk"),
        (
            "(echo copying; echo '  no disk ') >&2; exit 3",
            "/bin/sh exited with code 3: no disk\n  copying\n    no disk ",
        ),
        ("kill -9 $$", "/bin/sh was ended by SIGKILL"),
    ],
)
def test_the_first_line_ends_with_the_last_that_was_printed(
    durable_hub: Callable[..., TestEnvironment], script: str, message: str
) -> None:
    hub = durable_hub(run, df.shell(script, name="command", shell=True))
    failure = hub.finish(hub.client.start_new(run)).failure
    assert failure is not None
    assert failure.message == message
