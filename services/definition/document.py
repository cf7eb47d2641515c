"""Checks a whole document: shape, definitions, names, recursion, inputs; then builds its module tree within budgets."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from services.definition.bindings import Input, check_inputs, check_outputs
from services.definition.definitions import definition, heading
from services.definition.evaluation import evaluate
from services.definition.least import refuse_bombs
from services.definition.limits import (
    MAX_CHARACTERS,
    MAX_DEFINITIONS,
    MAX_DOCUMENT_DEPTH,
    MAX_DOCUMENT_NODES,
    MAX_MODULES,
    MAX_POSITIONS,
    MAX_TREE_DEPTH,
)
from services.definition.parsing import type_name
from services.definition.partial import evaluate_sound
from services.definition.positions import module
from services.definition.problems import Place, Problems, Stopped, nearest_hint
from services.definition.program import Function, Module, Program
from services.definition.protection import protect
from services.definition.recursion import bound_recursion
from services.definition.scope import Library, Scope
from services.definition.tree import Node
from services.errors import Problem

FORMAT = "model/1"
_MEMBERS = ("format", "modules", "model", "inputs", "outputs")


@dataclass(frozen=True, slots=True)
class Definition:
    """A checked definition. Equal documents have equal ``sha256``."""

    document: dict[str, Any]
    """The canonical document: JSON-able, and itself valid input for ``check``."""
    sha256: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    program: Program = field(repr=False, compare=False)
    tree: Node = field(repr=False, compare=False)
    """The module tree that the definition builds, as far as it shows without torch."""
    arguments: tuple[str, ...] = field(default=(), compare=False)
    """Names of what the model's forward takes, in order."""
    bare: bool = field(default=False, compare=False)
    """Whether the client sent the model alone, so that pointers into it have no "/model"."""

    @property
    def sent(self) -> object:
        """The document as the client sent it: ``check(sent)`` gives the same definition and the same pointers."""
        return self.document["model"] if self.bare else self.document


def check(document: object, *, pointer: str = "") -> Definition:
    """Check ``document``: a full document, or a bare module position (an object with ``type``, or a string).

    Raises:
        InvalidRequest: with every problem found; their pointers lie below ``pointer``.
    """
    problems = Problems()
    try:
        definition = _checked(document, Place(pointer), problems)
    except Stopped:
        definition = None
    except RecursionError:
        definition = None
        detail = "Definitions and expressions are nested too deeply in each other."
        problems.add("model_too_large", detail, Place(pointer), "Make the nesting flatter: a loop, or ModuleList.")
    problems.raise_if_any()
    if definition is None:
        raise RuntimeError("a check that stops has noted why")
    return definition


def _checked(document: object, place: Place, problems: Problems) -> Definition | None:
    if not _is_small(document, place, problems):
        return None
    full, model_place = _full_document(document, place, problems)
    library = Library(problems)
    program = _program(full, place, model_place, library)
    inputs = check_inputs(full.get("inputs", []), place.child("inputs"), problems)
    outputs = check_outputs(full.get("outputs", []), place.child("outputs"), problems)
    _check_references(library, full, place)
    if refuse_bombs(program, model_place, problems):
        return None
    if problems.found:
        modules = place.child("modules").pointer
        whole = "model" in full and not any(_is_of_model(problem, model_place, modules) for problem in problems.found)
        evaluate_sound(program, model_place if whole else None, place, problems)
        return None
    tree = evaluate(program, model_place, problems)
    if problems.found:
        evaluate_sound(program, None, place, problems)
    _check_tree(tree, model_place, problems)
    _check_count(program, tree, inputs, place.child("inputs"), problems)
    if not problems.found:
        protect(program, tree, place, problems)
    canonical = {name: copy.deepcopy(full[name]) for name in _MEMBERS if name in full}
    names = inputs_of(program, tree)
    bare = model_place == place
    return Definition(canonical, digest(canonical), inputs, outputs, program, tree, names, bare)


def _is_of_model(problem: Problem, model_place: Place, modules: str) -> bool:
    inside = problem.pointer == model_place.pointer or problem.pointer.startswith(f"{model_place.pointer}/")
    return inside and not problem.pointer.startswith(f"{modules}/")


def _check_tree(tree: Node, place: Place, problems: Problems) -> None:
    """Refuse a tree that is too deep to walk, or larger than it cost to make: one module may stand at many paths."""
    count, level = 0, [tree]
    for _ in range(MAX_TREE_DEPTH):
        count += len(level)
        level = [child for node in level for child in node.children.values()]
        if not level or count + len(level) > MAX_MODULES:
            break
    if count + len(level) > MAX_MODULES:
        detail = f"A model has at most {MAX_MODULES} modules, counted once for each path that leads to them."
        problems.add("model_too_large", detail, place)
    elif level:
        detail = f"Modules are nested more than {MAX_TREE_DEPTH} deep."
        problems.add("model_too_large", detail, place, "Put them side by side, in one Sequential or ModuleList.")


