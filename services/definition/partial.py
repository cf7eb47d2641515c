"""Evaluates what is sound in a document that has problems, so that a client sees those of evaluation at once too."""

from __future__ import annotations

from contextlib import suppress

from services.definition.evaluation import Evaluation
from services.definition.problems import Place, Problems, Stopped
from services.definition.program import Function, Module, Program
from services.definition.tree import Node, Opaque
from services.definition.values import Frame


class Unseen(Node):
    """A module of a definition that has problems: what is in it nobody knows."""

    def is_container(self) -> bool:
        """It may be one."""
        return True

    def items(self) -> list[object]:
        """End the evaluation of what asks: anything said about it could be wrong."""
        raise Stopped

    def __len__(self) -> int:
        """As above."""
        raise Stopped


class Partial(Evaluation):
    """An evaluation that passes over broken definitions, and says nothing where their values are asked for."""

    def __init__(self, program: Program, problems: Problems, broken: frozenset[str]) -> None:
        super().__init__(program, problems)
        self.broken = broken
        self.entered: set[str] = set()

    def call_definition(
        self, definition: Module | Function, arguments: list[object], keywords: dict[str, object], place: Place
    ) -> object:
        """Call a sound definition; a broken one gives a module that nobody has seen."""
        self.entered.add(definition.name)
        builds = isinstance(definition, Module) or definition.name in self.program.macros
        if builds and definition.name in self.broken:
            return Unseen(definition.name, place)
        return super().call_definition(definition, arguments, keywords, place)

    def truth(self, test: object, frame: Frame) -> bool:
        """Decide a condition, unless what it asks for is unseen."""
        value = self.value(test, frame)  # type: ignore[arg-type]
        if isinstance(value, Opaque):
            raise Stopped
        return True if isinstance(value, Node) else bool(value)

    def iterable(self, value: object, place: Place) -> list[object] | range:
        """Return what a loop runs over, unless it is unseen."""
        if isinstance(value, Opaque):
            raise Stopped
        return super().iterable(value, place)


def evaluate_sound(program: Program, model: Place | None, place: Place, problems: Problems) -> None:
    """Note the problems that evaluation finds in definitions that have none yet.

    ``model`` is the place of the model, or ``None`` where it has problems itself; ``place`` is the document's.
    """
    broken = frozenset(_owners(problems, f"{place.child('modules').pointer}/"))
    evaluation = Partial(program, problems, broken)
    if model is not None:
        with suppress(Stopped):
            evaluation.value(program.model, Frame({}, None, model))
    # What the model did not come to is tried alone, where it needs no arguments.
    for name, definition in program.definitions.items():
        if any(problem.code == "model_too_large" for problem in problems.found):
            return  # the budget is one for all
        taken = definition.constructor.arguments if isinstance(definition, Module) else definition.arguments
        if name in evaluation.entered or name in broken or any(one.default is None for one in taken):
            continue
        with suppress(Stopped):
            evaluation.call_definition(definition, [], {}, place.child("modules", name))


def _owners(problems: Problems, prefix: str) -> set[str]:
    """Return the definitions in which the problems lie."""
    inside = (problem.pointer.removeprefix(prefix) for problem in problems.found if problem.pointer.startswith(prefix))
    return {rest.split("/")[0].replace("~1", "/").replace("~0", "~") for rest in inside}
