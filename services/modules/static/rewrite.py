"""The static variant of a body: branches and loops as functions that operations of a graph choose and repeat.

``if c: x = a`` becomes ``x, = _choose(1, c, _then_1, _else_1, (x,))``, a bounded ``while`` becomes ``_repeat``. Both do
what Python does while the condition is a Python value; where it is a tensor they become `torch.cond` and
`torch.while_loop` (`services.modules.static.helpers`). ``break``, ``continue``, ``return`` become conditions first.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from services.definition.problems import Place, mark, place_of
from services.definition.program import Function, Module, Program
from services.modules.static.jumps import JUMPS, Logic, as_while, returning, straight
from services.modules.static.names import bound, has, needed, read, writes_elsewhere
from services.modules.static.syntax import (
    assign,
    call,
    flag,
    function_of,
    name_of,
    out_of_place,
    place,
    thunk,
    tuple_of,
)

_Node = TypeVar("_Node", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Site:
    """A branch or a loop of a definition; ``number`` is its name in the static variant."""

    number: int
    kind: str
    """``if``, ``while`` or ``for``."""
    place: Place | None
    text: str
    kept: str | None = None
    """Why it stays plain Python: then it must not depend on the values of tensors."""
    own: bool = True
    """False for a condition that stands for a ``break``."""


def static_program(program: Program) -> tuple[Program, list[Site]]:
    """Return the program with every body that runs in a forward rewritten, and the sites in it."""
    rewriter = _Rewriter()
    definitions: dict[str, Module | Function] = {}
    for name, item in program.definitions.items():
        if isinstance(item, Module):
            methods = [rewriter.function(method) for method in item.methods]
            forward = rewriter.function(item.forward)
            definitions[name] = replace(item, forward=forward, methods=methods)
        else:
            definitions[name] = item if name in program.macros else rewriter.function(item)
    return replace(program, definitions=definitions), rewriter.sites


class _Rewriter:
    def __init__(self) -> None:
        self.sites: list[Site] = []

    def function(self, function: Function) -> Function:
        """Return the function with its body rewritten."""
        known = {"self", *(argument.name for argument in function.arguments)}
        body = self._block(copy.deepcopy(function.body), after=set(), known=known, tail=True)
        return replace(function, body=body or [ast.Pass()])

    def _block(self, statements: Sequence[ast.stmt], *, after: set[str], known: set[str], tail: bool) -> list[ast.stmt]:
        """Rewrite statements behind which ``after`` are needed; ``tail`` means that their end is the function's."""
        made: list[ast.stmt] = []
        known = set(known)
        for index, statement in enumerate(statements):
            rest = statements[index + 1 :]
            if isinstance(statement, ast.If) and has((ast.Return,), [statement]):
                if tail and (branches := returning(statement, rest)) is not None:
                    return [*made, *self._return(statement, *branches, known)]
                made.append(self._keep(statement, "a return inside a loop"))
            elif isinstance(statement, ast.If):
                made += self._branch(statement, needed(rest, after), known)
            elif isinstance(statement, ast.For):
                made += self._loop(statement, needed(rest, after), known)
            else:
                made.append(self._selections(out_of_place(statement) if not tail else statement, statement))
            known |= set(bound([statement]))
        return made

    def _branch(self, statement: ast.If, live: set[str], known: set[str]) -> list[ast.stmt]:
        both = [*statement.body, *statement.orelse]
        if has(JUMPS, both, loops=False):
            return [self._keep(statement, "a break or continue that could not be made a condition")]
        if (written := writes_elsewhere(both)) is not None:
            return [self._keep(statement, f"it assigns {ast.unparse(written)}, which is no local name")]
        names = bound(both)
        outputs = [name for name in names if name in live]
        wanted = needed(statement.body, set(outputs)) | needed(statement.orelse, set(outputs))
        arguments = [name for name in names if name in known and name in wanted]
        number = self.site("if", statement, statement.test)
        functions = [
            self._part(f"_{word}_{number}", body, arguments, outputs, known)
            for word, body in (("then", statement.body), ("else", statement.orelse))
        ]
        made_call = call(
            "_choose",
            number,
            self._test(statement.test, statement),
            *(name_of(one.name) for one in functions),
            tuple_of(arguments),
        )
        return [*functions, mark(assign(outputs, made_call), place(statement))]

    def _part(
        self, name: str, body: list[ast.stmt], arguments: list[str], outputs: list[str], known: set[str]
    ) -> ast.FunctionDef:
        own = set(bound(body))
        missing = [assign([one], ast.Constant(None), single=True) for one in outputs if one not in own | set(arguments)]
        inside = self._block(body, after=set(outputs), known=known, tail=False)
        return function_of(name, arguments, [*missing, *inside, ast.Return(tuple_of(outputs))])

    def _return(
        self, statement: ast.If, then: list[ast.stmt], other: list[ast.stmt], known: set[str]
    ) -> list[ast.stmt]:
        """Make the rest of the function the other branch of an early return."""
        arguments = [name for name in bound([*then, *other]) if name in known]
        number = self.site("if", statement, statement.test)
        functions = [
            function_of(f"_{word}_{number}", arguments, self._block(body, after=set(), known=known, tail=True))
            for word, body in (("then", then), ("else", other))
        ]
        made_call = call(
            "_choose",
            number,
            self._test(statement.test, statement),
            *(name_of(one.name) for one in functions),
            tuple_of(arguments),
        )
        return [*functions, mark(ast.Return(made_call), place(statement))]

    def _chosen(
        self, number: int, statement: ast.If, functions: list[ast.FunctionDef], arguments: list[str]
    ) -> ast.expr:
        parts = [name_of(one.name) for one in functions]
        return call("_choose", number, self._test(statement.test, statement), *parts, tuple_of(arguments))

    def _loop(self, statement: ast.For, live: set[str], known: set[str]) -> list[ast.stmt]:
        if has((ast.Return,), [statement]):
            return [self._keep(statement, "a return inside a loop")]
        if (bounded := as_while(statement)) is not None:
            return self._while(statement, *bounded, live, known)
        number = self.site("for", statement, statement.target, statement.iter)
        body, before = self._without_breaks(statement, statement.body, number)
        if before:
            body = [mark(ast.If(name_of(flag(number)), body, []), place(statement))]
        inner = set(bound([*before, statement])) | known
        after = live | needed([ast.For(statement.target, statement.iter, body, [])], live)
        inside = self._block(body, after=after, known=inner, tail=False)
        # A name that only a turn before may have bound: a branch of the first turn is given it too.
        names = [name for name in bound(body) if name in needed(body, after) - known - set(bound(before))]
        before = [*before, *(assign([name], ast.Constant(None), single=True) for name in names)]
        items = call("_counted", number, self._selections(statement.iter, statement))
        loop = ast.For(statement.target, items, inside, [])
        return [*before, mark(loop, place(statement))]

    def _without_breaks(
        self, statement: ast.For, body: list[ast.stmt], number: int
    ) -> tuple[list[ast.stmt], list[ast.stmt]]:
        """Return the body without jumps, and what must stand before the loop."""
        if not has(JUMPS, body, loops=False):
            return body, []
        breaks = has((ast.Break,), body, loops=False)
        return straight(body, flag(number)), [assign([flag(number)], ast.Constant(True), single=True)] * breaks

    def _while(  # noqa: PLR0917 - private, and all of it is needed
        self, statement: ast.For, test: ast.expr, body: list[ast.stmt], limit: int, live: set[str], known: set[str]
    ) -> list[ast.stmt]:
        if (written := writes_elsewhere(body)) is not None:
            return [self._keep(statement, f"it assigns {ast.unparse(written)}, which is no local name")]
        number = self.site("while", statement, test)
        straight, before = self._without_breaks(statement, body, number)
        if before:
            test = ast.BoolOp(ast.And(), [name_of(flag(number)), test])
        wanted = live | read(test) | needed(straight, set())
        carried = [name for name in [*bound(before), *bound(body)] if name in wanted or name == flag(number)]
        carried = list(dict.fromkeys(carried))
        inside = self._block(straight, after=set(carried) | read(test), known=known | set(carried), tail=False)
        missing = [
            assign([name], ast.Constant(None), single=True)
            for name in carried
            if name not in known and name != flag(number)
        ]
        asks = function_of(f"_test_{number}", carried, [ast.Return(self._test(test, statement))])
        turn = function_of(f"_turn_{number}", carried, [*inside, ast.Return(tuple_of(carried))])
        made_call = call("_repeat", number, name_of(asks.name), name_of(turn.name), tuple_of(carried), limit)
        return [*missing, *before, asks, turn, mark(assign(carried, made_call), place(statement))]

    def _test(self, test: ast.expr, statement: ast.stmt) -> ast.expr:
        """Return a condition whose parts may be tensors."""
        return Logic().visit(self._selections(test, statement))  # type: ignore[no-any-return]

    def _selections(self, node: _Node, statement: ast.stmt) -> _Node:
        """Make every ``a if c else b`` inside a node a choice between two functions."""
        return _Selections(self, statement).visit(node)  # type: ignore[no-any-return]

    def site(self, kind: str, statement: ast.stmt, *shown: ast.expr, kept: str | None = None) -> int:
        """Note a branch or a loop and return its number."""
        text = " in ".join(ast.unparse(one) for one in shown)
        number = len(self.sites) + 1
        self.sites.append(Site(number, kind, place_of(statement), text, kept, own=not text.startswith("_on_")))
        return number

    def _keep(self, statement: ast.If | ast.For, why: str) -> ast.stmt:
        if isinstance(statement, ast.If):
            self.site("if", statement, statement.test, kept=why)
        elif (bounded := as_while(statement)) is not None:
            self.site("while", statement, bounded[0], kept=why)
        else:
            self.site("for", statement, statement.target, statement.iter, kept=why)
        return statement


class _Selections(ast.NodeTransformer):
    def __init__(self, rewriter: _Rewriter, statement: ast.stmt) -> None:
        self._rewriter = rewriter
        self._statement = statement

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """Make a selection a choice between two functions."""
        number = self._rewriter.site("if", self._statement, node.test)
        test = Logic().visit(self.visit(node.test))
        ways = (thunk(self.visit(node.body)), thunk(self.visit(node.orelse)))
        return mark(call("_choose", number, test, *ways, tuple_of(())), place(node))
