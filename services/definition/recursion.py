"""Functions and methods that call themselves: each says how deep (``at_most``), and its source counts down."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from services.definition.limits import MAX_RECURSION
from services.definition.problems import Place, Problems
from services.definition.program import Function, Module
from services.definition.scope import Library

COUNTER = "_left"
"""The argument that counts down; no name of a document begins with an underscore."""


def check_bound(value: object, place: Place, problems: Problems) -> int:
    """Check the member ``at_most`` of a function."""
    if isinstance(value, bool) or not isinstance(value, int):
        problems.add("int_type", "at_most is an integer.", place)
    elif not 1 <= value <= MAX_RECURSION:
        problems.add("out_of_range", f"at_most must lie between 1 and {MAX_RECURSION} here.", place)
    else:
        return value
    return 1


def bound_recursion(definitions: Mapping[str, Module | Function], library: Library) -> None:
    """Make every function that reaches itself count down, and note those that do not say from where.

    Functions that call each other pass one count along: the first one's ``at_most`` holds for all.
    """
    functions = dict(_functions(definitions))
    edges: dict[str, set[str]] = {name: set() for name in functions}
    for caller, callee, _ in library.invocations:
        if caller in functions and callee in functions:
            edges[caller].add(callee)
    circle = _circles(edges)
    for name, function in functions.items():
        _check(name, function, circle, edges, library.problems)
    for caller, callee, call in library.invocations:
        if caller in circle and circle[caller] == circle.get(callee):
            left = ast.BinOp(ast.Name(COUNTER, ast.Load()), ast.Sub(), ast.Constant(1))
            call.keywords.append(ast.keyword(COUNTER, left))
    for name in circle:
        guard = ast.Call(ast.Name("_descend", ast.Load()), [ast.Name(COUNTER, ast.Load())], [])
        functions[name].body = [ast.Expr(guard), *functions[name].body]
        library.helpers.add("_descend")


def _functions(definitions: Mapping[str, Module | Function]) -> Iterable[tuple[str, Function]]:
    for name, definition in definitions.items():
        if isinstance(definition, Function):
            yield name, definition
            continue
        yield f"{name}.forward", definition.forward
        yield from ((f"{name}.{method.name}", method) for method in definition.methods)


def _check(
    name: str, function: Function, circle: dict[str, int], edges: dict[str, set[str]], problems: Problems
) -> None:
    if name in circle and function.at_most is None:
        others = sorted(other for other in edges[name] if circle.get(other) == circle[name])
        detail = f"{name} calls itself ({name} → {others[0]}{'' if others[0] == name else f' → … → {name}'}), "
        hint = 'Say how deep it may go: "at_most": 20, beside "arguments" and "body".'
        problems.add("recursive_definition", f"{detail}and does not say how deep.", function.place, hint)
    elif name not in circle and function.at_most is not None:
        detail = f"{name} does not call itself: it needs no at_most."
        problems.add("invalid_argument", detail, function.place.child("at_most"), "Leave it out.")


def _circles(edges: Mapping[str, set[str]]) -> dict[str, int]:
    """Return for every function that reaches itself the number of its circle (Kosaraju's two walks)."""
    reverse: dict[str, set[str]] = {name: set() for name in edges}
    for name, callees in edges.items():
        for callee in callees:
            reverse[callee].add(name)
    found: dict[str, int] = {}
    done: set[str] = set()
    for number, name in enumerate(reversed(_walk(edges, edges, set()))):
        members = _walk([name], reverse, done)
        if len(members) > 1 or (members and name in edges[name]):
            found.update(dict.fromkeys(members, number))
    return found


def _walk(starts: Iterable[str], edges: Mapping[str, set[str]], done: set[str]) -> list[str]:
    """Return what is reached, each after all that it reaches; without recursion, for chains may be long."""
    order: list[str] = []
    waiting = [(name, False) for name in starts]
    while waiting:
        name, left = waiting.pop()
        if left:
            order.append(name)
        elif name not in done:
            done.add(name)
            waiting.append((name, True))
            waiting += [(callee, False) for callee in edges[name] if callee not in done]
    return order
