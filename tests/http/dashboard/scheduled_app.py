"""An app with schedules, for the tests of their pages."""

from __future__ import annotations

import durablecli as df


@df.orchestrator(schedule="0 3 1 1 *", timezone="Europe/Vienna", input="x")
def new_year(context: df.DurableOrchestrationContext) -> str:
    return f"Happy new year, {context.get_input()}"


@df.orchestrator(schedule="every 300d", overlap="allow")
def rarely(context: df.DurableOrchestrationContext) -> None:
    return None
