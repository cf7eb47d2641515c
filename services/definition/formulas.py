"""Expressions that stand outside a model: loss terms and metrics, over outputs, columns and each other.

They are checked as the body of a forward is, by making a document of them whose forward takes the names they use.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.definition.document import Definition, check
from services.definition.names import check_local
from services.definition.parsing import Text, parse_expression
from services.definition.problems import Place, Problems, Stopped
from services.definition.vocabulary import Vocabulary, is_usable
from services.errors import InvalidRequest, Problem

OWNER = "Formulas"
_EQUALS = " = "
_BODY = re.compile(rf"/modules/{OWNER}/forward/body/(\d+)")


@dataclass(frozen=True, slots=True)
class Source:
    """One expression as a client wrote it; ``name`` is how other expressions call it (None: they cannot)."""

    name: str | None
    text: str
    place: Place


Lines = tuple[tuple[Source, int], ...]


@dataclass(frozen=True, slots=True)
class Formulas:
    """Checked expressions as a definition, whose forward takes ``names`` and returns the value of each source.

    The values come in the order in which the sources were given, as a tuple.
    """

    definition: Definition
    names: dict[str, Place]
    """Every output or column that is used, and where first."""
    lines: Lines
    """For each statement of the forward the source, and how many characters stand before its text."""


def check_formulas(sources: Sequence[Source], vocabulary: Vocabulary) -> Formulas:
    """Check expressions that may use each other, in any order but not in a circle.

    Raises:
        InvalidRequest: grammar, unknown names (with all that there are), names that mean two things, circles, and
            whatever a forward is refused for.
    """
    reading = _Reading(sources, vocabulary)
    ordered = reading.in_order()
    reading.problems.raise_if_any()
    labels = _labels(sources, reading.names)
    lines = tuple((source, len(labels[index]) + len(_EQUALS)) for index, source in ordered)
    body = [f"{labels[index]}{_EQUALS}{source.text}" for index, source in ordered]
    body.append(f"return ({', '.join(labels)},)")
    forward = {"arguments": list(reading.names), "body": body}
    try:
        definition = check({"modules": {OWNER: {"forward": forward}}, "model": f"{OWNER}()"})
    except InvalidRequest as error:
        raise InvalidRequest([_translated(problem, lines, vocabulary) for problem in error.problems]) from None
    return Formulas(definition, reading.names, lines)


def locate(place: Place, lines: Lines) -> Place:
    """Return where in the request a place of the made-up document comes from."""
    found = _BODY.match(place.pointer)
    if found is None or int(found[1]) >= len(lines):
        return Place(lines[0][0].place.pointer)
    source, before = lines[int(found[1])]
    return Place(source.place.pointer, None if place.column is None else max(1, place.column - before))


class _Reading:
    """Parses sources and finds out which names each uses."""

    def __init__(self, sources: Sequence[Source], vocabulary: Vocabulary) -> None:
        self.problems = Problems()
        self.names: dict[str, Place] = {}
        self._vocabulary = vocabulary
        self._sources = sources
        self._own = {source.name: index for index, source in enumerate(sources) if source.name is not None}
        self._uses: dict[int, set[int]] = {}
        with suppress(Stopped):
            self._read()

    def in_order(self) -> list[tuple[int, Source]]:
        """Return every source, with its number, after those that it uses."""
        waiting, ordered = dict(self._uses), list[int]()
        while waiting:
            ready = [index for index, uses in waiting.items() if not uses & waiting.keys()]
            if not ready:
                circle = ", ".join(repr(self._sources[index].name) for index in waiting if self._sources[index].name)
                place = self._sources[next(iter(waiting))].place
                hint = "A term that has the name of an output needs another name." if self._vocabulary.open else None
                self.problems.add("recursive_definition", f"These use each other in a circle: {circle}.", place, hint)
                break
            ordered += ready
            waiting = {index: uses for index, uses in waiting.items() if index not in ready}
        return [(index, self._sources[index]) for index in ordered]

    def _read(self) -> None:
        for name, index in self._own.items():
            place = self._sources[index].place
            if check_local(name, place, self.problems) and (meanings := self._vocabulary.meanings(name)):
                detail = f"{name!r} is already {meanings[0]}."
                self.problems.add("duplicate_name", detail, place, "Choose another name.")
        for index, source in enumerate(self._sources):
            parsed = parse_expression(source.text, source.place, self.problems)
            if parsed is not None:
                self._uses[index] = self._used(*parsed)

    def _used(self, tree: ast.expr, text: Text) -> set[int]:
        """Note outputs and columns that an expression takes; return the other sources that it uses."""
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        bound = {node.id for node in nodes if not isinstance(node.ctx, ast.Load)}
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        used = set[int]()
        for node in sorted(nodes, key=lambda node: node.col_offset):
            if node.id in bound:
                continue
            if node.id in self._own and id(node) not in called:
                used.add(self._own[node.id])
            else:
                self._note(node.id, text.place_at(node), is_called=id(node) in called)
        return used

    def _note(self, name: str, place: Place, *, is_called: bool) -> None:
        vocabulary = self._vocabulary
        known = name in self._own or (is_usable(name) and bool(vocabulary.meanings(name)))
        problem = None
        if name == "self":
            problem = Problem("invalid_expression", "There is no self here.", "", vocabulary.listing())
        elif is_called:
            detail = f"{name!r} is a value and cannot be called."
            problem = Problem("invalid_expression", detail) if known else None
        elif is_usable(name):
            known = known or vocabulary.open
            problem = vocabulary.ambiguous(name, place) if known else vocabulary.unknown(name, place, self._own)
            if problem is None:
                self.names.setdefault(name, place)
        if problem is not None:
            self.problems.add(problem.code, problem.detail, place, problem.hint)


def _labels(sources: Sequence[Source], names: Mapping[str, Place]) -> list[str]:
    """Return for each source the local variable of its value."""
    taken = {*names, *(source.name for source in sources)}
    prefix = "value"
    while any(name is not None and name.startswith(prefix) for name in taken):
        prefix += "s"
    return [source.name or f"{prefix}{index}" for index, source in enumerate(sources)]


def _translated(problem: Problem, lines: Lines, vocabulary: Vocabulary) -> Problem:
    place, hint = locate(Place(problem.pointer, problem.column), lines), problem.hint
    if problem.code == "unknown_name":
        hint = " ".join(part for part in (hint, vocabulary.listing()) if part)
    return Problem(problem.code, problem.detail, place.pointer, hint, place.column)
