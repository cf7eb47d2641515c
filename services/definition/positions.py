"""Module positions: ``{"type": …}`` objects, containers, and constructor expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable

from services.definition.arguments import as_entry, check_names
from services.definition.catalog import CATALOG, Entry
from services.definition.constraints import check_layer
from services.definition.expressions import Expressions
from services.definition.literals import check_type, literal
from services.definition.names import check_member
from services.definition.parsing import parse_expression, type_name
from services.definition.problems import Place, mark, nearest_hint
from services.definition.scope import Library, Scope
from services.definition.tree import Node

_LAYER_MEMBERS = {"Sequential": "layers", "ModuleList": "layers", "ModuleDict": "layers",
                  "ParameterList": "parameters", "ParameterDict": "parameters"}  # fmt: skip
NOTHING = ast.Constant(None)


def expression(source: object, place: Place, library: Library, scope: Scope) -> ast.expr:
    """Check one expression position; numbers, booleans and null may stand for themselves."""
    if source is None or isinstance(source, bool | int | float):
        return literal(source, place, library.problems)
    parsed = parse_expression(source, place, library.problems)
    if parsed is None:
        return ast.Constant(None)
    node, text = parsed
    return Expressions(library, scope, text).rebuild(node)


def module(value: object, place: Place, library: Library, scope: Scope) -> ast.expr:
    """Check one module position and return the constructor call."""
    if isinstance(value, str):
        return _constructor_text(value, place, library, scope)
    if not isinstance(value, dict):
        detail = f'A module is an object with a type, or a string like "ReLU()"; this is {type_name(value)}.'
        library.problems.add("invalid_argument", detail, place)
        return ast.Constant(None)
    return mark(_object(value, place, library, scope), place)


def _constructor_text(source: str, place: Place, library: Library, scope: Scope) -> ast.expr:
    name = source.strip()
    if name.isidentifier() and name not in scope.locals and (name in CATALOG.classes or name in library.headings):
        detail = f"{name!r} names a class; a module is made by calling it."
        library.problems.add("invalid_expression", detail, place.at(1), f"Write {name}(…).")
        return ast.Constant(None)
    if name.isidentifier() and name not in scope.locals:
        known = [*CATALOG.classes, *library.headings]
        library.problems.unknown("unknown_type", "layer or definition", name, known, place.at(1))
        return ast.Constant(None)
    return expression(source, place, library, scope)


def _object(value: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.expr:
    kind = value.get("type")
    if not isinstance(kind, str):
        code, detail = ("missing", "A module needs a type.") if kind is None else ("string_type", "type is a string.")
        library.problems.add(code, detail, place.child("type") if "type" in value else place, 'Add "type": "Linear".')
        return ast.Constant(None)
    members = {name: item for name, item in value.items() if name not in {"type", "trainable"}}
    call = _call(kind, members, place, library, scope)
    return _frozen(call, value, place, library) if "trainable" in value else call


def _frozen(call: ast.expr, value: dict[str, object], place: Place, library: Library) -> ast.expr:
    flag = value["trainable"]
    check_type("bool", flag, "trainable", place.child("trainable"), library.problems, optional=False)
    if flag is not False:
        return call
    method = ast.Attribute(mark(call, place), "requires_grad_", ast.Load())
    return ast.Call(method, [ast.Constant(False)], [])


def _call(kind: str, members: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.expr:
    if kind in _LAYER_MEMBERS:
        return _container(kind, members, place, library, scope)
    if kind in CATALOG.classes:
        function: ast.expr = ast.Attribute(ast.Name("nn", ast.Load()), kind, ast.Load())
        entry = CATALOG.classes[kind]
    elif kind in library.headings and library.headings[kind].kind != "function":
        library.calls.setdefault(scope.owner, set()).add(kind)
        function, entry = ast.Name(kind, ast.Load()), as_entry(kind, library.headings[kind].arguments)
    else:
        known = [*CATALOG.classes, *library.headings]
        library.problems.unknown("unknown_type", "layer or definition", kind, known, place.child("type"))
        return ast.Constant(None)
    return ast.Call(function, [], _keywords(entry, members, place, library, scope))


def _keywords(
    entry: Entry, members: dict[str, object], place: Place, library: Library, scope: Scope
) -> list[ast.keyword]:
    places = {name: place.child(name) for name in members}
    check_names(places, entry.name, entry.parameters, place, library.problems)
    table = {parameter.name: parameter for parameter in entry.parameters}
    keywords = []
    for name, value in members.items():
        parameter = table.get(name)
        if parameter is None:
            continue
        if parameter.type == "module" or (isinstance(value, dict) and "type" in value):
            argument = NOTHING if value is None else module(value, places[name], library, scope)
        else:
            optional = parameter.default is None
            check_type(parameter.type, value, name, places[name], library.problems, optional=optional)
            argument = literal(value, places[name], library.problems)
        keywords.append(ast.keyword(name, argument))
    if entry.name in CATALOG.classes:
        known = {name: value for name, value in members.items() if not isinstance(value, str | bool)}
        key, found = f"{entry.name}{known!r}", len(library.problems.found)
        if key not in library.sound:
            check_layer(Node(entry.name, place, known, places=places), library.problems)
        if len(library.problems.found) == found:
            library.sound.add(key)
    return keywords


def _container(kind: str, members: dict[str, object], place: Place, library: Library, scope: Scope) -> ast.expr:
    key = _LAYER_MEMBERS[kind]
    for name in members:
        if name != key:
            hint = nearest_hint(name, [key]) or f"{kind} takes {key}."
            library.problems.add("extra_forbidden", f"{kind} has no argument {name[:80]!r}.", place.child(name), hint)
    if key not in members and kind == "Sequential":
        library.problems.add("missing", f"{kind} needs {key!r}.", place, f'Add "{key}": [ … ].')
    items = _members(members.get(key, []), place.child(key), library)
    position: Callable[..., ast.expr] = module if key == "layers" else parameter_value
    parts = [(name, position(value, where, library, scope)) for name, value, where in items]
    return ast.Call(ast.Attribute(ast.Name("nn", ast.Load()), kind, ast.Load()), _container_arguments(kind, parts), [])


def _container_arguments(kind: str, parts: list[tuple[str | None, ast.expr]]) -> list[ast.expr]:
    values = [value for _, value in parts]
    named = any(name is not None for name, _ in parts)
    if kind in {"ModuleDict", "ParameterDict"} or named:
        keys: list[ast.expr | None] = [ast.Constant(name or str(index)) for index, (name, _) in enumerate(parts)]
        table = ast.Dict(keys, values)
        ordered = kind == "Sequential"
        return [ast.Call(ast.Name("OrderedDict", ast.Load()), [table], [])] if ordered else [table]
    return values if kind == "Sequential" else [ast.List(values, ast.Load())]


def parameter_value(value: object, place: Place, library: Library, scope: Scope) -> ast.expr:
    """Check an expression that becomes a parameter, and return ``nn.Parameter(…)``."""
    trainable = True
    if isinstance(value, dict):
        trainable = value.get("trainable", True) is not False
        for name in value.keys() - {"parameter", "trainable"}:
            library.problems.add("extra_forbidden", f"A parameter has no {name[:80]!r}.", place.child(name))
        if "parameter" not in value:
            library.problems.add("missing", "A parameter needs an expression.", place, 'Add "parameter": "zeros(3)".')
            return ast.Constant(None)
        value, place = value["parameter"], place.child("parameter")
    keywords = [] if trainable else [ast.keyword("requires_grad", ast.Constant(False))]
    node = expression(value, place, library, scope)
    function = ast.Attribute(ast.Name("nn", ast.Load()), "Parameter", ast.Load())
    return mark(ast.Call(function, [node], keywords), place_of_expression(place))


def place_of_expression(place: Place) -> Place:
    """Return the place of the first character of a string position."""
    return place.at(1)


def _members(value: object, place: Place, library: Library) -> list[tuple[str | None, object, Place]]:
    """Return (name, value, place) for an array, an array of ``{"name": module}``, or an object."""
    if isinstance(value, dict) and "type" not in value:
        found = [(name, item, place.child(name)) for name, item in value.items()]
    elif isinstance(value, list):
        found = [_member(item, place.child(index)) for index, item in enumerate(value)]
    else:
        library.problems.add("list_type", f"An array is expected here, not {type_name(value)}.", place)
        return []
    seen: set[str] = set()
    for name, _, where in found:
        if name is None:
            continue
        check_member(name, where, library.problems)
        if name in seen:
            library.problems.add("duplicate_name", f"The name {name!r} is used twice.", where, "Rename one of them.")
        seen.add(name)
    return found


def _member(item: object, place: Place) -> tuple[str | None, object, Place]:
    if isinstance(item, dict) and len(item) == 1 and "type" not in item and "parameter" not in item:
        name, value = next(iter(item.items()))
        return name, value, place.child(name)
    return None, item, place
