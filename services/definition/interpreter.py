"""Evaluates the trees of ``init`` on plain values; what only torch knows stays opaque."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from services.definition.calling import Calling
from services.definition.problems import Place, place_of
from services.definition.tree import UNKNOWN, Node, Opaque
from services.definition.values import Frame


class Returned(Exception):
    """A return statement ran."""

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__()


class Jumped(Exception):
    """A break (``again`` false) or continue statement ran."""

    def __init__(self, *, again: bool) -> None:
        self.again = again
        super().__init__()


class Interpreter(Calling):
    """Runs statements in order."""

    def run_body(self, body: list[ast.stmt], frame: Frame) -> None:
        """Run statements in order."""
        for statement in body:
            self.run(statement, frame)

    def run(self, statement: ast.stmt, frame: Frame) -> None:
        """Run one statement."""
        place = place_of(statement) or frame.place
        self.spend_step(place)
        inner = Frame(frame.names, frame.node, place)
        if isinstance(statement, ast.Assign):
            self.assign(statement.targets[0], self.value(statement.value, inner), inner)
        elif isinstance(statement, ast.AugAssign):
            self._augmented(statement, inner)
        elif isinstance(statement, ast.Expr):
            self.value(statement.value, inner)
        elif isinstance(statement, ast.For):
            self.run_for(statement, inner)
        elif isinstance(statement, ast.If):
            self.run_if(statement, inner)
        elif isinstance(statement, ast.With):
            self.run_body(statement.body, inner)
        elif isinstance(statement, ast.Return):
            raise Returned(self.value(statement.value, inner) if statement.value else None)
        elif isinstance(statement, ast.Assert):
            self.run_assert(statement, inner)
        elif isinstance(statement, ast.Break | ast.Continue):
            raise Jumped(again=isinstance(statement, ast.Continue))

    def run_for(self, loop: ast.For, frame: Frame) -> None:
        """Run a loop; its turns are paid for before it begins."""
        if _walks_parameters(loop):
            return
        items = self.iterable(self.value(loop.iter, frame), frame.place)
        self.spend_turns(len(items), frame.place)
        self.on_loop(frame.place, items)
        before = self.turns_left, self.modules_left
        for index, item in enumerate(items):
            if index == 1:
                self.project(len(items), before, frame.place)
            self.assign(loop.target, item, frame)
            try:
                self.run_body(loop.body, frame)
            except Jumped as jump:
                if not jump.again:
                    return

    def run_if(self, branch: ast.If, frame: Frame) -> None:
        """Run one branch."""
        taken = self.truth(branch.test, frame)
        self.on_branch(frame.place, taken=taken)
        self.run_body(branch.body if taken else branch.orelse, frame)

    def on_loop(self, place: Place, items: Sequence[object]) -> None:
        """A loop begins: for who watches."""

    def on_branch(self, place: Place, *, taken: bool) -> None:
        """A condition was decided: for who watches."""

    def run_assert(self, statement: ast.Assert, frame: Frame) -> None:
        """Check an assertion about the parameters of a definition."""
        if not self.truth(statement.test, frame):
            message = str(statement.msg.value) if isinstance(statement.msg, ast.Constant) else "it does not hold"
            self.stop("invalid_argument", f"The assertion fails: {message}.", frame.place)

    def assign(self, target: ast.expr, value: object, frame: Frame) -> None:
        """Bind names."""
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
        elif isinstance(target, ast.Tuple):
            self._unpack(target, value, frame)
        elif isinstance(target, ast.Subscript):
            self._store(target, value, frame)

    def _unpack(self, target: ast.Tuple, value: object, frame: Frame) -> None:
        if isinstance(value, Opaque):
            for item in target.elts:
                self.assign(item.value if isinstance(item, ast.Starred) else item, UNKNOWN, frame)
            return
        values = list(self.iterable(value, frame.place))
        star = next((i for i, item in enumerate(target.elts) if isinstance(item, ast.Starred)), None)
        if star is not None:
            after = len(target.elts) - star - 1
            values[star : len(values) - after] = [values[star : len(values) - after]]
        if len(values) != len(target.elts):
            self.stop("invalid_argument", f"{len(values)} values for {len(target.elts)} names.", frame.place)
        for item, one in zip(target.elts, values, strict=True):
            self.assign(item.value if isinstance(item, ast.Starred) else item, one, frame)

    def _store(self, target: ast.Subscript, value: object, frame: Frame) -> None:
        owner, key = self.value(target.value, frame), self.value(target.slice, frame)
        if isinstance(key, slice) and isinstance(owner, list):
            value = list(self.iterable(value, frame.place)) if not isinstance(value, Opaque) else []
            self.operate(ast.Add(), owner, value, frame.place)  # as long as both together, at most
        try:
            if isinstance(owner, list | dict) and not isinstance(key, Opaque):
                owner[key] = value
            elif isinstance(owner, Node) and owner.is_container():
                owner.append(value, str(key))
        except (IndexError, TypeError, KeyError):
            self.stop("invalid_argument", "There is no such item.", frame.place)

    def _augmented(self, statement: ast.AugAssign, frame: Frame) -> None:
        target = statement.target
        load: ast.expr = ast.Name(target.id, ast.Load()) if isinstance(target, ast.Name) else target
        left, right = self.value(load, frame), self.value(statement.value, frame)
        if isinstance(left, list) and isinstance(statement.op, ast.Add) and not isinstance(right, Opaque):
            right = list(self.iterable(right, frame.place))
            self.operate(statement.op, left, right, frame.place)  # as long as both together, at most
            left.extend(right)  # in place, as Python does: other names of this list see it too
            result: object = left
        else:
            result = self.operate(statement.op, left, right, frame.place)
        self.spend_items(len(result) if isinstance(result, str | list | tuple | dict) else 0, frame.place)
        self.assign(target, result, frame)


def _walks_parameters(loop: ast.For) -> bool:
    """A weight rule over ``named_parameters()``: it makes no modules."""
    call = loop.iter
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "named_parameters"
