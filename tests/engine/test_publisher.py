"""Publishing order: a reader at any moment finds every durable record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.store.inbox.messages import MessageItem
from durablecli.testing import TestEnvironment


@df.orchestrator
def wait(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.wait_for_external_event("go"))


def watch_changes(
    hub: TestEnvironment, monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]
) -> list[tuple[str, object, object]]:
    """What a look gives before and after each change of the files."""
    seen: list[tuple[str, object, object]] = []
    histories = hub.engine.hub.history_writer

    def watch(name: str, do: Callable[[Any], None]) -> None:
        def watched(each: Iterable[Any]) -> None:
            changes, before = list(each), read()
            do(changes)
            if changes:
                seen.append((name, before, read()))

        monkeypatch.setattr(histories, name, watched)

    watch("publish", histories.publish)
    watch("remove_purged", histories.remove_purged)
    return seen


def run_to_end(hub: TestEnvironment) -> None:
    hub.client.start_new(wait, "a")
    hub.client.raise_event("a", "go", 1)
    hub.finish("a")
    hub.advance(timedelta(seconds=1))
    assert not hub.engine.list_unpublished("a")


def test_the_journal_is_read_until_the_file_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.hub(wait) as hub:
        seen = watch_changes(hub, monkeypatch, lambda: not hub.engine.list_unpublished("a"))
        hub.client.start_new(wait, "a")
        hub.run()
        assert seen == [("publish", False, False)]
        assert not hub.engine.list_unpublished("a")


def test_an_instance_purged_and_restarted_in_one_commit_is_always_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.hub(wait) as hub:
        run_to_end(hub)
        seen = watch_changes(hub, monkeypatch, lambda: hub.client.get_status("a").runtime_status)
        known = watch_changes(hub, monkeypatch, lambda: not hub.engine.list_unpublished("a"))
        hub.engine.submit("purge", [MessageItem("a")])
        hub.engine.submit("start", [MessageItem("a", "wait")])
        hub.run()
        assert seen
        assert all(before and after for _, before, after in seen)
        assert not any(before for _, before, _ in known)
        assert hub.client.get_status("a").runtime_status is df.OrchestrationRuntimeStatus.Running
        assert not hub.engine.list_unpublished("a")
        hub.restart()
        assert hub.client.get_status("a").runtime_status is df.OrchestrationRuntimeStatus.Running


def test_a_purge_takes_the_file_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.hub(wait) as hub:
        run_to_end(hub)
        seen = watch_changes(hub, monkeypatch, lambda: bool(hub.client.get_status("a")))
        hub.client.purge_instance_history("a")
        hub.run()
        assert [(name, after) for name, _, after in seen] == [("remove_purged", False)]
