"""The configured hooks as people see them, and a sample event that shows whether one is delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from durablecli.builtin.hook_delivering import post_event, run_command
from durablecli.config import HookConfig, HooksConfig
from durablecli.engine.hook_starter import EVENTS, list_patterns, make_target
from durablecli.errors import NotFound
from durablecli.model.hook_delivery import HOOK_PREFIX, PAYLOAD_VERSION, HookError, HookEvent
from durablecli.model.ids import new_id
from durablecli.model.suggestions import did_you_mean

_NAME = "sample"
_REASON = f"orchestrator '{_NAME}' isn't loaded"
_MESSAGE = "this is a test of the hook"


class ConfiguredHook(NamedTuple):
    """One hook. Its name is the event and the position among the hooks of that event, as in the ids of deliveries."""

    name: str
    event: str
    config: HookConfig

    @property
    def label(self) -> str:
        """The address or the command, without the parts that may be secret."""
        return make_target(self.config).label

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of the names of orchestrators."""
        return list_patterns(self.config)

    def payload(self) -> dict[str, Any]:
        """The hook as JSON, without its headers."""
        config = self.config
        return {
            "name": self.name,
            "event": self.event,
            "kind": "run" if config.url is None else "url",
            "target": self.label,
            "orchestrators": list(self.patterns),
            "children": config.children or self.event == "blocked",
            "timeout": config.timeout.total_seconds(),
            "attempts": config.attempts,
        }


def list_hooks(config: HooksConfig) -> list[ConfiguredHook]:
    """Return the hooks of the settings."""
    return [
        ConfiguredHook(f"{event}{index}", event, hook)
        for event in EVENTS
        for index, hook in enumerate(getattr(config, event))
    ]


def find_hook(hooks: Sequence[ConfiguredHook], given: str) -> ConfiguredHook:
    """Return the hook with this name, with this number in the list, counted from 1, or the only one of this event.

    Raises NotFound.
    """
    numbered = hooks[int(given) - 1 : int(given)] if given.isdecimal() and int(given) else []
    named = [each for each in hooks if each.name == given] or [each for each in hooks if each.event == given]
    if len(found := numbered or named) == 1:
        return found[0]
    names = [each.name for each in hooks]
    if not names:
        raise NotFound(f"no hook '{given}': durable.yaml has no hooks")
    known = f" (known: {', '.join(names)})"
    if found:
        raise NotFound(f"'{given}' is more than one hook: {', '.join(each.name for each in found)}")
    raise NotFound(f"no hook '{given}'{did_you_mean(given, names) or known}")


def make_sample(hook: ConfiguredHook, hub: str) -> HookEvent:
    """Make the event that a test of a hook delivers. Its instance doesn't exist; each sample has an id of its own."""
    outcomes: dict[str, dict[str, Any]] = {
        "failed": {"status": "Failed", "error": HookError("ValueError", _MESSAGE)},
        "blocked": {"status": "Running", "reason": _REASON},
        "completed": {"status": "Completed", "output": f'"{_MESSAGE}"'},
        "terminated": {"status": "Terminated", "output": f'"{_MESSAGE}"'},
    }
    id = f"{HOOK_PREFIX}{_NAME}:{new_id()}:{hook.name}"
    text = f"{_NAME}: {_MESSAGE} {hook.name}"
    now, outcome = datetime.now(UTC), outcomes[hook.event]
    return HookEvent(PAYLOAD_VERSION, id, hook.event, text, _NAME, "1", _NAME, at=now, hub=hub, **outcome)


def send_sample(hook: ConfiguredHook, hub: str, folder: str) -> None:
    """Deliver a sample to a hook, once; a command runs in `folder`. Raises HookFailed."""
    event, target = make_sample(hook, hub), make_target(hook.config)
    if target.url is None:
        run_command(event, target, folder, lambda: False)
        return
    import asyncio  # not needed by commands

    asyncio.run(post_event(event, target))
