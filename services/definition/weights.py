"""Tied tensors and weight rules of ``init``."""

from __future__ import annotations

import ast
import re

from services.definition.catalog import CATALOG
from services.definition.expressions import Expressions
from services.definition.parsing import parse_expression, type_name
from services.definition.problems import Place, mark, nearest_hint
from services.definition.scope import Library, Scope

_PATH = re.compile(r"(self\.)?[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9][A-Za-z0-9_]*)*\Z")
_MEMBERS = {"type", "name", "parameter", "init"}
_MODULE = "module"


def tie(value: object, place: Place, library: Library) -> list[ast.stmt]:
    """Check ``{"tie": [first, second, …]}``: every later path becomes the tensor of the first."""
    paths = value if isinstance(value, list) else []
    nodes = [path_node(path, place.child(index), library) for index, path in enumerate(paths)]
    if len(paths) < 2:
        library.problems.add("invalid_argument", "A tie names two paths or more.", place)
        return []
    found: list[ast.stmt] = []
    for index, node in enumerate(nodes[1:], start=1):
        if isinstance(node, ast.Attribute):
            target = ast.Attribute(node.value, node.attr, ast.Store())
            found.append(mark(ast.Assign([target], nodes[0]), place.child(index)))
    return found


def path_node(path: object, place: Place, library: Library) -> ast.expr:
    """Return ``self.blocks[0].attn.weight`` for the path ``blocks.0.attn.weight``."""
    if not isinstance(path, str) or not _PATH.match(path):
        detail = "A path reads as in state_dict: «head.weight», «blocks.0.attn.weight»."
        library.problems.add("invalid_argument", detail, place)
        return ast.Constant(None)
    node: ast.expr = ast.Name("self", ast.Load())
    for name in path.removeprefix("self.").split("."):
        if name.isdigit():
            node = ast.Subscript(node, ast.Constant(int(name)), ast.Load())
            continue
        known = library.members | CATALOG.layer_attributes
        if name not in known and not re.fullmatch(r"(weight|bias)_[ih]h_l\d+(_reverse)?", name):
            hint = nearest_hint(name, known)
            library.problems.add("unknown_name", f"Nothing here is called {name[:80]!r}.", place, hint)
        node = ast.Attribute(node, name, ast.Load())
    return mark(node, place)


def rules(value: object, place: Place, library: Library, number: int) -> tuple[list[ast.FunctionDef], list[ast.stmt]]:
    """Check weight rules; returns the method that ``Module.apply`` runs and the statements of ``__init__``."""
    if not isinstance(value, list):
        library.problems.add("list_type", f"weights is an array of rules, not {type_name(value)}.", place)
        return [], []
    inside: list[ast.stmt] = []
    after: list[ast.stmt] = []
    for index, rule in enumerate(value):
        where = place.child(index)
        if not isinstance(rule, dict):
            library.problems.add("invalid_argument", "A rule is an object.", where)
            continue
        for name in rule.keys() - _MEMBERS:
            hint = nearest_hint(name, _MEMBERS)
            library.problems.add("extra_forbidden", f"A rule has no {name[:80]!r}.", where.child(name), hint)
        chosen = after if "type" not in rule and "name" not in rule else inside
        chosen += _rule(rule, where, library)
    if not inside:
        return [], after
    name = f"_initialise{number or ''}"
    method = ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load())
    apply = ast.Call(ast.Attribute(ast.Name("self", ast.Load()), "apply", ast.Load()), [method], [])
    arguments = ast.arguments([], [ast.arg("self"), ast.arg(_MODULE)], None, [], [], None, [])
    function = ast.FunctionDef(name, arguments, inside, [], None)
    return [function], [mark(ast.Expr(apply), place), *after]


