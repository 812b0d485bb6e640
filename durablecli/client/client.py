"""The client: starts, queries, signals and ends orchestrations and entities, from any Python program.

Reading and waiting are in `queries.py`, the base class. It reads the files of the hub and posts messages; what is on
disk is the same whether an engine runs or not. The method names are those of Durable Functions' client. Times are
UTC, and a naive time is taken as UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from durablecli.client.entity_reader import EntityReader
from durablecli.client.entity_status import EntityStatus
from durablecli.client.event_target_cache import EventTargetCache
from durablecli.client.orchestration_status import DurableOrchestrationStatus, PurgeHistoryResult
from durablecli.client.queries import build_query
from durablecli.client.rerun import RerunVerbs
from durablecli.client.start import IF_EXISTS_POLICIES, build_batch_items, start_with_id
from durablecli.client.status_reader import StatusReader
from durablecli.client.submission import Submitter
from durablecli.client.transitions import describe_status, will_have_ended
from durablecli.current_trace import read_current_trace
from durablecli.errors import DurableError, NotFound, UsageError, WrongState
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import encode
from durablecli.model.schedule_options import make_schedule_id
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus
from durablecli.model.validation import (
    check_due_time,
    check_name,
    check_operation_name,
    check_reason,
    check_tags,
    check_time,
    check_version,
)
from durablecli.project import make_absolute
from durablecli.replay.function_marks import function_name
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.end_detector import EndDetector
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Mailbox, MessageItem
from durablecli.store.publication import PublicationStatus
from durablecli.store.query import Query

if TYPE_CHECKING:  # imported when a check is asked for: it is slow to load and few need it
    from durablecli.inputs.input_check import InputRules
    from durablecli.store.check.checker import CheckReport


class Client(RerunVerbs):
    """The client of one hub. No method needs a running engine; `wait` then waits until one has done the work."""

    def __init__(
        self,
        state_dir: str | PathLike[str] = ".state",
        mailbox: Mailbox | None = None,
        disk: Disk | None = None,
        *,
        on_create: Callable[[str], None] = lambda root: None,
        check_names: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_create` is called with the path of the hub when posting has created it. `check_names=False` also accepts
        functions and operations that the running engine doesn't know. Durations count from `now`."""
        self.root = fspath(state_dir) if disk is not None else make_absolute(state_dir)
        self._disk: Disk = disk or LocalDisk()
        self._now = now
        reader = StatusReader(self.root, self._disk, mailbox if isinstance(mailbox, PublicationStatus) else None)
        entity_reader, inbox = EntityReader(reader), Inbox(self._disk, self.root)
        submitter = Submitter(self._disk, reader, entity_reader, inbox, mailbox, on_create)
        super().__init__(reader, entity_reader, submitter, inbox, check_names)
        self._direct_mailbox = mailbox
        self._event_targets = EventTargetCache(EndDetector(self._disk, self.root))

    is_foreign = False

    @property
    def location(self) -> str:
        """The folder of the hub."""
        return self.root

    @property
    def mailbox(self) -> Mailbox | None:
        """The mailbox of an engine in this process; None if the client posts to the inbox on disk."""
        return self._direct_mailbox

    # ── start ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start_new(
        self,
        orchestration_function_name: str | Callable[..., Any],
        instance_id: str | None = None,
        client_input: Any = None,
        version: str | None = None,
        *,
        if_exists: str = "fail_if_running",
        start_at: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start an orchestration and return its instance id; the start is on disk by then.

        `tags` are kept with the instance, and with its sub-orchestrations: lists can be filtered by them.

        If an instance has the id, `if_exists` decides: `fail_if_running` replaces an ended instance and raises
        Conflict for any other, `fail` raises Conflict, `skip` returns the id, `replace` terminates and replaces the
        instance. Raises NotFound if a running engine doesn't know the function, and InvalidInput for an input that it
        can't take: see docs/inputs.md.
        """
        if if_exists not in IF_EXISTS_POLICIES:
            raise UsageError(f"invalid if_exists {if_exists!r}; use one of {', '.join(IF_EXISTS_POLICIES)}")
        name, rules = self._resolve_function(orchestration_function_name)
        value = encode(client_input)
        if rules is not None:
            value = rules.complete(None if client_input is None else value)
        instance = new_id() if instance_id is None else check_instance_id(instance_id)
        item = MessageItem(
            instance,
            name,
            value,
            check_version(version),
            _to_utc(start_at),
            if_exists,
            tags=check_tags(tags),
            trace=read_current_trace(),
        )
        if instance_id is None:
            return self._submitter.open_mailbox().post("start", [item]).instances[0]
        return self.post_start(item)

    def post_start(self, item: MessageItem) -> str:
        """Start the instance that an item describes, and return its id. Raises Conflict if the item's `if_exists`
        doesn't allow that; the function isn't checked."""
        return start_with_id(self._reader, self._submitter.open_mailbox(), self._inbox, item)

    def start_many(
        self,
        orchestration_function_name: str | Callable[..., Any],
        inputs: Iterable[Any],
        version: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Start one instance per input, all or none; return their ids, `<batch>-<index>`. All have the same `tags`."""
        name, rules = self._resolve_function(orchestration_function_name)
        items = build_batch_items(name, list(inputs), check_version(version), check_tags(tags))
        if rules is not None:
            for item in items:
                rules.check(item.input)
        return self._submitter.post_starts(items).instances if items else []

    # ── send ───────────────────────────────────────────────────────────────────────────────────────────────────

    def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        """Send an external event; it is on disk on return. Raises NotFound, or WrongState for an ended instance."""
        if not event_name:
            raise ValueError("event_name must be a non-empty string.")
        name, data = check_name(event_name, "an event"), encode(event_data)
        if not self._event_targets.accepts_events(instance_id):
            position = self._event_targets.read_position(instance_id)
            current = self._reader.get_usable(instance_id)
            if will_have_ended(current):
                raise WrongState(f"{instance_id} {describe_status(current)}: it accepts no more events")
            self._event_targets.remember(instance_id, position)
        mailbox = self._submitter.open_mailbox()
        mailbox.post("raise-event", [MessageItem(instance_id, name, data, trace=read_current_trace())])
        if mailbox is self._inbox:
            self._event_targets.count_posted_event()

    def terminate(self, instance_id: str, reason: str = "", *, recursive: bool = True) -> None:
        """Terminate an instance, and its sub-orchestrations unless `recursive` is false."""
        self._submitter.submit("terminate", MessageItem(instance_id, reason=check_reason(reason), recursive=recursive))

    def suspend(self, instance_id: str, reason: str = "") -> None:
        """Pause an instance; arriving messages are kept until it is resumed."""
        self._submitter.submit("suspend", MessageItem(instance_id, reason=check_reason(reason)))

    def resume(self, instance_id: str, reason: str = "") -> None:
        """Resume a suspended instance."""
        self._submitter.submit("resume", MessageItem(instance_id, reason=check_reason(reason)))

    def purge_instance_history(self, instance_id: str, *, force: bool = False) -> PurgeHistoryResult:
        """Delete an ended instance and its ended children, with `force` also a live one; raises WrongState without."""
        try:
            self._submitter.submit("purge", MessageItem(instance_id, force=force))
        except NotFound:
            return PurgeHistoryResult(0)
        return PurgeHistoryResult(1)

    def purge_instance_history_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
    ) -> PurgeHistoryResult:
        """Delete the ended instances that match, and their ended children. Each limit in time is optional."""
        query = build_query(created_time_from, created_time_to, runtime_status or ENDED_STATUSES, None)
        results = self._submitter.submit_all("purge", [MessageItem(instance) for instance in self.iter_ids(query)])
        return PurgeHistoryResult(sum(error is None for error in results.values()))

    def control(self, kind: str, items: Sequence[MessageItem]) -> dict[str, DurableError | None]:
        """Terminate, suspend, resume, rewind or purge several instances, or delete or purge several entities.

        Return the error of each, or None if it is posted.
        """
        return self._submitter.submit_all(kind, items)

    def check_allowed(self, kind: str, item: MessageItem) -> DurableOrchestrationStatus:
        """Return the status of an instance that allows the verb; raises NotFound, WrongState or Conflict for others."""
        return self._submitter.check_allowed(kind, item)

    def check_entity_allowed(self, kind: str, item: MessageItem) -> EntityStatus:
        """Return the status of an entity that allows the verb; raises NotFound or WrongState for others."""
        return self._submitter.check_entity_allowed(kind, item)

    # ── entities: each is named by its EntityId, or as `@name@key` ─────────────────────────────────────────────

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803  Azure's name
        operation_name: str,
        operation_input: Any = None,
        *,
        at: datetime | timedelta | None = None,
        signal_time: datetime | timedelta | None = None,
    ) -> None:
        """Send an operation without waiting for its result; it is on disk on return. A new entity starts with it.

        It doesn't run before `at`, a time or a delay; `signal_time` is another name for `at`. Raises NotFound if a
        running engine doesn't know the entity function, or knows that it has no such operation.
        """
        entity = to_entity_id(entityId)
        operation = check_operation_name(operation_name)
        scheduled = _resolve_scheduled_time(at, signal_time, self._now)
        published = self._get_running_engine_functions()
        if published is not None and not published.has_entity(entity.name):
            raise published.unknown_entity_error(entity.name)
        if published is not None and (refusal := published.unknown_operation_error(entity.name, operation)):
            raise refusal
        trace = read_current_trace()
        item = MessageItem(str(entity), operation, encode(operation_input), start_at=scheduled, trace=trace)
        self._submitter.open_mailbox().post("signal", [item])

    def signal_schedule(self, name: str, operation: str) -> None:
        """Send an operation to a schedule, such as `pause`; it is on disk on return."""
        self._submitter.open_mailbox().post("signal", [MessageItem(make_schedule_id(name), operation)])

    def delete_entity(self, entity_id: EntityId | str, force: bool = False) -> None:
        """Delete the state of an entity once the operations sent before are done. Raises WrongState if it is Empty.

        `force` drops those operations, even a running one; their callers get a failure. A lock stays with its holder.
        """
        self._submitter.submit("delete", MessageItem(str(to_entity_id(entity_id)), force=force))

    def purge_entities(self, entity_ids: Iterable[EntityId | str] | None = None) -> PurgeHistoryResult:
        """Delete the logs of these entities; without ids, of all that are Empty, unlocked and have nothing queued.

        Raises WrongState if one of the ids is in use, and then deletes none. Unknown ids are ignored.
        """
        if entity_ids is None:
            empty = self.iter_entity_ids(Query(status=("Empty",)))
            results = self._submitter.submit_all("purge", [MessageItem(entity) for entity in empty])
            return PurgeHistoryResult(sum(error is None for error in results.values()))
        unique = dict.fromkeys(str(to_entity_id(entity)) for entity in entity_ids)
        items = [MessageItem(entity) for entity in unique if self._entity_reader.read_status(entity)]
        for item in items:
            self.check_entity_allowed("purge", item)
        results = self._submitter.submit_all("purge", items)
        if error := next(filter(None, results.values()), None):
            raise error
        return PurgeHistoryResult(len(results))

    # ── the files themselves ───────────────────────────────────────────────────────────────────────────────────

    def check(self) -> CheckReport:
        """Check the files of the hub: findings are problems, notes are what the next engine repairs by itself."""
        from durablecli.store.check import checker

        return checker.check_hub(self.root, self._disk)

    def repair(self) -> CheckReport:
        """Repair what can be repaired; the findings list what is still wrong. Raises HubLocked if an engine runs."""
        from durablecli.store.check import repair

        return repair.repair_hub(self.root, self._disk)

    def _resolve_function_name(self, function: str | Callable[..., Any]) -> str:
        return self._resolve_function(function)[0]

    def _resolve_function(self, function: str | Callable[..., Any]) -> tuple[str, InputRules | None]:
        """Return the name of an orchestrator, and what is known of its input."""
        name = function_name(function, "orchestrator")
        published = self._get_running_engine_functions()
        if published is not None and not published.has_orchestrator(name):
            raise published.unknown_orchestrator_error(name)
        if not self._checks_names:
            return name, None
        if not isinstance(function, str):
            from durablecli.registry import find_input_rules  # no verb of the command line gives a function

            return name, find_input_rules(function) if isinstance(function, Hashable) else None
        return name, None if published is None else published.input_rules(name)


def _to_utc(time: datetime | None) -> datetime | None:
    return None if time is None else check_time(time, "a time")


def _resolve_scheduled_time(at: object, signal_time: object, now: Callable[[], datetime]) -> datetime | None:
    if at is not None and signal_time is not None:
        raise UsageError("at and signal_time are the same: give only one of them")
    given = signal_time if at is None else at
    parameter = "signal_time" if at is None else "at"
    return None if given is None else check_due_time(given, parameter, now())
