"""Binds the arguments of a call to the signatures of the catalog: what is missing, too many, or unknown."""

from __future__ import annotations

import ast

from services.definition.catalog import CATALOG, Entry, Parameter
from services.definition.parsing import Text
from services.definition.problems import Place, Problems, nearest_hint
from services.definition.scope import Argument

Trouble = tuple[str, str, str | None, ast.AST]


def as_entry(name: str, arguments: list[Argument]) -> Entry:
    """Return a definition's own parameters in the form of a catalog entry."""
    rows = tuple(
        Parameter(argument.name, "a", "any") if argument.required else Parameter(argument.name, "a", "any", None)
        for argument in arguments
    )
    return Entry(name, "", (rows,))


def check_arguments(node: ast.Call, name: str, entries: list[Entry], text: Text, problems: Problems) -> None:
    """Note what keeps a call from fitting any overload; nothing is noted when one fits."""
    overloads = [signature for entry in entries for signature in entry.signatures]
    if not overloads or any(isinstance(item, ast.Starred) for item in node.args):
        return
    if any(keyword.arg is None for keyword in node.keywords):
        return
    troubles = [_trouble(node, name, signature) for signature in overloads]
    if any(trouble is None for trouble in troubles):
        return
    # The overload that goes wrong last is the one that was meant.
    code, detail, hint, where = next(t for t in troubles if t is not None)
    problems.add(code, detail, text.place_at(where), hint)


def _trouble(node: ast.Call, name: str, signature: tuple[Parameter, ...]) -> Trouble | None:
    positional = [p for p in signature if p.kind in "pa"]
    rest = any(p.kind == "*" for p in signature)
    if len(node.args) > len(positional) and not rest:
        detail = f"{name} takes at most {len(positional)} positional arguments, got {len(node.args)}."
        return "invalid_argument", detail, describe(name, signature), node.args[len(positional)]
    given = {parameter.name for parameter in positional[: len(node.args)]}
    for keyword in node.keywords:
        trouble = _keyword_trouble(keyword, name, signature, given)
        if trouble is not None:
            return trouble
        given.add(keyword.arg or "")
    missing = [p.name for p in signature if p.required and p.kind != "*" and p.name not in given]
    if missing:
        return "missing", f"{name} needs {', '.join(missing)}.", describe(name, signature), node
    return None


def _keyword_trouble(
    keyword: ast.keyword, name: str, signature: tuple[Parameter, ...], given: set[str]
) -> Trouble | None:
    argument = keyword.arg or ""
    if argument in given:
        return "invalid_argument", f"{name} gets {argument!r} twice.", None, keyword.value
    if argument not in {p.name for p in signature if p.kind in "ak"}:
        return "extra_forbidden", f"{name} has no argument {argument[:80]!r}.", hint_for(argument, signature), keyword
    return None


def hint_for(argument: str, signature: tuple[Parameter, ...]) -> str | None:
    """Return how to mend an argument that is not there."""
    if argument in CATALOG.refused_arguments:
        return "The run decides this; leave it out."
    return nearest_hint(argument, [p.name for p in signature])


def describe(name: str, signature: tuple[Parameter, ...]) -> str:
    """Return the signature as people read it: ``Linear(in_features, out_features, bias=True)``."""
    parts = []
    for parameter in signature:
        default = "" if parameter.required or parameter.kind == "*" else f"={parameter.default!r}"
        parts.append(("*" if parameter.kind == "*" else "") + parameter.name + default)
    return f"{name}({', '.join(parts)})"


def check_names(
    given: dict[str, Place], name: str, signature: tuple[Parameter, ...], place: Place, problems: Problems
) -> None:
    """Check the members of the object form ``{"type": name, …}``, each at its own pointer."""
    for argument, where in given.items():
        if argument not in {p.name for p in signature if p.kind in "ak"}:
            detail = f"{name} has no argument {argument[:80]!r}."
            problems.add("extra_forbidden", detail, where, hint_for(argument, signature))
    missing = [p.name for p in signature if p.required and p.kind != "*" and p.name not in given]
    for argument in missing:
        problems.add("missing", f"{name} needs {argument!r}.", place, describe(name, signature))
