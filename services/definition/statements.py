"""Bodies: statements in strings, and the blocks for, if and while."""

from __future__ import annotations

import ast

from services.definition.expressions import Expressions
from services.definition.limits import MAX_AT_MOST
from services.definition.parsing import parse_loop_head, parse_statement, type_name
from services.definition.positions import expression
from services.definition.problems import Place, mark, nearest_hint
from services.definition.scope import Library, Scope

_BLOCKS = {"for": {"for", "do"}, "if": {"if", "then", "else"}, "while": {"while", "at_most", "do"},
           "no_grad": {"no_grad"}}  # fmt: skip


def body(value: object, place: Place, library: Library, scope: Scope) -> list[ast.stmt]:
    """Check an array of statements and return them; an empty one becomes ``pass``."""
    if not isinstance(value, list):
        detail = f"An array of statements is expected here, not {type_name(value)}."
        library.problems.add("list_type", detail, place)
        return [ast.Pass()]
    found = [node for index, item in enumerate(value) for node in statement(item, place.child(index), library, scope)]
    return found or [ast.Pass()]


def statement(value: object, place: Place, library: Library, scope: Scope) -> list[ast.stmt]:
    """Check one statement position."""
    if isinstance(value, dict):
        return [mark(_block(value, place, library, scope), place)]
    parsed = parse_statement(value, place, library.problems)
    if parsed is None:
        return []
    node, text = parsed
    rebuilt = Statements(library, scope, Expressions(library, scope, text)).rebuild(node)
    return [] if rebuilt is None else [mark(rebuilt, place.at(1))]


