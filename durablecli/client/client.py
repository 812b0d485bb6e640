"""The client: starts, asks, sends and ends orchestrations, and signals entities, from any Python program.

It reads the files of the hub and posts messages; whether an engine runs makes no difference to what is on disk. The
names are those of Durable Functions' client. Times are UTC; a naive one is read as UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import msgspec

from durablecli.client.entity_reader import EntityReader
from durablecli.client.entity_status import EntityStateResponse, EntityStatus
from durablecli.client.event_target_cache import EventTargetCache
from durablecli.client.follow import HistoryFollower, HistoryLine, Poller, follow_history
from durablecli.client.orchestration_status import (
    DurableOrchestrationStatus,
    EngineStatus,
    PurgeHistoryResult,
    QuarantineInfo,
)
from durablecli.client.published_functions import PublishedFunctions
from durablecli.client.running_work import RunningEntityBatch
from durablecli.client.start import IF_EXISTS_POLICIES, build_batch_items, start_with_id
from durablecli.client.status_reader import StatusReader
from durablecli.client.transitions import describe_status, status_name, why_not_allowed, will_have_ended
from durablecli.errors import Conflict, DurableError, InstanceSetAside, NotFound, TimedOut, UsageError, WrongState
from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model.entity_id import EntityId, is_entity_id, to_entity_id
from durablecli.model.events import Record
from durablecli.model.history_projection import project_history
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import encode
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus, PendingWait
from durablecli.model.validation import (
    check_due_time,
    check_name,
    check_operation_name,
    check_reason,
    check_time,
    check_version,
)
from durablecli.project import make_absolute
from durablecli.replay.function_marks import function_name
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store import layout
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.end_detector import EndDetector
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Mailbox, MessageItem, PublicationStatus
from durablecli.store.query import Page, Query

if TYPE_CHECKING:  # only whoever asks the doctor pays for him
    from durablecli.store.check.checker import CheckReport


class Client:
    """The client of one hub. Every method may be called with no engine running; `wait` then waits for one."""

    def __init__(
        self,
        state_dir: str | PathLike[str] = ".state",
        mailbox: Mailbox | None = None,
        disk: Disk | None = None,
        *,
        on_create: Callable[[str], None] = lambda root: None,
        check_names: bool = True,
    ) -> None:
        """`on_create` is called with the path of the hub when posting has created it. With `check_names` false,
        functions and operations that a running engine doesn't know are accepted too."""
        self.root = fspath(state_dir) if disk is not None else make_absolute(state_dir)
        self._disk: Disk = disk or LocalDisk()
        self._reader = StatusReader(
            self.root, self._disk, mailbox.is_published if isinstance(mailbox, PublicationStatus) else None
        )
        self._entity_reader = EntityReader(self._reader)
        self._inbox = Inbox(self._disk, self.root)
        self._direct_mailbox = mailbox
        self._on_create = on_create
        self._checks_names = check_names
        self._event_targets = EventTargetCache(EndDetector(self._disk, self.root, self._inbox))

    @property
    def mailbox(self) -> Mailbox | None:
        """The engine of this very process, if it posts straight to one; else it posts to the inbox."""
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
    ) -> str:
        """Start an orchestration and return its instance id; the start is on disk then.

        `if_exists` says what happens to an instance that has the id already: `fail_if_running` replaces an ended
        one and raises Conflict for any other, `fail` raises Conflict for both, `skip` leaves it and returns the id,
        `replace` ends it. Raises NotFound if an engine runs that doesn't know the function.
        """
        if if_exists not in IF_EXISTS_POLICIES:
            raise UsageError(f"if_exists is one of {', '.join(IF_EXISTS_POLICIES)}, not {if_exists!r}")
        name = self._resolve_function_name(orchestration_function_name)
        instance = new_id() if instance_id is None else check_instance_id(instance_id)
        item = MessageItem(instance, name, encode(client_input), check_version(version), _to_utc(start_at), if_exists)
        if instance_id is None:
            return self._open_mailbox().post("start", [item]).instances[0]
        return start_with_id(self._reader, self._open_mailbox(), self._inbox, item)

    def start_many(
        self,
        orchestration_function_name: str | Callable[..., Any],
        inputs: Iterable[Any],
        version: str | None = None,
    ) -> list[str]:
        """Start one instance per input, all or none of them; the ids are `<batch>-<index>`."""
        items = build_batch_items(
            self._resolve_function_name(orchestration_function_name), list(inputs), check_version(version)
        )
        return self._open_mailbox().post("start", items).instances if items else []

    def restart(self, instance_id: str, restart_with_new_instance_id: bool = True) -> str:
        """Start an instance once more with its name, input and version; returns the id it runs under.

        Under its own id an instance is only restarted when it has ended: WrongState.
        """
        current = self._get_usable(instance_id)
        version = current.version
        if restart_with_new_instance_id:
            item = MessageItem(new_id(), current.name, encode(current.raw_input), version)
            return self._open_mailbox().post("start", [item]).instances[0]
        if not will_have_ended(current) and "rewind" not in current.requested:
            raise WrongState(
                f"{instance_id} is {status_name(current)}: terminate it first, or restart it under a new id"
            )
        item = MessageItem(instance_id, current.name, encode(current.raw_input), version, restarts=True)
        return start_with_id(self._reader, self._open_mailbox(), self._inbox, item)

    def engine(self) -> EngineStatus:
        """The engine that runs, or what is known of the last one."""
        return self._reader.read_engine_status()

    def published(self) -> PublishedFunctions | None:
        """The functions that the last engine had loaded; None if no engine ever ran here."""
        return self._reader.read_published()

    # ── ask ────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_status(
        self,
        instance_id: str,
        show_history: bool = False,
        show_history_output: bool = False,
        show_input: bool = True,
    ) -> DurableOrchestrationStatus:
        """How an instance stands; falsy if there is none. `show_input=False` leaves the input out."""
        return self._reader.read_status(
            instance_id, history=show_history, history_output=show_history_output, show_input=show_input
        )

    def get_status_all(self) -> list[DurableOrchestrationStatus]:
        """The status of every instance, the oldest first."""
        return self.get_status_by()

    def get_status_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        instance_id_prefix: str | None = None,
    ) -> list[DurableOrchestrationStatus]:
        """The status of every instance that fits, the oldest first."""
        query = _build_query(created_time_from, created_time_to, runtime_status, instance_id_prefix)
        return [status for status in self._reader.read_statuses(self.iter_ids(query)) if status]

    def statuses(self, instance_ids: Iterable[str]) -> Iterator[DurableOrchestrationStatus]:
        """The status of each of these instances, with one look at the journal for all of them."""
        return self._reader.read_statuses(instance_ids)

    def page(self, query: Query) -> Page:
        """One page of instances, as rows without payloads."""
        return self._reader.read_page(query)

    def count(self, query: Query) -> int:
        """How many instances fit."""
        return self._reader.count(query)

    def iter_ids(self, query: Query) -> Iterator[str]:
        """The ids of all instances that fit, page after page."""
        return (row.id for row in self._reader.iter_rows(query))

    def get_history(self, instance_id: str) -> list[Record]:
        """The records of the last execution; raises NotFound."""
        return [line.record for line in self.get_lines(instance_id)]

    def project_history(self, instance_id: str) -> list[dict[str, Any]]:
        """The history as the HTTP API shows it, with inputs and results; raises NotFound."""
        return project_history(self.get_history(instance_id), results=True, inputs=True)

    def get_lines(self, instance_id: str) -> list[HistoryLine]:
        """The records with their lines as they stand in the file; raises NotFound."""
        self._get_usable(instance_id)
        return self.follower(instance_id).new_lines()

    def follower(self, instance_id: str) -> HistoryFollower:
        """The history as it grows, for whoever looks at it now and then."""
        return HistoryFollower(self._reader, instance_id)

    def wait(self, instance_id: str, timeout: timedelta | float | None = None) -> DurableOrchestrationStatus:
        """The status once the instance has ended; raises NotFound, and TimedOut after `timeout` (seconds)."""
        pace = Poller(timeout if isinstance(timeout, timedelta | None) else timedelta(seconds=timeout))
        while True:
            stamp = self._reader.change_token(instance_id)
            current = self._get_usable(instance_id)
            if current.ended:
                return current
            if pace.is_expired():
                raise TimedOut(f"{instance_id} is still {status_name(current)}; it goes on, and so does `durable wait`")
            pace.wait_for_change(lambda: self._reader.change_token(instance_id), stamp)

    def has_ended(self, instance_id: str) -> bool:
        """Whether the instance has ended and nothing that was posted starts or rewinds it, or there is none."""
        current = self._reader.read_status(instance_id, show_input=False)
        return not current or current.ended

    def follow(self, instance_id: str) -> Iterator[HistoryLine]:
        """Every record as it is written, until the instance has ended; raises NotFound at the first step."""
        return follow_history(self._reader, instance_id, lambda: self._get_usable(instance_id).ended)

    # ── send ───────────────────────────────────────────────────────────────────────────────────────────────────

    def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        """Send an external event; it is on disk then. NotFound for an unknown instance, WrongState for an ended one."""
        if not event_name:
            raise ValueError("event_name must be a non-empty string.")
        name, data = check_name(event_name, "an event"), encode(event_data)
        if not self._event_targets.accepts_events(instance_id):
            mark = self._event_targets.read_position(instance_id)
            current = self._get_usable(instance_id)
            if will_have_ended(current):
                raise WrongState(f"{instance_id} {describe_status(current)}: it takes no events any more")
            self._event_targets.remember(instance_id, mark)
        mailbox = self._open_mailbox()
        mailbox.post("raise-event", [MessageItem(instance_id, name, data)])
        if mailbox is self._inbox:
            self._event_targets.count_posted_event()

    def terminate(self, instance_id: str, reason: str = "", *, recursive: bool = True) -> None:
        """End an instance, and its sub-orchestrations unless `recursive` is false."""
        self._submit_one("terminate", MessageItem(instance_id, reason=check_reason(reason), recursive=recursive))

    def suspend(self, instance_id: str, reason: str = "") -> None:
        """Hold an instance: what arrives is kept until it is resumed."""
        self._submit_one("suspend", MessageItem(instance_id, reason=check_reason(reason)))

    def resume(self, instance_id: str, reason: str = "") -> None:
        """Let a suspended instance go on."""
        self._submit_one("resume", MessageItem(instance_id, reason=check_reason(reason)))

    def rewind(self, instance_id: str, reason: str = "") -> None:
        """Send again what made an instance fail; all that went well is kept. WrongState unless it has failed."""
        self._submit_one("rewind", MessageItem(instance_id, reason=check_reason(reason)))

    def rewind_preview(self, instance_id: str) -> list[str]:
        """What a rewind would send again, a line each."""
        self.check_allowed("rewind", MessageItem(instance_id))
        return self._reader.preview_rewind(instance_id)

    def purge_instance_history(self, instance_id: str, *, force: bool = False) -> PurgeHistoryResult:
        """Delete an ended instance and its ended children; a live one only with `force`, else WrongState."""
        try:
            self._submit_one("purge", MessageItem(instance_id, force=force))
        except NotFound:
            return PurgeHistoryResult(0)
        return PurgeHistoryResult(1)

    def purge_instance_history_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
    ) -> PurgeHistoryResult:
        """Delete the ended instances that fit, and their ended children; without a time it is open on that side."""
        query = _build_query(created_time_from, created_time_to, runtime_status or ENDED_STATUSES, None)
        results = self.control("purge", [MessageItem(instance) for instance in self.iter_ids(query)])
        return PurgeHistoryResult(sum(error is None for error in results.values()))

    def control(self, kind: str, items: Sequence[MessageItem]) -> dict[str, DurableError | None]:
        """Terminate, suspend, resume, rewind or purge several, or delete or purge entities: for each its error, or None
        if it is posted."""
        results: dict[str, DurableError | None] = {}
        good: list[MessageItem] = []
        for item in items:
            try:
                if is_entity_id(item.instance):
                    self.check_entity_allowed(kind, item)
                else:
                    self.check_allowed(kind, item)
                good.append(item)
                results[item.instance] = None
            except DurableError as error:
                results[item.instance] = error
        for at in range(0, len(good), MAX_ITEMS_PER_MESSAGE):
            self._open_mailbox().post(kind, good[at : at + MAX_ITEMS_PER_MESSAGE])
        return results

    def check_allowed(self, kind: str, item: MessageItem) -> DurableOrchestrationStatus:
        """How an instance stands that such a verb may touch; raises NotFound, WrongState or Conflict for any other."""
        current = self._get_existing(item.instance)
        if current.set_aside is not None and not (kind == "purge" and item.force):
            hint = "; `durable purge --force` deletes it" if kind == "purge" else ""
            raise _set_aside_error(item.instance, current.set_aside, hint)
        if current.set_aside is not None:
            return current
        if refusal := why_not_allowed(kind, current, item):
            if kind in ("rewind", "purge") and not current.taken and self._reader.will_be_replaced(item.instance):
                raise Conflict(f"{item.instance} is just being started anew; try again")
            if kind == "purge" and "rewind" in current.requested:
                raise Conflict(f"{item.instance} is just being rewound; let it end, or use --force")
            raise WrongState(f"{item.instance} {describe_status(current)}: {refusal}")
        held = self._inbox.get_reservation(item.instance) if kind in ("rewind", "purge") and current.ended else None
        if held is not None and held.is_binding and not self._reader.is_consumed(held.message):
            raise Conflict(f"{item.instance} is just being started anew; try again")
        if kind == "rewind":
            self._reader.preview_rewind(item.instance)  # for what it refuses
        return current

    def check_entity_allowed(self, kind: str, item: MessageItem) -> EntityStatus:
        """How an entity stands that a delete or a purge may touch; raises NotFound or WrongState for any other."""
        if kind not in ("delete", "purge"):
            raise _not_an_instance_error(item.instance)
        return self._entity_reader.check_allowed(kind, item.instance, force=item.force)

    def is_requested(self, instance_id: str, kind: str) -> bool:
        """Whether a verb for this instance is on disk and no engine has taken it yet."""
        return self._reader.is_requested(instance_id, kind)

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
        """Send an operation that nobody waits for; it is on disk then. An entity that isn't there yet begins with it.

        It is run not before `at`, or a while from now; `signal_time` is another name for the same. Raises NotFound if
        an engine runs that doesn't know the function, or knows that its class has no such operation.
        """
        entity = to_entity_id(entityId)
        operation = check_operation_name(operation_name)
        scheduled = _resolve_scheduled_time(at, signal_time)
        published = self._get_running_engine_functions()
        if published is not None and not published.has_entity(entity.name):
            raise published.unknown_entity_error(entity.name)
        if published is not None and (refusal := published.unknown_operation_error(entity.name, operation)):
            raise refusal
        item = MessageItem(str(entity), operation, encode(operation_input), start_at=scheduled)
        self._open_mailbox().post("signal", [item])

    def read_entity_state(self, entityId: EntityId | str) -> EntityStateResponse:  # noqa: N803  Azure's name
        """Whether an entity has a state, and which."""
        return self._entity_reader.read_state(entityId)

    def entity(self, entity_id: EntityId | str) -> EntityStatus:
        """How an entity stands: its state, its lock, and what waits; falsy if nothing was ever sent to it."""
        return self._entity_reader.read_status(entity_id)

    def list_entities(self, query: Query | None = None) -> Page:
        """One page of entities, as rows without their states; a status is Exists or Empty."""
        return self._reader.read_page(_entity_query(query))

    def running_batches(self) -> Mapping[str, RunningEntityBatch]:
        """The operations that run just now, by the ids of their entities, as the engine says if one is alive."""
        return self._reader.read_running_batches(self.engine())

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """What an instance of this ledger waits for, with what stands in its way at entities."""
        return self._reader.explain_waits(state, waits)

    def count_entities(self, query: Query | None = None) -> int:
        """How many entities fit."""
        return self._reader.count(_entity_query(query))

    def iter_entity_ids(self, query: Query | None = None) -> Iterator[str]:
        """The ids of all entities that fit, page after page."""
        return (row.id for row in self._reader.iter_rows(_entity_query(query)))

    def get_entity_history(self, entity_id: EntityId | str) -> list[Record]:
        """The records of its log, as far as they are kept; raises NotFound."""
        return [line.record for line in self.get_entity_lines(entity_id)]

    def get_entity_lines(self, entity_id: EntityId | str) -> list[HistoryLine]:
        """The records with their lines as they stand in the file; raises NotFound."""
        return self.follower(str(self._entity_reader.get_existing(entity_id).entity_id)).new_lines()

    def follow_entity(self, entity_id: EntityId | str) -> Iterator[HistoryLine]:
        """Every record as it is written, for as long as somebody asks; raises NotFound, also when it was purged."""
        entity = to_entity_id(entity_id)
        return follow_history(self._reader, str(entity), lambda: not self._entity_reader.get_existing(entity))

    def delete_entity(self, entity_id: EntityId | str, force: bool = False) -> None:
        """Take an entity's state away, once what was sent before is done. WrongState if it is Empty.

        With `force` that is dropped, also an operation that runs; callers get a failure. A lock is left to its holder.
        """
        self._submit_one("delete", MessageItem(str(to_entity_id(entity_id)), force=force))

    def purge_entities(self, entity_ids: Iterable[EntityId | str] | None = None) -> PurgeHistoryResult:
        """Delete the logs of these entities, or of all that may go: that are Empty, unlocked, and have nothing waiting.

        For one of these that is in use WrongState is raised, and none is touched. Unknown ones don't count.
        """
        if entity_ids is None:
            results = self.control(
                "purge", [MessageItem(one) for one in self.iter_entity_ids(Query(status=("Empty",)))]
            )
            return PurgeHistoryResult(sum(error is None for error in results.values()))
        named = dict.fromkeys(str(to_entity_id(one)) for one in entity_ids)
        items = [MessageItem(one) for one in named if self._entity_reader.read_status(one)]
        for item in items:
            self.check_entity_allowed("purge", item)
        results = self.control("purge", items)
        if error := next(filter(None, results.values()), None):
            raise error
        return PurgeHistoryResult(len(results))

    # ── the files themselves ───────────────────────────────────────────────────────────────────────────────────

    def check(self) -> CheckReport:
        """What is wrong with the hub's files (findings), and what opening it mends by itself (notes)."""
        from durablecli.store.check import checker  # few ask, and all others would pay for it

        return checker.check_hub(self.root, self._disk)

    def repair(self) -> CheckReport:
        """Mend what can be mended; what is still wrong stands in the findings. Raises HubLocked beside an engine."""
        from durablecli.store.check import repair

        return repair.repair_hub(self.root, self._disk)

    # ── inside ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_mailbox(self) -> Mailbox:
        """Where to post. The hub is made if it is missing, and refused if it isn't ours."""
        if self._direct_mailbox is not None:
            return self._direct_mailbox
        try:
            layout.check_permissions(self._disk, self.root)
            if layout.create_layout_if_missing(self._disk, self.root):
                self._on_create(self.root)
        except OSError as error:
            raise layout.to_storage_error(self.root, error) from error
        self._reader.check_writable()
        return self._inbox

    def _submit_one(self, kind: str, item: MessageItem) -> None:
        error = self.control(kind, [item])[item.instance]
        if error is not None:
            raise error

    def _get_usable(self, instance_id: str) -> DurableOrchestrationStatus:
        """The status of an instance that can be used; raises NotFound or InstanceSetAside."""
        current = self._get_existing(instance_id)
        if current.set_aside is not None:
            raise _set_aside_error(instance_id, current.set_aside)
        return current

    def _get_existing(self, instance_id: str) -> DurableOrchestrationStatus:
        if is_entity_id(instance_id):
            raise _not_an_instance_error(instance_id)
        current = self._reader.read_status(instance_id)
        if not current:
            raise NotFound(f"no instance '{instance_id}' in {self.root}")
        return current

    def _get_running_engine_functions(self) -> PublishedFunctions | None:
        """What a running engine has published, which decides what may be started or sent."""
        return self._reader.read_published() if self._checks_names and self._reader.read_engine_status().alive else None

    def _resolve_function_name(self, function: str | Callable[..., Any]) -> str:
        name = function_name(function, "orchestrator")
        published = self._get_running_engine_functions()
        if published is not None and not published.has_orchestrator(name):
            raise published.unknown_orchestrator_error(name)
        return name


