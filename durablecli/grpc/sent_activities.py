"""The activities that workers have, by the id that they were sent with: for answers without a completion token."""

from __future__ import annotations

from collections import OrderedDict

from durablecli.replay.remote_work import ActivityKey

_MAX_ENTRIES = 100_000


class SentActivities:
    """The last activities that were sent. Of several with the same id, the last one counts."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, int], ActivityKey] = OrderedDict()

    def add(self, key: ActivityKey, task: int) -> None:
        """Note an activity that is sent with this id."""
        self._keys[key.instance, task] = key
        self._keys.move_to_end((key.instance, task))
        if len(self._keys) > _MAX_ENTRIES:
            self._keys.popitem(last=False)

    def find(self, instance: str, task: int) -> ActivityKey | None:
        """Return the activity of an instance that was sent with this id."""
        return self._keys.get((instance, task))

    def discard(self, instance: str, task: int) -> None:
        """Forget an activity that is answered."""
        self._keys.pop((instance, task), None)
