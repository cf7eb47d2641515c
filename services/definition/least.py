"""Counts, from the text and its integers alone, how many modules and turns of loops a model takes at least.

Nothing is made or run for it: `refuse_bombs` stands before the evaluation, so that three loops of thousands inside
each other, or two modules of two modules of two modules …, cost what reading them costs. What it cannot know counts as
nothing; the budgets of the evaluation see to that.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from services.definition.known import Names, bound, items_of, length_of, value_of, without
from services.definition.limits import MAX_BUILD_DEPTH, MAX_BUILD_TURNS, MAX_MODULES
from services.definition.problems import Place, Problems, place_of
from services.definition.program import Function, Module, Program
from services.definition.tree import SEQUENCES, TABLES, UNKNOWN

MAX_VISITS = 4_000
"""Parts of expressions that are looked at; what lies behind counts as nothing."""
MAX_FOLLOWED = 64
"""Turns of a loop that are followed one by one, with their values; longer ones are taken as equal."""
_ADDING = frozenset({"append", "extend", "insert", "update", "add_module", "requires_grad_"})
_STACKS = frozenset({"TransformerEncoder", "TransformerDecoder"})
_Cost = tuple[int, int]
"""Modules, and turns of loops."""
_NOTHING: _Cost = (0, 0)
_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


def refuse_bombs(program: Program, place: Place, problems: Problems) -> bool:
    """Note ``model_too_large`` where a part of a program makes too much by its integers alone; say whether it does."""
    least = _Least(program)
    least.of(program.model, {})
    if least.blamed is None:
        return False
    node, (modules, turns) = least.blamed
    where = place_of(node) or place
    if modules > MAX_MODULES:
        detail = f"This makes {_shown(modules)} modules; a model has at most {MAX_MODULES}."
        problems.add("model_too_large", detail, where, "Make it of fewer.")
    else:
        detail = f"Building this model takes {_shown(turns)} turns of its loops; at most {MAX_BUILD_TURNS} are allowed."
        problems.add("model_too_large", detail, where, "Make its loops shorter.")
    return True


def _shown(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "more than 10^15"


class _Least:
    """Follows constructors, macros and ``init`` with the values of parameters that are plain."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.blamed: tuple[ast.AST, _Cost] | None = None
        """The innermost part that takes too much."""
        self._visits = 0
        self._known: dict[str, _Cost] = {}
        self._answers: dict[object, object] = {}
        self._depth = 0
        self._following = 1
        """Turns of the loops around that are followed one by one."""

    def of(self, node: ast.expr | None, names: Names) -> _Cost:
        """Return what an expression takes whose value becomes a part of the model."""
        self._visits += 1
        if self._visits > MAX_VISITS or node is None:
            return _NOTHING
        if isinstance(node, ast.Call):
            cost = self._call(node, names)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
            cost = self._comprehension(node, names)
        elif isinstance(node, ast.IfExp):
            test = value_of(node.test, names)
            known = isinstance(test, bool | int | float | str)
            cost = self.of(node.body if test else node.orelse, names) if known else self._either(node, names)
        else:
            return self._sum(_parts(node), names)
        return self._seen(node, cost)

    def _either(self, node: ast.IfExp, names: Names) -> _Cost:
        return _least(self.of(node.body, names), self.of(node.orelse, names))

    def _seen(self, node: ast.AST, cost: _Cost) -> _Cost:
        if self.blamed is None and (cost[0] > MAX_MODULES or cost[1] > MAX_BUILD_TURNS):
            self.blamed = node, cost
        return cost

    def _sum(self, nodes: Iterable[ast.expr | None], names: Names) -> _Cost:
        cost = _NOTHING
        for node in nodes:
            cost = _plus(cost, self.of(node, names))
        return cost

    def _call(self, node: ast.Call, names: Names) -> _Cost:
        function = node.func
        if isinstance(function, ast.Attribute):
            if isinstance(function.value, ast.Name) and function.value.id == "nn":
                return self._layer(function.attr, node, names)
            return self.of(function.value, names) if function.attr == "requires_grad_" else _NOTHING
        if not isinstance(function, ast.Name) or function.id in names:
            return _NOTHING
        if function.id in {"list", "tuple", "OrderedDict", "dict"}:
            return self._sum(node.args, names)
        definition = self.program.definitions.get(function.id)
        return _NOTHING if definition is None else self._definition(definition, node, names)

    def _layer(self, name: str, node: ast.Call, names: Names) -> _Cost:
        if name == "Parameter":
            return _NOTHING
        if name in SEQUENCES or name in TABLES:
            return _plus((1, 0), self._sum(node.args, names))
        if name in _STACKS and len(node.args) > 1:
            count = value_of(node.args[1], names)
            inside, turns = self.of(node.args[0], names)
            return (1 + inside * (count if isinstance(count, int) and count > 0 else 0), turns)
        return (1, 0)

    def _definition(self, definition: Module | Function, node: ast.Call, names: Names) -> _Cost:
        """Return the modules of a definition; its turns are judged alone: equal calls are made once."""
        builds = isinstance(definition, Module) or definition.name in self.program.macros
        if not builds or self._depth > MAX_BUILD_DEPTH:
            return _NOTHING
        function = definition.constructor if isinstance(definition, Module) else definition
        inner = bound(function, node, names, changed=self._about(function, _changes))
        key = f"{definition.name}{sorted(inner.items())!r}"
        if key not in self._known:
            self._known[key] = _NOTHING  # while it is at work: a definition that contains itself
            self._depth += 1
            modules, turns = self._body(function.body, dict(inner))
            self._depth -= 1
            self._seen(node, (0, turns))
            self._known[key] = (modules + isinstance(definition, Module), 0)
        return self._known[key]

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, names: Names) -> _Cost:
        head = node.generators[0]
        value = node.value if isinstance(node, ast.DictComp) else node.elt
        if head.ifs:
            return (0, length_of(head.iter, names) or 0)
        return self._turns(head.iter, head.target, [value], names, lambda inner: self.of(value, inner))

    def _turns(
        self,
        iterable: ast.expr,
        target: ast.expr,
        body: Sequence[ast.AST],
        names: Names,
        inside: Callable[[dict[str, object]], _Cost],
    ) -> _Cost:
        count = length_of(iterable, names) or 0
        if not count:
            return _NOTHING
        before, self._following = self._following, self._following * count
        items = items_of(iterable, names) if self._following <= MAX_FOLLOWED and _matters(target, body) else None
        if items is None:
            self._following = before
            modules, turns = inside(without(names, target))
            return (count * modules, count * (1 + turns))
        cost = (0, count)
        for item in items:
            cost = _plus(cost, inside(without(names, target, item)))
        self._following = before
        return cost

    def _body(self, body: list[ast.stmt], names: dict[str, object]) -> _Cost:
        cost = _NOTHING
        for statement in body:
            if isinstance(statement, ast.Return):
                return _plus(cost, self.of(statement.value, names))
            cost = _plus(cost, self._statement(statement, names))
        return cost

    def _statement(self, node: ast.stmt, names: dict[str, object]) -> _Cost:
        if isinstance(node, ast.For):
            return self._for(node, names)
        if isinstance(node, ast.If):
            return self._if(node, names)
        if isinstance(node, ast.With):
            return self._body(node.body, names)
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            cost = self.of(node.value, names) if _is_own(target) else _NOTHING
            value = value_of(node.value, names)
            self._forget(names, node)
            # A list that has a name may change: only what cannot is kept.
            names.update(without({}, target, UNKNOWN if isinstance(value, tuple) else value))
            return cost
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return self._added(node.value, names)
        self._forget(names, node)
        return self.of(node.value, names) if isinstance(node, ast.AugAssign) and _is_own(node.target) else _NOTHING

    def _added(self, call: ast.Call, names: Names) -> _Cost:
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in _ADDING or not _is_own(function):
            return _NOTHING
        return self._sum(call.args, names)

    def _for(self, loop: ast.For, names: dict[str, object]) -> _Cost:
        self._forget(names, loop)
        if self._about(loop, _jumps):
            return _NOTHING
        body = loop.body
        return self._seen(loop, self._turns(loop.iter, loop.target, body, names, lambda inner: self._body(body, inner)))

    def _if(self, branch: ast.If, names: dict[str, object]) -> _Cost:
        test = value_of(branch.test, names)
        if isinstance(test, bool | int | float | str):
            return self._body(branch.body if test else branch.orelse, names)
        both = _least(self._body(branch.body, dict(names)), self._body(branch.orelse, dict(names)))
        self._forget(names, branch)
        return both

    def _forget(self, names: dict[str, object], node: ast.stmt) -> None:
        for name in self._about(node, _stored):
            names.pop(name, None)

    def _about(self, node: _Key, question: Callable[[_Key], _Answer]) -> _Answer:
        """Answer a question about the text once: definitions are gone through with many values."""
        key = id(node), question
        if key not in self._answers:
            self._answers[key] = question(node)
        return cast("_Answer", self._answers[key])