def _rule(rule: dict[str, object], place: Place, library: Library) -> list[ast.stmt]:
    if "init" not in rule:
        library.problems.add("missing", "A rule needs init.", place, 'Add "init": "kaiming_normal_()".')
        return []
    parameter = rule.get("parameter", "weight")
    if not isinstance(parameter, str) or not _PATH.match(parameter):
        library.problems.add("invalid_argument", "parameter is a name such as weight.", place.child("parameter"))
        return []
    if "type" not in rule and "name" not in rule:
        return [_by_parameter(parameter, rule, place, library)]
    test = _by_type(rule["type"], place.child("type"), library) if "type" in rule else _by_name(rule, place, library)
    tensor = ast.Attribute(ast.Name(_MODULE, ast.Load()), parameter.split(".")[-1], ast.Load())
    default = ast.Call(ast.Name("getattr", ast.Load()), [ast.Name(_MODULE, ast.Load()),
                       ast.Constant(tensor.attr), ast.Constant(None)], [])  # fmt: skip
    present = ast.Compare(default, [ast.IsNot()], [ast.Constant(None)])
    condition = ast.BoolOp(ast.And(), [test, present])
    return [ast.If(condition, [_fill(rule["init"], tensor, place.child("init"), library)], [])]


def _by_type(value: object, place: Place, library: Library) -> ast.expr:
    names = value if isinstance(value, list) else [value]
    classes: list[ast.expr] = []
    for name in names:
        if isinstance(name, str) and name in CATALOG.classes:
            classes.append(ast.Attribute(ast.Name("nn", ast.Load()), name, ast.Load()))
        elif isinstance(name, str) and name in library.headings and library.headings[name].kind == "module":
            classes.append(ast.Name(name, ast.Load()))
        else:
            known = [*CATALOG.classes, *library.headings]
            library.problems.unknown("unknown_type", "layer or definition", str(name), known, place)
    kinds = classes[0] if len(classes) == 1 else ast.Tuple(classes, ast.Load())
    return ast.Call(ast.Name("isinstance", ast.Load()), [ast.Name(_MODULE, ast.Load()), kinds], [])


def _by_name(rule: dict[str, object], place: Place, library: Library) -> ast.expr:
    node = path_node(rule["name"], place.child("name"), library)
    return ast.Compare(ast.Name(_MODULE, ast.Load()), [ast.Is()], [node])


def _by_parameter(suffix: str, rule: dict[str, object], place: Place, library: Library) -> ast.stmt:
    """``for name, parameter in self.named_parameters(): if name.endswith(…)``, in their order."""
    name, tensor = ast.Name("name", ast.Load()), ast.Name("parameter", ast.Load())
    function = ast.Attribute(name, "endswith", ast.Load())
    test = ast.Call(function, [ast.Constant(suffix)], [])
    walk = ast.Attribute(ast.Name("self", ast.Load()), "named_parameters", ast.Load())
    inside = ast.If(test, [_fill(rule["init"], tensor, place.child("init"), library)], [])
    target = ast.Tuple([ast.Name("name", ast.Store()), ast.Name("parameter", ast.Store())], ast.Store())
    return mark(ast.For(target, ast.Call(walk, [], []), [inside], []), place)


def _fill(value: object, tensor: ast.expr, place: Place, library: Library) -> ast.stmt:
    """Check ``"kaiming_normal_(mode='fan_out')"``: a function of torch.nn.init without its first argument."""
    parsed = parse_expression(value, place, library.problems)
    if parsed is None:
        return ast.Pass()
    node, text = parsed
    if isinstance(node, ast.Name):
        node = ast.copy_location(ast.Call(node, [], []), node)
    name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
    if not isinstance(node, ast.Call) or name not in CATALOG.functions["init"]:
        library.problems.unknown(
            "unknown_function", "initialiser", name or str(value), CATALOG.functions["init"], place.at(1)
        )
        return ast.Pass()
    scope = Scope("", builds=True, locals={"tensor"})
    full = ast.Call(node.func, [ast.copy_location(ast.Name("tensor", ast.Load()), node.func), *node.args],
                    node.keywords)  # fmt: skip
    call = Expressions(library, scope, text).rebuild(ast.copy_location(full, node))
    if isinstance(call, ast.Call):
        call.args[:1] = [tensor]
    return mark(ast.Expr(call), place.at(1))
