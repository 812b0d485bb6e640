"""The pytest plugin: the fixture `durable_hub`. An installed durablecli registers it; it imports the engine when it is
used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # slow to import, and pytest loads this module in every project of the environment
    from durablecli.testing import TestEnvironment


@pytest.fixture
def durable_hub() -> Iterator[Callable[..., TestEnvironment]]:
    """Create hubs in memory, as `durablecli.testing.hub` does, and close them after the test.

    def test_order(durable_hub):
        hub = durable_hub(order, charge)
        assert hub.finish(hub.client.start_new(order)).output == "paid"
    """
    with ExitStack() as stack:

        def create(*functions: Any, **options: Any) -> TestEnvironment:
            from durablecli import testing

            return stack.enter_context(testing.hub(*functions, **options))

        yield create
