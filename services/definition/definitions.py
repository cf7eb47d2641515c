"""The members of ``modules``: modules, macros and functions."""

from __future__ import annotations

import ast
from typing import Any

from services.definition.initialisers import Initialisers, collect, nested_names
from services.definition.literals import literal
from services.definition.names import check_definition, check_local, check_member
from services.definition.parsing import type_name
from services.definition.positions import module
from services.definition.problems import Place, nearest_hint
from services.definition.program import Function, Module, Parameter
from services.definition.recursion import check_bound
from services.definition.scope import Argument, Heading, Kind, Library, Members, Scope
from services.definition.statements import body

_ALLOWED = {
    "module": {"parameters", "init", "forward", "methods"},
    "macro": {"parameters", "init", "returns"},
    "function": {"arguments", "body", "at_most"},
}


def kind_of(value: dict[str, Any]) -> Kind:
    """Return whether a definition is a module, a macro (it returns modules) or a function."""
    if "returns" in value:
        return "macro"
    return "function" if "body" in value or ("arguments" in value and "forward" not in value) else "module"


def heading(name: str, value: object, place: Place, library: Library) -> None:
    """Note the name, kind and parameters of a definition, and the names it gives to its parts."""
    if not check_definition(name, place, library.problems):
        return
    if not isinstance(value, dict):
        library.problems.add("invalid_argument", f"A definition is an object, not {type_name(value)}.", place)
        return
    kind = kind_of(value)
    for member in value.keys() - _ALLOWED[kind]:
        hint = nearest_hint(member, _ALLOWED[kind])
        library.problems.add("extra_forbidden", f"A {kind} has no {member[:80]!r}.", place.child(member), hint)
    source = value.get("arguments" if kind == "function" else "parameters", [])
    library.headings[name] = Heading(name, kind, _arguments(source), "at_most" in value)
    if kind == "module":
        members = members_of(value)
        library.members |= members.names() | nested_names(value.get("init"))
        library.member_patterns += [pattern for _, pattern in members.patterns]


def _arguments(value: object) -> list[Argument]:
    """Read parameters leniently; ``parameters`` reports what is wrong with them."""
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, str):
            found.append(Argument(item, required=True))
        elif isinstance(item, dict) and isinstance(item.get("name"), str):
            found.append(Argument(item["name"], required="default" not in item))
    return found


def members_of(value: dict[str, Any]) -> Members:
    """Return the names that a module definition declares."""
    members = Members()
    collect(value.get("init"), members)
    members.constants = {argument.name for argument in _arguments(value.get("parameters"))}
    methods = value.get("methods")
    for name, method in methods.items() if isinstance(methods, dict) else ():
        members.methods[name] = _arguments(method.get("arguments") if isinstance(method, dict) else None)
    return members


def definition(name: str, value: dict[str, Any], place: Place, library: Library) -> Module | Function:
    """Check one definition and return its trees."""
    kind = library.headings[name].kind
    if kind == "function":
        return function(name, value, place, library, Scope(name, builds=False, function=name))
    if kind == "macro":
        return _macro(name, value, place, library)
    return _module(name, value, place, library)


def _macro(name: str, value: dict[str, Any], place: Place, library: Library) -> Function:
    scope = Scope(name, builds=True)
    arguments = parameters(value.get("parameters", []), place.child("parameters"), library, scope)
    statements = Initialisers(library, scope).body(value.get("init", []), place.child("init"))
    result = module(value["returns"], place.child("returns"), library, scope)
    return Function(name, arguments, [*statements, ast.Return(result)], place)


def _module(name: str, value: dict[str, Any], place: Place, library: Library) -> Module:
    members = members_of(value)
    scope = Scope(name, builds=True, members=members)
    arguments = parameters(value.get("parameters", []), place.child("parameters"), library, scope)
    initialisers = Initialisers(library, scope)
    statements = initialisers.body(value.get("init", []), place.child("init"))
    forward = _forward(value, place, library, members, name)
    methods = _methods(value.get("methods", {}), place.child("methods"), library, members, name)
    for function_def in initialisers.rules:
        inner = [Parameter(argument.arg) for argument in function_def.args.args[1:]]
        methods.append(Function(function_def.name, inner, function_def.body, place.child("init")))
    constants = [argument.name for argument in arguments if argument.name in members.read_constants]
    constructor = Function("__init__", arguments, statements, place)
    return Module(name, constructor, forward, methods, constants, frozenset(members.buffers))


