"""Checks expressions and rebuilds them node by node as plain PyTorch: nothing that is not named here passes."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable

from services.definition.calls import Calls
from services.definition.catalog import CATALOG
from services.definition.limits import MAX_INTEGER, MAX_STRING_CHARACTERS
from services.definition.names import BUILTINS, ROOTS, check_local
from services.definition.problems import Place, mark, nearest_hint

_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult, ast.BitAnd, ast.BitOr, ast.BitXor
)  # fmt: skip
_WORDS: dict[type[ast.AST], str] = {
    ast.Lambda: "Functions without a name (lambda)",
    ast.JoinedStr: "f-strings",
    ast.FormattedValue: "f-strings",
    ast.NamedExpr: "Assignments inside expressions (:=)",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Set: "Sets",
    ast.SetComp: "Set comprehensions",
    ast.Starred: "Splats (*) outside calls, lists and tuples",
}


class Expressions(Calls):
    """Rebuilds the expressions of one string in one scope."""

    def rebuild(self, node: ast.expr) -> ast.expr:
        """Return the checked copy of ``node``; where something is wrong, the problem is noted and ``None`` stands."""
        visitor = _VISITORS.get(type(node))
        if visitor is None:
            word = _WORDS.get(type(node), type(node).__name__)
            self.problem(node, f"{word} are not part of the language.", _fix(node))
            return ast.Constant(None)
        return mark(visitor(self, node), self.place(node))

    def target(self, node: ast.expr) -> ast.expr:
        """Rebuild what a loop or an assignment binds: names, and tuples of names."""
        if isinstance(node, ast.Name):
            if check_local(node.id, self.place(node), self.library.problems):
                self.scope.locals.add(node.id)
            return ast.Name(node.id, ast.Store())
        if isinstance(node, ast.Tuple | ast.List):
            return ast.Tuple([self.target(item) for item in node.elts], ast.Store())
        if isinstance(node, ast.Starred):
            return ast.Starred(self.target(node.value), ast.Store())
        self.problem(node, "Only names can be bound here.")
        return ast.Name("_", ast.Store())

    def _constant(self, node: ast.Constant) -> ast.expr:
        value = node.value
        if isinstance(value, bytes | complex):
            self.problem(node, "Only numbers, strings, True, False, None and ... are literals here.")
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            self.note("out_of_range", node, "Integers are limited to 2^63.")
        elif isinstance(value, float) and not math.isfinite(value):
            self.note("out_of_range", node, "This number is infinite.", "Use math.inf where infinity is meant.")
        elif isinstance(value, str) and (len(value) > MAX_STRING_CHARACTERS or "%" in value or "{" in value):
            self.problem(node, "Strings may not hold % or braces.", "Join strings with +.")
        return ast.Constant(value)

    def _name(self, node: ast.Name) -> ast.expr:
        name = node.id
        if name in self.scope.locals:
            return ast.Name(name, ast.Load())
        if name == "self":
            self.problem(node, "self alone is not a value.", "Name one of its parts: self.layer.")
        elif name in self.library.headings or name in CATALOG.classes or name in BUILTINS or name in ROOTS:
            self.problem(node, f"{name!r} cannot be used as a value; only its result can.", f"Call it: {name}(…).")
        elif "__" in name or name.startswith("_"):
            self.problem(node, f"The name {name[:80]!r} is not allowed.")
        else:
            known = self.scope.locals | (self.scope.members.constants if self.scope.members else set())
            member = self.scope.members is not None and name in self.scope.members.names()
            hint = f"Write self.{name}." if member else nearest_hint(name, known)
            self.note("unknown_name", node, f"There is no name {name[:80]!r} here.", hint)
        return ast.Constant(None)

    def _attribute(self, node: ast.Attribute) -> ast.expr:
        path = self.dotted(node)
        if path is not None:
            return self._global_constant(node, path)
        if not self.attribute_allowed(node):
            return ast.Constant(None)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return self.own(node)
        return ast.Attribute(self.rebuild(node.value), node.attr, ast.Load())

    def _global_constant(self, node: ast.Attribute, path: tuple[str, str]) -> ast.expr:
        space, name = path
        if name in CATALOG.constants.get(space, ()):
            return ast.Attribute(ast.Name(space, ast.Load()), name, ast.Load())
        if name in CATALOG.functions.get(space, ()) or (space == "nn" and name in CATALOG.classes):
            self.problem(node, f"{space}.{name} cannot be used as a value; only its result can.", "Call it.")
        else:
            known = [*CATALOG.constants.get(space, ()), *CATALOG.functions.get(space, ())]
            self.note("unknown_function", node, f"There is no {space}.{name[:80]}.", nearest_hint(name, known))
        return ast.Constant(None)

    def _binary(self, node: ast.BinOp) -> ast.expr:
        if not isinstance(node.op, _OPERATORS):
            self.problem(node, "Shifts (<<, >>) are not part of the language.", "Use * and // with powers of 2.")
            return ast.Constant(None)
        return ast.BinOp(self.rebuild(node.left), node.op, self.rebuild(node.right))

    def _unary(self, node: ast.UnaryOp) -> ast.expr:
        return ast.UnaryOp(node.op, self.rebuild(node.operand))

    def _boolean(self, node: ast.BoolOp) -> ast.expr:
        return ast.BoolOp(node.op, [self.rebuild(value) for value in node.values])

    def _compare(self, node: ast.Compare) -> ast.expr:
        for operator, right in zip(node.ops, node.comparators, strict=True):
            none = isinstance(right, ast.Constant) and right.value is None
            if isinstance(operator, ast.Is | ast.IsNot) and not none:
                self.problem(right, "«is» compares with None only.", "Use == to compare values.")
        return ast.Compare(self.rebuild(node.left), node.ops, [self.rebuild(item) for item in node.comparators])

    def _conditional(self, node: ast.IfExp) -> ast.expr:
        return ast.IfExp(self.rebuild(node.test), self.rebuild(node.body), self.rebuild(node.orelse))

    def _subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return self._computed_member(node)
        return ast.Subscript(self.rebuild(node.value), self.rebuild(node.slice), ast.Load())

    def _computed_member(self, node: ast.Subscript) -> ast.expr:
        """``self['stage' + str(i)]`` reads the module's own registry: it can reach nothing but its parts."""
        members = self.scope.members
        if members is None:
            self.problem(node, "There is no self here.")
            return ast.Constant(None)
        head = re.match(r"'([^']*)'", ast.unparse(node.slice))
        registry = ast.Attribute(ast.Name("self", ast.Load()), members.registry(head[1] if head else ""), ast.Load())
        return ast.Subscript(registry, self.rebuild(node.slice), ast.Load())

    def _items(self, node: ast.Tuple | ast.List) -> ast.expr:
        return type(node)([self.element(item) for item in node.elts], ast.Load())

    def _dict(self, node: ast.Dict) -> ast.expr:
        if any(key is None for key in node.keys):
            self.problem(node, "** cannot be used inside a dict.")
        keys: list[ast.expr | None] = [self.rebuild(key) for key in node.keys if key is not None]
        return ast.Dict(keys, [self.rebuild(value) for value in node.values][: len(keys)])

    def _slice(self, node: ast.Slice) -> ast.expr:
        bounds = (node.lower, node.upper, node.step)
        return ast.Slice(*(None if bound is None else self.rebuild(bound) for bound in bounds))

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> ast.expr:
        inner, generator = self._generator(node, node.generators)
        return type(node)(inner.rebuild(node.elt), [generator])

    def _dict_comprehension(self, node: ast.DictComp) -> ast.expr:
        inner, generator = self._generator(node, node.generators)
        return ast.DictComp(inner.rebuild(node.key), inner.rebuild(node.value), [generator])

    def _generator(self, node: ast.expr, generators: list[ast.comprehension]) -> tuple[Expressions, ast.comprehension]:
        if len(generators) != 1 or generators[0].is_async:
            self.problem(node, "A comprehension has one «for» here.", "Write the outer one as a loop.")
        source = generators[0]
        iterable = self.rebuild(source.iter)
        inner = Expressions(self.library, self.scope.inner(), self.text)
        target = inner.target(source.target)
        return inner, ast.comprehension(target, iterable, [inner.rebuild(test) for test in source.ifs], 0)

    def place(self, node: ast.AST) -> Place:
        """Return where a node stands in the document."""
        return self.text.place_at(node)


_VISITORS: dict[type[ast.AST], Callable[..., ast.expr]] = {
    ast.Constant: Expressions._constant, ast.Name: Expressions._name, ast.Attribute: Expressions._attribute,
    ast.Call: Expressions._call, ast.BinOp: Expressions._binary, ast.UnaryOp: Expressions._unary,
    ast.BoolOp: Expressions._boolean, ast.Compare: Expressions._compare, ast.IfExp: Expressions._conditional,
    ast.Subscript: Expressions._subscript, ast.Tuple: Expressions._items, ast.List: Expressions._items,
    ast.Dict: Expressions._dict, ast.ListComp: Expressions._comprehension, ast.GeneratorExp: Expressions._comprehension,
    ast.DictComp: Expressions._dict_comprehension, ast.Slice: Expressions._slice,
}  # fmt: skip


def _fix(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr | ast.FormattedValue):
        return "Join strings with +, as in 'stage' + str(i)."
    return "Define a function under modules." if isinstance(node, ast.Lambda) else None
