"""The part of the client that runs work again: restart, rewind and fork."""

from __future__ import annotations

from typing import Any

from durablecli.client.entity_reader import EntityReader
from durablecli.client.fork_preview import ForkPreview, describe_fork
from durablecli.client.published_functions import PublishedFunctions
from durablecli.client.queries import HubQueries
from durablecli.client.start import start_with_id
from durablecli.client.status_builder import parse_records
from durablecli.client.status_reader import StatusReader
from durablecli.client.submission import Submitter
from durablecli.client.transitions import will_have_ended
from durablecli.errors import WrongState
from durablecli.model.events import Origin
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import encode
from durablecli.model.validation import check_reason
from durablecli.replay.rewind import RewindScope
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem

SAME_INPUT: Any = object()
"""Stands for the input of the instance that is restarted."""


class RerunVerbs(HubQueries):
    """Reads one hub, and runs work of its instances again. The hub is written through `submitter` and `inbox`."""

    def __init__(
        self, reader: StatusReader, entity_reader: EntityReader, submitter: Submitter, inbox: Inbox, checks_names: bool
    ) -> None:
        super().__init__(reader, entity_reader)
        self._submitter = submitter
        self._inbox = inbox
        self._checks_names = checks_names

    def _get_running_engine_functions(self) -> PublishedFunctions | None:
        """Return the functions of the running engine; None if none runs or names aren't to be checked."""
        return self._reader.read_published() if self._checks_names and self._reader.read_engine_status().alive else None

    def restart(
        self, instance_id: str, restart_with_new_instance_id: bool = True, *, client_input: Any = SAME_INPUT
    ) -> str:
        """Start an instance again with the same name, version and tags; return the id of the new run.

        It gets the same input, unless `client_input` is given. With `restart_with_new_instance_id=False` it keeps its
        id; raises WrongState unless it has ended. Raises InvalidInput for another input if the running engine says that
        the orchestrator can't take it.
        """
        current = self._reader.get_usable(instance_id)
        version, tags = current.version, current.tags
        value = encode(current.raw_input if client_input is SAME_INPUT else client_input)
        published = None if client_input is SAME_INPUT else self._get_running_engine_functions()
        if published is not None and (rules := published.input_rules(current.name or "")) is not None:
            rules.check(value)
        if restart_with_new_instance_id:
            item = MessageItem(new_id(), current.name, value, version, tags=tags)
            return self._submitter.open_mailbox().post("start", [item]).instances[0]
        if not will_have_ended(current) and "rewind" not in current.requested:
            raise WrongState(
                f"{instance_id} is {current.status_name}: terminate it first, or restart it under a new id"
            )
        item = MessageItem(instance_id, current.name, value, version, restarts=True, tags=tags)
        return start_with_id(self._reader, self._submitter.open_mailbox(), self._inbox, item)

    def rewind(self, instance_id: str, reason: str = "", *, to: int = 0, failed_activities: bool = False) -> None:
        """Retry the failed work of an instance, keeping completed results. Raises WrongState unless it has failed.

        `to` undoes everything from that record on instead. `failed_activities` retries all calls that have failed, also
        those whose failures the orchestrator has caught.
        """
        item = MessageItem(instance_id, reason=check_reason(reason), to=to, failed_calls=failed_activities)
        self._submitter.submit("rewind", item)

    def rewind_preview(self, instance_id: str, *, to: int = 0, failed_activities: bool = False) -> list[str]:
        """Describe the work that a rewind would retry, one line each."""
        self._submitter.check_allowed("rewind", MessageItem(instance_id, to=to, failed_calls=failed_activities))
        return self._reader.preview_rewind(instance_id, RewindScope(to, failed_activities))

    def fork(self, instance_id: str, before: int, new_instance_id: str | None = None) -> str:
        """Start a new instance with the records of another one before record `before`; return its id.

        It continues from there: what was open at that record runs again. The original isn't changed. Raises NotFound;
        WrongState if there is no such record, or if the instance held locks there; Conflict if the new id exists.
        """
        current = self._reader.get_usable(instance_id)
        execution = self._preview_fork(instance_id, before).execution
        target = new_id() if new_instance_id is None else check_instance_id(new_instance_id)
        item = MessageItem(
            target,
            current.name,
            encode(current.raw_input),
            current.version,
            if_exists="fail",
            tags=current.tags,
            fork_of=Origin(instance_id, execution, before),
        )
        return start_with_id(self._reader, self._submitter.open_mailbox(), self._inbox, item)

    def fork_preview(self, instance_id: str, before: int) -> list[str]:
        """Describe the work that a fork would run again, one line each. Raises as `fork` does."""
        self._reader.get_usable(instance_id)
        return self._preview_fork(instance_id, before).lines

    def _preview_fork(self, instance: str, before: int) -> ForkPreview:
        found = self._reader.read_lines(instance)
        if found is None or not found.lines:
            raise WrongState(f"{instance} is Pending: it has no records to fork")
        return describe_fork(found.execution, parse_records(found), before)
