"""Clean a folder again and again: `continue_as_new` starts each round with an empty history, so it can go on for ever.

durable start eternal --id cleaner --input '{"folder": "/tmp/cache", "pattern": "*.tmp", "older_than": 86400}'
durable terminate cleaner
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import durablecli as df


@dataclass(frozen=True)
class Cleaning:
    """What goes, and how often; times in seconds. Without `rounds` it has no end. `removed` counts over all rounds."""

    folder: str
    pattern: str
    older_than: float
    interval: float = 3600
    rounds: int | None = None
    removed: int = 0


@df.activity
def remove_old_files(cleaning: Cleaning) -> int:
    """Remove what hasn't changed for so long. A file that is gone already is no error."""
    limit = time.time() - cleaning.older_than
    old = [path for path in Path(cleaning.folder).glob(cleaning.pattern) if path.is_file()]
    old = [path for path in old if path.stat().st_mtime <= limit]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


@df.orchestrator
def eternal(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int | None]:
    """One round: clean, sleep, begin anew with what the next round has to know."""
    cleaning: Cleaning = context.get_input(Cleaning)
    found: int = yield context.call_activity(remove_old_files, cleaning)
    removed = cleaning.removed + found
    context.set_custom_status({"removed": removed})
    rounds = None if cleaning.rounds is None else cleaning.rounds - 1
    if rounds == 0:
        return removed
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=cleaning.interval))
    context.continue_as_new(replace(cleaning, rounds=rounds, removed=removed))
    return None
