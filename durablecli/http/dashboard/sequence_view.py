"""The layout of the sequence diagram: columns, arrows, notes and loops with their coordinates in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from durablecli.client.sequence import MessageSequence, SequenceGap, SequenceLoop, SequenceMessage
from durablecli.durations import format_length
from durablecli.plurals import format_count

_COLUMN_WIDTH = 150
_MARGIN = 80
_HEAD_HEIGHT = 64
_STEP_HEIGHT = 34
_LOOP_HEAD = 24
_LOOP_FOOT = 10
_MAX_NAME_LENGTH = 19
_MAX_TEXT_LENGTH = 34
_BOX_WIDTH = 136


class SequenceColumn(msgspec.Struct, frozen=True):
    """A participant: its middle, and its name in one line."""

    x: int
    kind: str
    name: str
    title: str
    count: str = ""


class SequenceArrow(msgspec.Struct, frozen=True):
    """An arrow from `x1` to `x2` at `y`, or a note if both are the same; `head` are the points of its head."""

    x1: int
    x2: int
    y: int
    style: str
    text: str
    title: str
    head: str = ""
    n: int = 0

    @property
    def middle(self) -> int:
        return (self.x1 + self.x2) // 2


class SequenceFrame(msgspec.Struct, frozen=True):
    """The frame around a loop."""

    x: int
    y: int
    width: int
    height: int
    text: str


class SequenceView(msgspec.Struct, frozen=True):
    """The diagram, and the same in words, one line for each step."""

    columns: tuple[SequenceColumn, ...]
    arrows: tuple[SequenceArrow, ...]
    frames: tuple[SequenceFrame, ...]
    width: int
    height: int
    lines: tuple[str, ...]
    summed: bool


def lay_out_sequence(sequence: MessageSequence) -> SequenceView:
    """Lay out the diagram of a sequence."""
    layout = _SequenceLayout(sequence)
    for step in sequence.steps:
        layout.add(step)
    return layout.finish()


class _SequenceLayout:
    def __init__(self, sequence: MessageSequence) -> None:
        self._sequence = sequence
        self._started = next((each.since for each in _messages(sequence)), None)
        self._y = _HEAD_HEIGHT + 28
        self._arrows: list[SequenceArrow] = []
        self._frames: list[SequenceFrame] = []
        self._lines: list[str] = []

    def finish(self) -> SequenceView:
        columns = tuple(
            SequenceColumn(
                _column_x(at),
                each.kind,
                _cut(each.name, _MAX_NAME_LENGTH),
                f"{each.kind} {each.name}" if each.name != each.kind else each.name,
                f"× {each.count:,}" if each.count > 1 else "",
            )
            for at, each in enumerate(self._sequence.participants)
        )
        width = 2 * _MARGIN + _COLUMN_WIDTH * max(0, len(columns) - 1)
        return SequenceView(
            columns, tuple(self._arrows), tuple(self._frames), width, self._y, tuple(self._lines), self._sequence.summed
        )

    def add(self, step: SequenceMessage | SequenceLoop | SequenceGap) -> None:
        if isinstance(step, SequenceMessage):
            self._add_message(step, "")
        elif isinstance(step, SequenceLoop):
            self._add_loop(step)
        else:
            text = f"… {format_count(step.count, 'step')} not shown"
            home = next((at for at, each in enumerate(self._sequence.participants) if each.kind == "orchestration"), 0)
            self._arrows.append(SequenceArrow(_column_x(home), _column_x(home), self._y, "note gap", text, text))
            self._lines.append(text)
            self._y += _STEP_HEIGHT

    def _add_loop(self, loop: SequenceLoop) -> None:
        top = self._y - 16
        self._y += _LOOP_HEAD
        self._lines.append(f"{loop.count:,} times:")
        for message in loop.messages:
            self._add_message(message, "  ")
        used = [at for each in loop.messages for at in (each.sender, each.receiver)]
        left, right = _column_x(min(used)) - 74, _column_x(max(used)) + 74
        height = self._y - top - 8
        self._frames.append(SequenceFrame(left, top, right - left, height, f"loop × {loop.count:,}"))
        self._y += _LOOP_FOOT + 6

    def _add_message(self, message: SequenceMessage, indent: str) -> None:
        participants = self._sequence.participants
        sender, receiver = participants[message.sender].name, participants[message.receiver].name
        count = f" × {message.count:,}" if message.count > 1 else ""
        when = f"+{format_length(message.since - self._started)}" if self._started else ""
        who = sender if message.sender == message.receiver else f"{sender} → {receiver}"
        line = f"{when} {who}: {message.text}{count}"
        x1, x2 = _column_x(message.sender), _column_x(message.receiver)
        title = line if message.count == 1 else f"{line}, until +{format_length(message.until - self._started)}"  # type: ignore[operator]
        text = f"{_cut(message.text, _MAX_TEXT_LENGTH if abs(x2 - x1) > _COLUMN_WIDTH else 20)}{count}"
        self._arrows.append(
            SequenceArrow(x1, x2, self._y, message.style, text, title, _arrow_head(x1, x2, self._y), message.n)
        )
        self._lines.append(indent + line)
        self._y += _STEP_HEIGHT


def _messages(sequence: MessageSequence) -> Sequence[SequenceMessage]:
    found: list[SequenceMessage] = []
    for step in sequence.steps:
        if isinstance(step, SequenceMessage):
            found.append(step)
        elif isinstance(step, SequenceLoop):
            found += step.messages
    return found


def _column_x(at: int) -> int:
    return _MARGIN + at * _COLUMN_WIDTH


def _arrow_head(x1: int, x2: int, y: int) -> str:
    if x1 == x2:
        return ""
    back = -7 if x2 > x1 else 7
    return f"{x2},{y} {x2 + back},{y - 4} {x2 + back},{y + 4}"


def _cut(text: str, length: int) -> str:
    line = next(iter(text.splitlines()), "")
    return line if len(line) <= length else f"{line[: length - 1]}…"
