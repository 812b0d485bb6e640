"""Brings the schedules of a hub in line with what the app declares, when an engine starts or has loaded code again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from durablecli.builtin.schedule_entity import LOAD, PAUSE, RESUME, UNLOAD
from durablecli.model.payloads import encode
from durablecli.model.schedule_options import RUN_ENDED, make_schedule_id
from durablecli.scheduling.schedule_state import ScheduleSpec, ScheduleState
from durablecli.store.hub import Hub, use_index
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.messages import Mailbox, MessageItem
from durablecli.store.query import Query

if TYPE_CHECKING:  # slow to import, and needed for apps with schedules only
    from durablecli.apps.declared_schedules import ScheduleDeclarations
    from durablecli.client import Client

ALL_SCHEDULES = Query(entities=True, prefix=make_schedule_id(""))


def may_have_schedules(hub: Hub) -> bool:
    """Whether the hub may have the state of a schedule that an app declared before."""
    if use_index(hub, lambda index: index.count(ALL_SCHEDULES)):
        return True
    targets = InboxReader(hub.disk, hub.root).read_listing().targets
    return bool(targets)


def ensure_schedules(
    declarations: ScheduleDeclarations, client: Client, mailbox: Mailbox, *, is_complete: bool
) -> None:
    """Send each schedule what the app declares, if that has changed, and stop those that it no longer declares.

    Unless the app was loaded completely (`is_complete`), those that it doesn't declare are left as they are.
    """
    states = read_states(client)
    items: list[MessageItem] = []
    for spec in declarations.specs:
        items += _update(spec, states.get(spec.name, ScheduleState()), client)
    for name, state in states.items():
        if state.loaded and name not in declarations.schedules and (is_complete or name in declarations.broken):
            items.append(MessageItem(make_schedule_id(name), UNLOAD))
    for item in items:
        mailbox.post("signal", [item])


def list_schedule_names(client: Client) -> list[str]:
    """The names of the schedules that the hub knows."""
    prefix = make_schedule_id("")
    return [id.removeprefix(prefix) for id in client.iter_entity_ids(ALL_SCHEDULES)]


def read_states(client: Client) -> dict[str, ScheduleState]:
    """The states of all schedules of a hub, by name."""
    found = {name: read_state(client, name) for name in list_schedule_names(client)}
    return {name: state for name, state in found.items() if state is not None}


def read_state(client: Client, schedule: str) -> ScheduleState | None:
    """The state of a schedule, as it will be after the pauses that wait for an engine; None if there is none."""
    status = client.entity(make_schedule_id(schedule))
    if not status:
        return None
    state = msgspec.convert(status.state, ScheduleState) if status.exists else ScheduleState()
    for name in [*(each.name for each in status.queued), *(each.name for each in status.requested)]:
        if name in (PAUSE, RESUME):
            state = msgspec.structs.replace(state, paused=name == PAUSE)
    return state


def _update(spec: ScheduleSpec, state: ScheduleState, client: Client) -> list[MessageItem]:
    id = make_schedule_id(spec.name)
    items = [] if state.loaded and state.spec == spec else [MessageItem(id, LOAD, encode(spec))]
    gone = [run for run in state.running if (status := client.get_status(run)).ended or not status]
    return items + [MessageItem(id, RUN_ENDED, encode(run)) for run in gone]
