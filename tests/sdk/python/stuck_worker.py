"""A worker that takes one item and never finishes it: `python -m tests.sdk.python.stuck_worker ADDRESS FILE`.

It adds a line to the file when it has begun the item, so that a test can kill it then.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from durabletask import task
from durabletask.entities import EntityContext
from durabletask.worker import TaskHubGrpcWorker


def main() -> None:
    address, file = sys.argv[1:]

    def get_stuck(*_: Any) -> None:
        Path(file).write_text("begun\n")
        time.sleep(3600)

    def held_activity(_: task.ActivityContext, __: Any) -> None:
        get_stuck()

    def held_orchestrator(_: task.OrchestrationContext, __: Any) -> None:
        get_stuck()

    def held_entity(_: EntityContext, __: Any) -> None:
        get_stuck()

    worker = TaskHubGrpcWorker(host_address=address)
    worker.add_activity(held_activity)
    worker.add_orchestrator(held_orchestrator)
    worker.add_entity(held_entity)
    worker.use_work_item_filters()
    worker.start()
    time.sleep(3600)


if __name__ == "__main__":
    main()
