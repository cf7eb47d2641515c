"""One emitter: a checked definition becomes one Python tree, which is both what runs and what the user downloads."""

from __future__ import annotations

import ast

from services.definition import Definition
from services.definition.guards import FULL_BUDGET, HELPERS
from services.definition.program import Function, Module, Program
from services.modules.layout import layout

FACTORY = "build_model"
_HEADER = '"""A model in plain PyTorch. ``{factory}()`` returns it."""'


def emit(definition: Definition) -> ast.Module:
    """Return the tree of a definition: imports, guards, functions, classes and ``build_model``."""
    return emit_program(definition.program)


def emit_program(program: Program) -> ast.Module:
    """Return the tree of a program, be it a definition's own or a variant of it."""
    body: list[ast.stmt] = [ast.Expr(ast.Constant(f"A model in plain PyTorch: {FACTORY}() returns it."))]
    found = [_definition(item, program) for item in in_order(program)]
    factory = _factory(program)
    names = {node.id for item in [*found, factory] for node in ast.walk(item) if isinstance(node, ast.Name)}
    body += _imports(names | ({"nn"} if found else set()))
    body += _guards(program)
    body += [*found, factory]
    return ast.fix_missing_locations(ast.Module(body, []))


def source(definition: Definition) -> str:
    """Return formatted Python that runs alone and builds the same model from the same seed."""
    return layout(emit(definition))


def in_order(program: Program) -> list[Module | Function]:
    """Return definitions with callees before callers where they do not call each other, otherwise as written."""
    done: dict[str, Module | Function] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun:
            return
        begun.add(name)
        tree = _definition(program.definitions[name], program)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in program.definitions and node.id != name:
                visit(node.id)
        done[name] = program.definitions[name]

    for name in program.definitions:
        visit(name)
    return list(done.values())


def root_class(program: Program) -> str | None:
    """Return the definition whose forward is the model's own; it renews the budget.

    Containers need a hook for that, and so does a definition that the model may hold once more inside itself.
    """
    call = program.model
    name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    if not isinstance(program.definitions.get(name), Module):
        return None
    made = [item.constructor if isinstance(item, Module) else item for item in program.definitions.values()]
    names = (node for function in made for statement in function.body for node in ast.walk(statement))
    return None if any(isinstance(node, ast.Name) and node.id == name for node in names) else name


def _imports(names: set[str]) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    if "math" in names:
        found.append(ast.Import([ast.alias("math")]))
    if "OrderedDict" in names:
        found.append(ast.ImportFrom("collections", [ast.alias("OrderedDict")], 0))
    if "torch" in names:
        found.append(ast.Import([ast.alias("torch")]))
    if "F" in names:
        found.append(ast.Import([ast.alias("torch.nn.functional", "F")]))
    found.append(ast.ImportFrom("torch", [ast.alias("nn")], 0))
    return found


def _guards(program: Program) -> list[ast.stmt]:
    """Guards are our own text, not the client's: they are parsed as written in ``services.definition.guards``."""
    text = "".join(helper for name, helper in HELPERS.items() if name in program.helpers)
    if _BUDGET in program.helpers:
        text = f'_budget = {{"turns": {FULL_BUDGET}}}\n{text}{"" if root_class(program) else _RENEW}'
    return ast.parse(text).body


_BUDGET = "_spend"
"""The guard that the others spend the budget with."""
_RENEW = f'''
def _renew_budget(module, inputs):
    """Give each forward its whole budget of turns."""
    _budget["turns"] = {FULL_BUDGET}
'''


def _factory(program: Program) -> ast.stmt:
    body: list[ast.stmt] = [ast.Return(program.model)]
    if _BUDGET in program.helpers and root_class(program) is None:
        text = "model.register_forward_pre_hook(_renew_budget)"
        keep = ast.Assign([ast.Name("model", ast.Store())], program.model)
        body = [keep, *ast.parse(text).body, ast.Return(ast.Name("model", ast.Load()))]
    arguments = ast.arguments([], [], None, [], [], None, [])
    return _function(FACTORY, arguments, body)


def _definition(item: Module | Function, program: Program) -> ast.stmt:
    if isinstance(item, Function):
        return _function(item.name, item.syntax(), item.body)
    base = ast.Attribute(ast.Name("nn", ast.Load()), "Module", ast.Load())
    forward = _method(item.forward)
    if _BUDGET in program.helpers and item.name == root_class(program):
        # A new list: the program's own body must stay as it is, for it is emitted more than once.
        forward.body = [*ast.parse(f'_budget["turns"] = {FULL_BUDGET}').body, *forward.body]
    functions = [_constructor(item), forward, *(_method(method) for method in item.methods)]
    return ast.ClassDef(item.name, [base], [], functions, [])


def _constructor(item: Module) -> ast.stmt:
    call = ast.Call(ast.Name("super", ast.Load()), [], [])
    begin = ast.Expr(ast.Call(ast.Attribute(call, "__init__", ast.Load()), [], []))
    constants = [
        ast.Assign([ast.Attribute(ast.Name("self", ast.Load()), name, ast.Store())], ast.Name(name, ast.Load()))
        for name in item.constants
    ]
    body = [begin, *constants, *item.constructor.body]
    return _function("__init__", item.constructor.syntax(method=True), body)


def _method(function: Function) -> ast.FunctionDef:
    return _function(function.name, function.syntax(method=True), function.body)


def _function(name: str, arguments: ast.arguments, body: list[ast.stmt]) -> ast.FunctionDef:
    return ast.FunctionDef(name, arguments, body, [], None)
