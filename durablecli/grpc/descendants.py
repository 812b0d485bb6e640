"""The sub-orchestrations below an instance, which a recursive purge deletes with it."""

from __future__ import annotations

from durablecli.client import Client
from durablecli.replay.pending import created_children


def find_ended_descendants(client: Client, instance: str) -> set[str]:
    """Return the ids of the ended sub-orchestrations below an instance; those below a live one aren't among them."""
    found = {instance}
    parents = [instance]
    while parents:
        origins = {child: state.instance for state in client.states(parents) for child in created_children(state)}
        children = client.states(id for id in origins if id not in found)
        parents = [
            child.instance
            for child in children
            if child.ended and child.started.parent and child.started.parent.instance == origins[child.instance]
        ]
        found.update(parents)
    return found - {instance}
