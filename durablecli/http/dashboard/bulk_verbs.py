"""The verbs that apply to many instances at once: to which statuses, and what each does, in words."""

from __future__ import annotations

from typing import NamedTuple

from durablecli.client import MessageItem
from durablecli.model.status import ENDED_STATUSES


class BulkVerb(NamedTuple):
    """A verb. `effect` follows the words: each of them; `why_not` why others are left alone."""

    kind: str
    label: str
    done: str
    statuses: tuple[str, ...]
    effect: str
    why_not: str
    takes_reason: bool = True
    is_destructive: bool = False

    def make_item(self, instance: str, reason: str) -> MessageItem:
        """The message for one instance."""
        return MessageItem(instance, reason=reason if self.takes_reason else "", recursive=True)


VERBS = {
    verb.kind: verb
    for verb in (
        BulkVerb(
            "suspend",
            "Suspend",
            "suspended",
            ("Pending", "Running"),
            "pauses: what arrives for it is kept until it is resumed. Activities that run already finish.",
            "isn't running",
        ),
        BulkVerb("resume", "Resume", "resumed", ("Suspended",), "continues where it paused.", "isn't suspended"),
        BulkVerb(
            "rewind",
            "Rewind",
            "rewound",
            ("Failed",),
            "does its failed work again, with the code as it is now. Completed results are kept.",
            "hasn't failed",
        ),
        BulkVerb(
            "terminate",
            "Terminate",
            "terminated",
            ("Pending", "Running", "Suspended"),
            "ends at once, and so do its sub-orchestrations. Only a restart runs it again, from the beginning.",
            "has ended already",
            is_destructive=True,
        ),
        BulkVerb(
            "purge",
            "Purge",
            "purged",
            tuple(sorted(ENDED_STATUSES)),
            "is deleted for good, with its history and its ended sub-orchestrations.",
            "hasn't ended",
            takes_reason=False,
            is_destructive=True,
        ),
    )
}
