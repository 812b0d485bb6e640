"""For tests of workflows: the real engine on a hub in memory, with a clock that only the test moves.

    with testing.hub(my_orchestrator, my_activity) as hub:
        instance = hub.client.start_new(my_orchestrator, client_input=1)
        status = hub.finish(instance)

There are no threads, no files and no waiting. Activities and entity operations run one after another, in the order in
which they were scheduled. `await asyncio.sleep(3600)` in an async activity takes an hour of the hub's clock.
"""

from __future__ import annotations

from durablecli.testing.environment import START as START
from durablecli.testing.environment import TestEnvironment, hub
from durablecli.testing.environment import build_registry as build_registry
from durablecli.testing.inline_pool import InlinePool as InlinePool

__all__ = ["TestEnvironment", "hub"]