def _set_aside_error(instance: str, found: QuarantineInfo, hint: str = "") -> InstanceSetAside:
    return InstanceSetAside(f"{instance} is set aside: {found.reason}{hint}")


def _not_an_instance_error(entity: str) -> UsageError:
    return UsageError(f"{entity} is an entity: it can be signaled, deleted and purged, and has a status of its own")


def _entity_query(query: Query | None) -> Query:
    return msgspec.structs.replace(query or Query(), entities=True)


def _to_utc(time: datetime | None) -> datetime | None:
    return None if time is None else check_time(time, "a time")


def _resolve_scheduled_time(at: object, signal_time: object) -> datetime | None:
    if at is not None and signal_time is not None:
        raise UsageError("at and signal_time say the same thing: give one of them")
    given = signal_time if at is None else at
    parameter = "signal_time" if at is None else "at"
    return None if given is None else check_due_time(given, parameter, datetime.now(UTC))


def _build_query(
    created_from: datetime | None,
    created_to: datetime | None,
    statuses: Iterable[OrchestrationRuntimeStatus | str] | None,
    prefix: str | None,
) -> Query:
    words = tuple(one.value if isinstance(one, OrchestrationRuntimeStatus) else one for one in statuses or ())
    return Query(None, words, prefix or "", _to_utc(created_from), _to_utc(created_to), reverse=True)
