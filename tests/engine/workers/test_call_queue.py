"""The queue of a pool: by priority, in order within one, and nothing lost or doubled among threads."""

from __future__ import annotations

from threading import Thread
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durablecli.engine.workers.call_queue import CallQueue


class Item(NamedTuple):
    priority: int
    number: int


@given(st.lists(st.integers(-2, 2)))
def test_the_highest_priority_goes_first_and_within_one_the_oldest(priorities: list[int]) -> None:
    queue: CallQueue[Item] = CallQueue()
    items = [Item(priority, number) for number, priority in enumerate(priorities)]
    queue.extend(items)
    expected = sorted(items, key=lambda item: (-item.priority, item.number))
    assert (len(queue), [*queue]) == (len(items), expected)
    assert [queue.popleft() for _ in items] == expected
    with pytest.raises(IndexError):
        queue.popleft()


def test_threads_take_each_call_once() -> None:
    queue: CallQueue[Item] = CallQueue()
    taken: list[Item] = []

    def take() -> None:
        while len(taken) < 3_000:
            try:
                taken.append(queue.popleft())
            except IndexError:
                continue

    threads = [Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(3_000):
        queue.append(Item(number % 3 - 1, number))
    for thread in threads:
        thread.join(20)
    assert sorted(item.number for item in taken) == [*range(3_000)]
