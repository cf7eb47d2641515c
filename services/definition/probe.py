"""Walks a forward once without data: finds what is too large, and parts that are not there."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from contextlib import suppress

from services.definition import arithmetic
from services.definition.arithmetic import TooLarge, Unusable
from services.definition.interpreter import Interpreter, Jumped, Returned
from services.definition.limits import MAX_FORWARD_TURNS
from services.definition.problems import Place, Stopped
from services.definition.program import Function, Module
from services.definition.tree import TENSOR, UNKNOWN, Node, Opaque
from services.definition.values import Frame


class Probe(Interpreter):
    """An interpreter in which arguments and tensors are unknown and every branch is taken."""

    _repeats = 1
    _certain = True

    def run(self, statement: ast.stmt | Function, frame: Frame | Node | None) -> None:
        """Walk a function of a module (its node), or one statement."""
        if isinstance(statement, Function):
            node = frame if isinstance(frame, Node) else None
            names: dict[str, object] = {argument.name: UNKNOWN for argument in statement.arguments}
            with suppress(Stopped, Returned):
                self.run_body(statement.body, Frame(names, node, statement.place))
            return
        if isinstance(frame, Frame):
            with suppress(Returned, Jumped):
                super().run(statement, frame)

    def run_for(self, loop: ast.For, frame: Frame) -> None:
        """Walk the body once, as often as the loops around it turn."""
        count = self._length(self.value(loop.iter, frame))
        self._repeated(count, frame.place)
        with_before, self._repeats = self._repeats, self._repeats * count
        self._uncertain(loop.body, loop.target, frame)
        self._repeats = with_before
        self.run_body(loop.orelse, frame)

    def _uncertain(self, body: list[ast.stmt], target: ast.expr | None, frame: Frame) -> None:
        before, self._certain = self._certain, False
        for name in _assigned(body):
            frame.names[name] = UNKNOWN
        if target is not None:
            self.assign(target, UNKNOWN, frame)
        self.run_body(body, frame)
        self._certain = before

    def run_if(self, branch: ast.If, frame: Frame) -> None:
        """Walk both branches."""
        self.value(branch.test, frame)
        for body in (branch.body, branch.orelse):
            self._uncertain(body, None, frame)

    def run_assert(self, statement: ast.Assert, frame: Frame) -> None:
        """Walk the condition."""
        self.value(statement.test, frame)

    def truth(self, test: ast.expr, frame: Frame) -> bool:
        """Walk the condition; it may go either way."""
        value = self.value(test, frame)
        return True if isinstance(value, Opaque | Node) else bool(value)

    def _if(self, node: ast.IfExp, frame: Frame, place: Place) -> object:
        test = self.value(node.test, frame)
        if isinstance(test, Opaque):
            self.value(node.body, frame)
            self.value(node.orelse, frame)
            return UNKNOWN
        return self.value(node.body if test else node.orelse, frame)

    def iterable(self, value: object, place: Place) -> list[object] | range:
        """Return what is known of what a loop runs over."""
        return [UNKNOWN] if isinstance(value, Opaque) else super().iterable(value, place)

    def turns(self, generator: ast.comprehension, frame: Frame, place: Place) -> Iterable[Frame]:
        """Return one frame that stands for all turns."""
        count = self._length(self.value(generator.iter, frame))
        self._repeated(count, place)
        inner = Frame(dict(frame.names), frame.node, place)
        self.assign(generator.target, UNKNOWN, inner)
        self._repeats *= max(count, 1)
        return [inner]

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame, place: Place) -> object:
        before = self._repeats
        super()._comprehension(node, frame, place)
        self._repeats = before
        return UNKNOWN

    def _dict_comprehension(self, node: ast.DictComp, frame: Frame, place: Place) -> object:
        before = self._repeats
        for inner in self.turns(node.generators[0], frame, place):
            self.value(node.key, inner)
            self.value(node.value, inner)
        self._repeats = before
        return UNKNOWN

    def _repeated(self, count: int, place: Place) -> None:
        if self._repeats * count > MAX_FORWARD_TURNS:
            detail = f"These loops take {self._repeats * count} turns; at most {MAX_FORWARD_TURNS} are allowed."
            self.stop("model_too_large", detail, place, "Make these loops shorter.")

    def _length(self, value: object) -> int:
        if isinstance(value, Node):
            return len(value)
        return len(value) if isinstance(value, list | tuple | range | dict | str) else 1

    def missing_name(self, name: str, place: Place) -> object:
        """Names whose value is not tracked are unknown."""
        return UNKNOWN

    def own_value(self, name: str, frame: Frame, place: Place) -> object:
        """Return a part of the module, if this instance has it."""
        if frame.node is None:
            return UNKNOWN
        return frame.node.children.get(name, frame.node.values.get(name, UNKNOWN))

    def call_definition(
        self, definition: Module | Function, arguments: list[object], keywords: dict[str, object], place: Place
    ) -> object:
        """Functions are walked on their own; what they return is unknown."""
        return UNKNOWN

    def own_method(self, name: str, arguments: list[object], frame: Frame, place: Place) -> object:
        """Children and methods return what only a run knows."""
        return UNKNOWN

    def call_value(self, value: object, place: Place) -> object:
        """A module that is called gives tensors."""
        return TENSOR if isinstance(value, Node) else UNKNOWN

    def operate(self, operation: ast.AST, left: object, right: object, place: Place) -> object:
        """Compute what is known; unknown stays unknown."""
        if isinstance(left, Node) or isinstance(right, Node):
            return UNKNOWN
        try:
            return arithmetic.apply(operation, left, right)
        except TooLarge as error:
            self.stop("model_too_large", f"Too large: {error}.", place, "Make it smaller.")
        except Unusable:
            return UNKNOWN


def _assigned(body: list[ast.stmt]) -> set[str]:
    nodes = (node for statement in body for node in ast.walk(statement))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
