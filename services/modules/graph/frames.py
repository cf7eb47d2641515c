"""Follows the definition's own frames while they run: turns of loops, branches taken, names that values get."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from services.definition.problems import Place
from services.modules.build import Code
from services.modules.graph.blocks import Block, Table, read_table
from services.modules.graph.nodes import Site

MAX_DECISIONS = 1000
"""So many entries of one branch or loop are told one by one; all are counted."""


@dataclass(slots=True)
class _Running:
    """One frame of the definition: its present line, and the turn of each loop and arm of each branch in it."""

    frame: FrameType
    line: int
    turns: dict[int, int] = field(default_factory=dict)
    arms: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class LoopCount:
    """How often a loop was entered, and how often it turned."""

    block: Block
    entries: list[int] = field(default_factory=list)
    """Turns of each of the first entries."""
    entered: int = 0
    turns: int = 0


@dataclass(slots=True)
class BranchCount:
    """Which way a branch went, each time."""

    block: Block
    taken: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Frames:
    """A context manager around one forward; ``bind`` is told each local name and value after an assignment."""

    def __init__(self, code: Code, bind: Callable[[str, Any], None]) -> None:
        self.table: Table = read_table(code)
        self.loops: dict[str, LoopCount] = {}
        self.branches: dict[str, BranchCount] = {}
        self._code = code
        self._bind = bind
        self._stack: list[_Running] = []
        self._positions: dict[CodeType, list[tuple[int | None, ...]]] = {}
        self._places: dict[tuple[int, int, int, int], Place | None] = {}
        self._before: Any = None

    def __enter__(self) -> Frames:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def site(self) -> Site:
        """Return where the innermost running line of the definition is."""
        if not self._stack:
            return Site()
        inner = self._stack[-1].frame
        position = self._position(inner)
        if position not in self._places:
            line, end_line, begin, end = position
            self._places[position] = self._code.place_at(line, begin, end_line, end)
        line, place = position[0], self._places[position]
        loops, branches = self._active()
        _, text = self.table.statements.get(line, ((line, line), None))
        pointer, column = (place.pointer, place.column) if place is not None else (None, None)
        return Site(pointer, column, line, text, loops, branches)

    def _position(self, frame: FrameType) -> tuple[int, int, int, int]:
        found = self._positions.get(frame.f_code)
        if found is None:
            found = self._positions[frame.f_code] = list(frame.f_code.co_positions())
        line, end_line, column, end_column = found[frame.f_lasti // 2]
        line = line or frame.f_lineno
        return line, end_line or line, column or 0, end_column or 0

    def _active(self) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, str], ...]]:
        loops: list[tuple[str, int]] = []
        branches: list[tuple[str, str]] = []
        for running in self._stack:
            for number in self.table.around.get(running.line, ()):
                block = self.table.blocks[number]
                if _within(running.line, block.head):
                    continue
                if block.kind == "if":
                    branches.append((block.place.pointer, running.arms.get(number, "then")))
                else:
                    loops.append((block.place.pointer, running.turns.get(number, 0)))
        return tuple(loops), tuple(branches)

    def _call(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if event != "call" or frame.f_code.co_filename != self._code.filename:
            return None
        self._stack.append(_Running(frame, frame.f_lineno))
        return self._step

    def _step(self, frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        running = self._stack[-1]
        if event == "line":
            self._leave(running, frame.f_lineno)
            self._arrive(running, frame.f_lineno)
            running.line = frame.f_lineno
        elif event == "return":
            self._leave(running, 0)
            self._stack.pop()
        return self._step

    def _leave(self, running: _Running, line: int) -> None:
        """Note what the line that has just run decided or bound; ``line`` comes next, 0 is the end of the frame."""
        for number in self.table.around.get(running.line, ()):
            block = self.table.blocks[number]
            if block.kind == "if" and _within(running.line, block.head) and not _within(line, block.head):
                self._decide(running, number, "then" if _within(line, block.body) else "else")
        span, _ = self.table.statements.get(running.line, ((0, 0), ""))
        if not _within(line, span) or line == span[0]:
            for name in self.table.targets.get(span[0], ()):
                self._bind(name, running.frame.f_locals.get(name))

    def _decide(self, running: _Running, number: int, arm: str) -> None:
        block = self.table.blocks[number]
        running.arms[number] = arm
        count = self.branches.setdefault(block.place.pointer, BranchCount(block))
        count.counts[arm] = count.counts.get(arm, 0) + 1
        if len(count.taken) < MAX_DECISIONS:
            count.taken.append(arm)

    def _arrive(self, running: _Running, line: int) -> None:
        for number in self.table.around.get(line, ()):
            block = self.table.blocks[number]
            if block.kind == "if":
                continue
            count = self.loops.setdefault(block.place.pointer, LoopCount(block))
            if not _within(running.line, block.whole):
                running.turns[number] = 0
                count.entered += 1
                if len(count.entries) < MAX_DECISIONS:
                    count.entries.append(0)
            if line == block.body[0] and _within(running.line, block.head):
                running.turns[number] += 1
                count.turns += 1
                if count.entered == len(count.entries):
                    count.entries[-1] += 1


def _within(line: int, span: tuple[int, int]) -> bool:
    return span[0] <= line <= span[1]