def _block(value: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.stmt:
    kind = next((name for name in _BLOCKS if name in value), None)
    if kind is None:
        known = ", ".join(value)[:80]
        library.problems.add("invalid_expression", f"A block is for, if, while or no_grad; this has {known!r}.", place)
        return ast.Pass()
    for name in value.keys() - _BLOCKS[kind]:
        hint = nearest_hint(name, _BLOCKS[kind])
        library.problems.add("extra_forbidden", f"A {kind} block has no {name[:80]!r}.", place.child(name), hint)
    makers = {"for": _for, "if": _if, "while": _while, "no_grad": _no_grad}
    return makers[kind](value, place, library, scope)


def _for(value: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.stmt:
    target, iterable = loop_head(value["for"], place.child("for"), library, scope)
    scope.loops += 1
    inside = _required_body(value, "do", place, library, scope)
    scope.loops -= 1
    return ast.For(target, iterable, inside, [])


def loop_head(value: object, place: Place, library: Library, scope: Scope) -> tuple[ast.expr, ast.expr]:
    """Check «x in e» and bind its names."""
    parsed = parse_loop_head(value, place, library.problems)
    if parsed is None:
        return ast.Name("_", ast.Store()), ast.Tuple([], ast.Load())
    loop, text = parsed
    checker = Expressions(library, scope, text)
    iterable = checker.rebuild(loop.iter)
    return checker.target(loop.target), iterable


def _if(value: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.stmt:
    test = expression(value["if"], place.child("if"), library, scope)
    then = _required_body(value, "then", place, library, scope)
    otherwise = body(value["else"], place.child("else"), library, scope) if value.get("else") else []
    return ast.If(test, then, otherwise)


def _no_grad(value: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.stmt:
    inside = body(value["no_grad"], place.child("no_grad"), library, scope)
    return without_gradients(inside, place, library)


def without_gradients(inside: list[ast.stmt], place: Place, library: Library) -> ast.stmt:
    """Return ``with torch.no_grad():`` around statements that do not leave it."""
    if any(map(_leaves, inside)):
        hint = "Give the result a name inside, and return it after the block."
        library.problems.add("invalid_expression", "return, break and continue do not stand in no_grad.", place, hint)
    call = ast.Call(ast.Attribute(ast.Name("torch", ast.Load()), "no_grad", ast.Load()), [], [])
    return ast.With([ast.withitem(call)], inside or [ast.Pass()])


def _leaves(statement: ast.stmt) -> bool:
    """Return whether a statement may leave the block around it; loops keep their own break and continue."""
    if isinstance(statement, ast.For):
        return any(isinstance(node, ast.Return) for node in ast.walk(statement))
    inside = [*statement.body, *getattr(statement, "orelse", [])] if isinstance(statement, ast.If | ast.With) else []
    return isinstance(statement, ast.Return | ast.Break | ast.Continue) or any(map(_leaves, inside))


def _required_body(value: dict[str, object], name: str, place: Place, library: Library, scope: Scope) -> list[ast.stmt]:
    if name not in value:
        library.problems.add("missing", f"This block needs {name!r}.", place, f'Add "{name}": [ … ].')
        return [ast.Pass()]
    return body(value[name], place.child(name), library, scope)


def _while(value: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.stmt:
    """A while becomes a for with a bound: the same turns, and an error where it would go on for ever."""
    bound = _bound(value, place, library)
    test = expression(value["while"], place.child("while"), library, scope)
    again = expression(value["while"], place.child("while"), library, scope)
    scope.loops += 1
    inside = _required_body(value, "do", place, library, scope)
    scope.loops -= 1
    leave = ast.If(mark(ast.UnaryOp(ast.Not(), test), place.child("while").at(1)), [ast.Break()], [])
    message = ast.Constant(f"the loop still goes on after {bound} turns")
    failure = ast.Raise(ast.Call(ast.Name("RuntimeError", ast.Load()), [message], []), None)
    turns = ast.Call(ast.Name("range", ast.Load()), [ast.Constant(bound)], [])
    return ast.For(ast.Name("_", ast.Store()), turns, [leave, *inside], [ast.If(again, [failure], [])])


def _bound(value: dict[str, object], place: Place, library: Library) -> int:
    if "at_most" not in value:
        hint = 'Add "at_most": 1000.'
        library.problems.add("loop_bound_required", "A while loop must say how often it may turn.", place, hint)
        return 1
    bound, where = value["at_most"], place.child("at_most")
    if isinstance(bound, bool) or not isinstance(bound, int):
        library.problems.add("int_type", "at_most is an integer.", where)
    elif not 1 <= bound <= MAX_AT_MOST:
        library.problems.add("out_of_range", f"at_most must lie between 1 and {MAX_AT_MOST}.", where)
    else:
        return bound
    return 1


class Statements:
    """Rebuilds the one statement of a string."""

    def __init__(self, library: Library, scope: Scope, expressions: Expressions) -> None:
        self.library = library
        self.scope = scope
        self.expressions = expressions

    def rebuild(self, node: ast.stmt) -> ast.stmt | None:
        """Return the checked copy of a simple statement, or ``None`` when it is not one."""
        if isinstance(node, ast.Assign):
            return self._assign(node)
        if isinstance(node, ast.AugAssign):
            return self._augmented(node)
        if isinstance(node, ast.Expr):
            return ast.Expr(self.expressions.rebuild(node.value))
        if isinstance(node, ast.Return):
            value = ast.Constant(None) if node.value is None else self.expressions.rebuild(node.value)
            return ast.Return(value)
        if isinstance(node, ast.Assert):
            message = node.msg if isinstance(node.msg, ast.Constant) else None
            return ast.Assert(self.expressions.rebuild(node.test), message and self.expressions.rebuild(message))
        return self._jump(node)

    def _jump(self, node: ast.stmt) -> ast.stmt | None:
        if isinstance(node, ast.Pass):
            return ast.Pass()
        if isinstance(node, ast.Break | ast.Continue):
            if not self.scope.loops:
                self.expressions.problem(node, "break and continue stand inside a loop.")
            return type(node)()
        detail = f"{type(node).__name__} statements are not part of the language."
        hint = 'Write blocks as objects: {"for": …, "do": […]}.' if isinstance(node, ast.For | ast.If) else None
        hint = 'Write {"no_grad": […]} for torch.no_grad().' if isinstance(node, ast.With) else hint
        self.expressions.problem(node, detail, hint)
        return None

    def _assign(self, node: ast.Assign) -> ast.stmt | None:
        if len(node.targets) != 1:
            self.expressions.problem(node, "One assignment in each string.", "Split a = b = c into two.")
            return None
        value = self.expressions.rebuild(node.value)
        return ast.Assign([self._target(node.targets[0])], value)

    def _augmented(self, node: ast.AugAssign) -> ast.stmt:
        load = ast.BinOp(node.target, node.op, node.value)
        value = self.expressions.rebuild(ast.copy_location(load, node))
        target = self._target(node.target)
        right = value.right if isinstance(value, ast.BinOp) else ast.Constant(None)
        named = target if isinstance(target, ast.Name | ast.Attribute | ast.Subscript) else ast.Name("_", ast.Store())
        return ast.AugAssign(named, node.op, right)

    def _target(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Attribute):
            return self._buffer(node)
        if isinstance(node, ast.Subscript):
            rebuilt = self.expressions.rebuild(node)
            if isinstance(rebuilt, ast.Subscript):
                return ast.Subscript(rebuilt.value, rebuilt.slice, ast.Store())
            return ast.Name("_", ast.Store())
        if isinstance(node, ast.Tuple) and any(isinstance(item, ast.Attribute) for item in node.elts):
            return ast.Tuple([self._target(item) for item in node.elts], ast.Store())
        return self.expressions.target(node)

    def _buffer(self, node: ast.Attribute) -> ast.expr:
        members = self.scope.members
        own = isinstance(node.value, ast.Name) and node.value.id == "self"
        if self.scope.builds:
            self.expressions.problem(node, "Parts are declared, not assigned.", 'Write {"name": …} as an init item.')
        elif not own or members is None or node.attr not in members.buffers:
            known = nearest_hint(node.attr, members.buffers if members else ())
            fix = known or f'Declare {{"{node.attr}": {{"buffer": …}}}} in init.'
            self.expressions.problem(node, "Only declared buffers may be assigned on self.", fix)
        return ast.Attribute(ast.Name("self", ast.Load()), node.attr, ast.Store())