def digest(canonical: dict[str, Any]) -> str:
    """Return the identity of a canonical document: the order of an object's members counts only where it is data."""
    text = json.dumps(_identity(canonical), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _identity(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Sort the members of the language's own objects; keep a dict given as an argument in the order it is iterated."""
    if isinstance(value, list):
        return [_identity(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "type" in value:
        return {name: _argument(value[name]) for name in sorted(value)}
    return {name: _identity(value[name]) for name in sorted(value)}


def _argument(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict) and "type" not in value:
        return {"items": [[name, _argument(item)] for name, item in value.items()]}
    return [_argument(item) for item in value] if isinstance(value, list) else _identity(value)


def inputs_of(program: Program, tree: Node) -> tuple[str, ...]:
    """Return the argument names of the model's forward; containers and layers take one input."""
    owner = program.definitions.get(tree.type)
    return tuple(argument.name for argument in owner.forward.arguments) if isinstance(owner, Module) else ("x",)


def _check_count(program: Program, tree: Node, inputs: tuple[Input, ...], place: Place, problems: Problems) -> None:
    """Compare declared inputs with what the model's own forward takes."""
    owner = program.definitions.get(tree.type)
    if not inputs or not isinstance(owner, Module):
        return
    taken = owner.forward.arguments
    needed = sum(argument.default is None for argument in taken)
    if not needed <= len(inputs) <= len(taken):
        names = ", ".join(argument.name for argument in taken)
        detail = (
            f"{tree.type} takes {needed if needed == len(taken) else f'{needed} to {len(taken)}'} inputs ({names}), "
        )
        problems.add("input_count_mismatch", f"{detail}but {len(inputs)} are declared.", place)


def _full_document(document: object, place: Place, problems: Problems) -> tuple[dict[str, Any], Place]:
    if isinstance(document, str) or (isinstance(document, dict) and "type" in document):
        return {"format": FORMAT, "model": document}, place
    if not isinstance(document, dict):
        problems.add("invalid_argument", f"A model is an object or a string, not {type_name(document)}.", place)
        raise Stopped
    for name in document.keys() - set(_MEMBERS):
        hint = nearest_hint(str(name), _MEMBERS)
        problems.add("extra_forbidden", f"A model document has no {str(name)[:80]!r}.", place.child(name), hint)
    if document.get("format", FORMAT) != FORMAT:
        detail = f"This is the format {FORMAT!r}; the document says {str(document['format'])[:80]!r}."
        problems.add("unsupported_format", detail, place.child("format"), f'Write "format": "{FORMAT}".')
    if "model" not in document:
        problems.add("missing", "A document needs a model.", place, 'Add "model": "Net()".')
    return {"format": FORMAT, **document}, place.child("model")


def _program(full: dict[str, Any], place: Place, model_place: Place, library: Library) -> Program:
    modules = full.get("modules", {})
    if not isinstance(modules, dict):
        detail = f"modules is an object, not {type_name(modules)}."
        library.problems.add("invalid_argument", detail, place.child("modules"))
        modules = {}
    if len(modules) > MAX_DEFINITIONS:
        detail = f"A document has at most {MAX_DEFINITIONS} definitions."
        library.problems.add("model_too_large", detail, place.child("modules"))
        raise Stopped
    for name, value in modules.items():
        heading(name, value, place.child("modules", name), library)
    found: dict[str, Module | Function] = {}
    for name in library.headings:
        found[name] = definition(name, modules[name], place.child("modules", name), library)
    program = Program(definitions=found)
    if "model" in full:
        program.model = module(full["model"], model_place, library, Scope("", builds=True))
    bound_recursion(found, library)
    program.macros = frozenset(name for name, head in library.headings.items() if head.kind == "macro")
    program.helpers = frozenset(library.helpers)
    return program


def _check_references(library: Library, full: dict[str, Any], place: Place) -> None:
    """Refuse definitions that nothing reaches."""
    if library.problems.found:
        return
    used: set[str] = set()
    waiting = [""]
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting += library.calls.get(name, set()) - used
    for name in library.headings:
        if name not in used:
            library.problems.add("unused_name", f"Nothing uses the definition {name!r}.",
                                 place.child("modules", name), "Remove it, or use it.")  # fmt: skip


def _is_small(document: object, place: Place, problems: Problems) -> bool:
    """Count nodes and depth without recursion, before anything walks the document."""
    level: list[object] = [document]
    count = positions = characters = 0
    for _ in range(MAX_DOCUMENT_DEPTH + 1):
        count += len(level)
        texts = [node for node in level if isinstance(node, str)]
        positions += len(texts) + sum(isinstance(node, dict) and "type" in node for node in level)
        characters += sum(map(len, texts))
        detail = _excess(count, positions, characters)
        if detail:
            problems.add("model_too_large", detail, place, "Write what repeats as a loop: for i in range(100).")
            return False
        level = [child for node in level for child in _children(node)]
        if not level:
            return True
    problems.add("model_too_large", f"A document is nested at most {MAX_DOCUMENT_DEPTH} levels deep.", place)
    return False


def _excess(count: int, positions: int, characters: int) -> str:
    if count > MAX_DOCUMENT_NODES:
        return f"A document has at most {MAX_DOCUMENT_NODES} values."
    if positions > MAX_POSITIONS:
        return f"A document has at most {MAX_POSITIONS} modules, statements and expressions."
    return f"The texts of a document have at most {MAX_CHARACTERS} characters." if characters > MAX_CHARACTERS else ""


def _children(node: object) -> list[object]:
    """Return what is inside, without what is no text of the language: types, names and the format."""
    if isinstance(node, dict):
        return [child for name, child in node.items() if name not in _WORDS or not isinstance(child, str)]
    return node if isinstance(node, list) else []


_WORDS = frozenset({"type", "name", "dtype", "format", "column"})
