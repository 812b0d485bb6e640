"""Activities that are commands."""

from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]

show = df.shell("printf '%s|' before {words} after")
count = df.shell("tr ' ' '\n' < {path} | sort | uniq -c | head -n {lines}", shell=True)
fails = df.shell("echo begins; echo '{{a}}' wrong >&2; exit 3", shell=True)
sleeps = df.shell("echo $$ > pid; trap '' TERM; echo waiting; sleep 60 & wait; sleep 60", shell=True)


@df.orchestrator
def shows(context: df.DurableOrchestrationContext) -> Steps:
    return (yield context.call_activity(show, {"words": context.get_input()}))


@df.orchestrator
def counts(context: df.DurableOrchestrationContext) -> Steps:
    return (yield context.call_activity(count, context.get_input()))


@df.orchestrator
def catches(context: df.DurableOrchestrationContext) -> Steps:
    try:
        yield context.call_activity(fails)
    except df.ShellError as error:
        return [error.code, error.lines]


@df.orchestrator
def breaks(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(fails)


@df.orchestrator
def lacks(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity_with_retry(show, df.RetryOptions(3_600_000, 3), {"word": 1})


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(sleeps)