def _forward(value: dict[str, Any], place: Place, library: Library, members: Members, name: str) -> Function:
    where = place.child("forward")
    if "forward" not in value:
        library.problems.add("missing", f"{name} needs a forward.", place, 'Add "forward": ["return self.layer(x)"].')
        return Function("forward", [Parameter("x")], [ast.Pass()], where)
    scope = Scope(name, builds=False, members=members, function=f"{name}.forward")
    source = value["forward"]
    if isinstance(source, list):
        scope.locals.add("x")
        return Function("forward", [Parameter("x")], body(source, where, library, scope), where)
    return function("forward", source, where, library, scope)


def function(name: str, value: object, place: Place, library: Library, scope: Scope) -> Function:
    """Check ``{"arguments": […], "body": […], "at_most"?: n}``."""
    if not isinstance(value, dict):
        detail = f'A function is {{"arguments", "body"}}, not {type_name(value)}.'
        library.problems.add("invalid_argument", detail, place)
        return Function(name, [], [ast.Pass()], place)
    for member in value.keys() - _ALLOWED["function"]:
        hint = nearest_hint(member, _ALLOWED["function"])
        library.problems.add("extra_forbidden", f"A function has no {member[:80]!r}.", place.child(member), hint)
    arguments = parameters(value.get("arguments", []), place.child("arguments"), library, scope)
    if "body" not in value:
        library.problems.add("missing", f"{name} needs a body.", place, 'Add "body": ["return x"].')
        return Function(name, arguments, [ast.Pass()], place)
    statements = body(value["body"], place.child("body"), library, scope)
    bound = check_bound(value["at_most"], place.child("at_most"), library.problems) if "at_most" in value else None
    return Function(name, arguments, statements, place, bound)


def _methods(value: object, place: Place, library: Library, members: Members, owner: str) -> list[Function]:
    if not isinstance(value, dict):
        library.problems.add("invalid_argument", f"methods is an object, not {type_name(value)}.", place)
        return []
    found = []
    parts = members.children | members.parameters | members.buffers | members.values
    for name, source in value.items():
        where = place.child(name)
        check_member(name, where, library.problems)
        if name in parts:
            library.problems.add("duplicate_name", f"The name {name!r} is used twice.", where, "Rename one of them.")
        scope = Scope(owner, builds=False, members=members, function=f"{owner}.{name}")
        found.append(function(name, source, where, library, scope))
    return found


def parameters(value: object, place: Place, library: Library, scope: Scope) -> list[Parameter]:
    """Check an array of ``"name"`` and ``{"name", "default"}``, and bind the names."""
    if not isinstance(value, list):
        library.problems.add("list_type", f"An array of names is expected here, not {type_name(value)}.", place)
        return []
    found: list[Parameter] = []
    for index, item in enumerate(value):
        parameter = _parameter(item, place.child(index), library)
        if parameter is None:
            continue
        if parameter.name in {other.name for other in found}:
            detail = f"The name {parameter.name!r} is used twice."
            library.problems.add("duplicate_name", detail, place.child(index), "Rename one of them.")
            continue
        if parameter.default is None and found and found[-1].default is not None:
            detail = f"{parameter.name!r} has no default but follows one that has."
            library.problems.add("invalid_argument", detail, place.child(index), "Put it first, or give a default.")
        scope.locals.add(parameter.name)
        found.append(parameter)
    return found


def _parameter(item: object, place: Place, library: Library) -> Parameter | None:
    if isinstance(item, str):
        return Parameter(item) if check_local(item, place, library.problems) else None
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        detail = 'A parameter is "name" or {"name": …, "default": …}.'
        library.problems.add("invalid_argument", detail, place)
        return None
    for member in item.keys() - {"name", "default"}:
        library.problems.add("extra_forbidden", f"A parameter has no {member[:80]!r}.", place.child(member))
    name = item["name"]
    if not check_local(name, place.child("name"), library.problems):
        return None
    default = literal(item["default"], place.child("default"), library.problems) if "default" in item else None
    return Parameter(name, default)
