"""Runs random orchestration programs on the real engine, in memory, and returns their histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durablecli import testing
from durablecli.client.status_builder import parse_records
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.message_queue import Submission
from durablecli.model import events as ev
from durablecli.model.payloads import encode
from durablecli.replay.pending import next_due
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store.history.file import history_files, read_history, read_history_file, resolve_history
from durablecli.store.inbox.messages import Message, MessageItem
from tests.properties.orchestration_programs import EVENT_NAMES, ROOT_IDS, Body, ProgramEnvironment

START = datetime(2026, 1, 1, tzinfo=UTC)
MAX_ROUNDS = 200
Action = tuple[Any, ...]


class OrchestrationHarness:
    """One hub and one world. `restarts`: the engine is killed and reopened after every action, when all is at rest.

    `kills`: after so many cycles each, wherever it stands then. `spill_over`: as in the settings.
    """

    def __init__(
        self,
        *,
        replay_always: bool = False,
        restart_after_actions: bool = False,
        kill_after_cycles: list[int] | None = None,
        spill_over: int = 0,
    ) -> None:
        self.environment = ProgramEnvironment()
        self.restart_after_actions = restart_after_actions
        self.kill_after_cycles = list(kill_after_cycles or [])
        self.kill_count = 0
        options = EngineOptions(
            replay_always=replay_always, use_threads=False, turn_budget=timedelta.max, spill_over=spill_over
        )
        self.hub = testing.TestEnvironment(testing.build_registry(*self.environment.make_functions()), START, options)
        self.coverage: set[str] = set()
        self.has_rewound = False
        self.torn_tails = 0
        self.unacknowledged: list[Submission] = []
        self._message_count = 0

    def run(self, programs: tuple[Body, Body], actions: list[Action]) -> dict[str, list[ev.Record]]:
        """Start both programs, run the script, then run everything to its end."""
        for name, body in zip(ROOT_IDS, programs, strict=True):
            self.post("start", name, name="play", input=encode({"body": body, "round": 1}))
        self.run_until_quiescent()
        for action in actions:
            self.perform(action)
            self.run_until_quiescent()
            if self.restart_after_actions:
                self.hub.restart()
                self.run_until_quiescent()
        self.run_to_end()
        self.coverage |= self.environment.coverage
        found = {id: self.read_records(id) for id in self.instance_ids()}
        self.hub.close()
        return found

    def perform(self, action: Action) -> None:
        verb, *rest = action
        match verb:
            case "work":
                keys = sorted(filter(self._is_pending, self.hub.pool.waiting))
                if keys:
                    self.hub.pool.run_next(keys[rest[0] % len(keys)])
            case "event":
                self.post("raise-event", rest[0], name=rest[1], input=encode(self._message_count))
            case "advance":
                self.hub.clock.advance(timedelta(seconds=rest[0]))
            case "back":
                self.hub.clock.advance(timedelta(seconds=-7))
            case "mend":
                self.environment.repaired = True
            case _:
                self.post(verb, rest[0], reason=verb)

    def post(self, kind: str, instance: str, **fields: Any) -> None:
        self._message_count += 1
        self.has_rewound |= kind == "rewind"
        self._submit(Message(f"m-{self._message_count}", 0, START, kind, [MessageItem(instance, **fields)]))

    def run_until_quiescent(self) -> None:
        """Cycle until only an outcome, a message or time can change anything."""
        for _ in range(100_000):
            if self.kill_after_cycles:
                self._kill_when_due()
            moved = self.hub.engine.step()
            due = self.hub.engine.timers.next_due_time()
            if not moved and self.hub.engine.is_quiescent and (due is None or due > self.hub.clock.now()):
                self.hub.engine.flush()
                return
        raise AssertionError("the engine comes to no rest")

    def _kill_when_due(self) -> None:
        self.kill_after_cycles[0] -= 1
        if self.kill_after_cycles[0] <= 0:
            self.kill_after_cycles.pop(0)
            self.kill_count += 1
            lost = [posted for posted in self.unacknowledged if not posted.done.is_set()]
            self.hub.restart()
            self.unacknowledged = []
            for posted in lost:  # nobody was told that these were taken, so they are sent again
                self._submit(posted.message)
            self.torn_tails += bool(self.hub.engine.hub.incomplete_turns)

    def _submit(self, message: Message) -> None:
        self.unacknowledged.append(self.hub.engine.submit(message.kind, message.items, message.message))

    def _is_pending(self, key: tuple[str, str, int]) -> bool:
        """Whether anybody still waits for this call; a restarted engine has forgotten the others."""
        instance = self.hub.engine.instances.get(key[0])
        return (
            instance is not None
            and instance.runtime_state.execution == key[1]
            and key[2] in instance.runtime_state.open_decisions
        )

    def run_all_activities(self) -> None:
        self.run_until_quiescent()
        while self.hub.pool.waiting:
            self.hub.pool.run_next(min(self.hub.pool.waiting))
            self.run_until_quiescent()

    def run_to_end(self) -> None:
        """Mend the world and give everybody what they wait for, until all have ended; rewind what failed, once."""
        self.environment.repaired = True
        rewound = False
        for _ in range(MAX_ROUNDS):
            self.run_all_activities()
            states = {id: self.read_runtime_state(id) for id in self.instance_ids()}
            live = [id for id, runtime_state in states.items() if not runtime_state.ended]
            if not live:
                failed = [id for id in ROOT_IDS if id in states and states[id].status == "Failed"]
                if rewound or not failed:
                    return
                rewound = True
                for id in failed:
                    self.post("rewind", id, reason="mended")
            self._unblock(live, states)
        stuck = {
            id: describe_state(self.read_runtime_state(id))
            for id in self.instance_ids()
            if not self.read_runtime_state(id).ended
        }
        raise AssertionError(f"never ended: {stuck}")

    def _unblock(self, live: list[str], states: dict[str, RuntimeState]) -> None:
        for id in live:
            if states[id].suspended is not None:
                self.post("resume", id)
            for name in EVENT_NAMES:
                if states[id].event_waits.active:
                    self.post("raise-event", id, name=name, input=encode("at last"))
        self.run_until_quiescent()  # what comes at the same time may be taken in any order
        due = [due for id in live if (due := next_due(states[id])) is not None]
        if due:
            self.hub.clock.move_to(max(min(due), self.hub.clock.now()))

    # ── the files ────────────────────────────────────────────────────────────────────────────────────────────────

    def instance_ids(self) -> list[str]:
        found = []
        for file in history_files(self.hub.disk, "hub"):
            history = read_history_file(self.hub.disk, file)
            assert history is not None
            found.append(history.instance)
        return sorted(found)

    def read_records(self, id: str) -> list[ev.Record]:
        history = resolve_history(self.hub.disk, "hub", read_history(self.hub.disk, "hub", id))
        assert history is not None
        assert history.is_whole
        return list(parse_records(history))

    def read_runtime_state(self, id: str) -> RuntimeState:
        return fold_history(self.read_records(id))


def describe_state(runtime_state: RuntimeState) -> list[Any]:
    return [
        runtime_state.status,
        runtime_state.open_decisions,
        runtime_state.event_waits.active,
        len(runtime_state.held),
        runtime_state.suspended,
        runtime_state.blocked,
        runtime_state.incomplete,
    ]
