"""Wait until a file is there and big enough: look, sleep longer each time, give up at the deadline.

durable run monitor --input '{"path": "/tmp/report.csv", "size": 1, "timeout": 60}'
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import durablecli as df


@dataclass(frozen=True)
class Watch:
    """The file and the bytes it must have; all times in seconds."""

    path: str
    size: int = 0
    first_wait: float = 1
    longest_wait: float = 300
    timeout: float = 24 * 3600


@df.activity
def look(path: str) -> int | None:
    """The size of the file, or None if there is none. Activities may look at the world, orchestrators may not."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return None


@df.orchestrator
async def monitor(context: df.DurableOrchestrationContext) -> dict[str, Any]:
    """An orchestrator may also be an `async def` that awaits its tasks; the two styles do the same."""
    watch: Watch = context.get_input(Watch)
    deadline = context.current_utc_datetime + timedelta(seconds=watch.timeout)
    wait = timedelta(seconds=watch.first_wait)
    looks = 0
    while True:
        size = await context.call_activity(look, watch.path)
        looks += 1
        if size is not None and size >= watch.size:
            return {"found": True, "size": size, "looks": looks}
        now = context.current_utc_datetime
        if now >= deadline:
            return {"found": False, "size": size, "looks": looks}
        context.set_custom_status({"looks": looks, "size": size})
        await context.create_timer(min(now + wait, deadline))
        wait = min(wait * 2, timedelta(seconds=watch.longest_wait))