def _matters(target: ast.expr, body: Sequence[ast.AST]) -> bool:
    """Return whether a loop's names are read for more than the names of parts."""
    bound = {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and node.id in bound:
            return True
        if not isinstance(node, ast.JoinedStr):
            waiting += ast.iter_child_nodes(node)
    return False


def _parts(node: ast.expr) -> list[ast.expr | None]:
    """Return what is in a list, a dict, a splat or a sum of lists."""
    if isinstance(node, ast.List | ast.Tuple):
        return list(node.elts)
    if isinstance(node, ast.Dict):
        return list(node.values)
    if isinstance(node, ast.Starred):
        return [node.value]
    return [node.left, node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) else []


def _is_own(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "self"


def _stored(statement: ast.stmt) -> set[str]:
    nodes = ast.walk(statement)
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _jumps(loop: ast.stmt) -> bool:
    return any(isinstance(node, ast.Break | ast.Continue | ast.Return) for node in ast.walk(loop))


def _changes(function: Function) -> bool:
    """Return whether something in a body may change a list that it was given."""
    calls = (node.func for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.Call))
    methods = {"append", "extend", "insert", "pop", "update", "reverse"}
    return any(isinstance(one, ast.Attribute) and one.attr in methods for one in calls)


def _plus(left: _Cost, right: _Cost) -> _Cost:
    return (left[0] + right[0], left[1] + right[1])


def _least(left: _Cost, right: _Cost) -> _Cost:
    return (min(left[0], right[0]), min(left[1], right[1]))
