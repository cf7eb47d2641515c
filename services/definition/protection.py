"""Makes a checked program safe to run: refuses forwards that change the model, guards what could grow."""

from __future__ import annotations

from services.definition.guards import Guarding, complete
from services.definition.inference import infer
from services.definition.inference.workload import Workload
from services.definition.limits import MAX_FORWARD_WORK
from services.definition.problems import Place, Problems, place_of
from services.definition.program import Function, Module, Program
from services.definition.tree import Node


def protect(program: Program, tree: Node, place: Place, problems: Problems) -> None:
    """Put the guards that a program needs into its bodies, once; ``tree`` is what its init builds.

    Problems: ``invalid_expression`` where a forward would change what the model owns, ``model_too_large`` where one
    forward would take more calls than anybody can wait for.
    """
    if not program.definitions:
        return
    found, functions = infer(program, tree)
    for where, detail, hint in found.refused.values():
        problems.add("invalid_expression", detail, where, hint)
    work = Workload(functions, found)
    total = max(map(work.of_function, functions), default=0)
    if total > MAX_FORWARD_WORK:
        _, node = min((row for row in work.nodes if row[0] > MAX_FORWARD_WORK), key=lambda row: row[0])
        detail = f"One forward makes {total:.0e} calls and turns; at most {MAX_FORWARD_WORK:.0e} are allowed."
        problems.add("model_too_large", detail, place_of(node) or place, "Call less inside loops and functions.")
    guarding = Guarding(found.wants, work.counted)
    for function in bodies(program) if found.wants else ():
        function.body = guarding.body(function.body)
    program.helpers = complete(program.helpers | guarding.used)


def bodies(program: Program) -> list[Function]:
    """Return all functions that run in a forward."""
    found: list[Function] = []
    for name, item in program.definitions.items():
        if isinstance(item, Module):
            found += [item.forward, *(method for method in item.methods if not method.name.startswith("_"))]
        elif name not in program.macros:
            found.append(item)
    return found
