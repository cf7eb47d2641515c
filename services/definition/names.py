"""Which names a definition may give to its parts."""

from __future__ import annotations

import keyword
import re

from services.definition.catalog import CATALOG
from services.definition.limits import MAX_NAME_CHARACTERS
from services.definition.problems import Place, Problems

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,5})\Z")
ROOTS = frozenset({"torch", "nn", "F", "math", "init"})
BUILTINS = frozenset(
    [
        "range",
        "len",
        "enumerate",
        "zip",
        "int",
        "float",
        "bool",
        "str",
        "sum",
        "min",
        "max",
        "abs",
        "round",
        "list",
        "tuple",
        "dict",
        "reversed",
        "any",
        "all",
        "sorted",
    ]
)
_PYTHON = BUILTINS | ROOTS | {"self", "super", "OrderedDict", "Parameter", "RuntimeError", "getattr", "setattr"}


def is_name(name: object) -> bool:
    """Return whether ``name`` is an identifier of the language: a letter, then letters, digits, underscores."""
    return isinstance(name, str) and bool(_NAME.match(name)) and len(name) <= MAX_NAME_CHARACTERS


def is_number(name: object) -> bool:
    """Return whether ``name`` is a number as ``Sequential`` names its layers: a part, but never an attribute."""
    return isinstance(name, str) and bool(_NUMBER.match(name))


def is_taken(name: str) -> bool:
    """Return whether a name means something in every expression."""
    return name in _PYTHON


def check_local(name: str, place: Place, problems: Problems) -> bool:
    """Check the name of a local variable, argument or parameter."""
    if name == "_":
        return True
    if not is_name(name) or keyword.iskeyword(name) or "__" in name:
        problems.add("invalid_expression", f"{name[:80]!r} is not a name.", place, _FORM)
    elif name in _PYTHON:
        problems.add("duplicate_name", f"{name!r} already means something here.", place, "Choose another name.")
    else:
        return True
    return False


def check_member(name: str, place: Place, problems: Problems) -> bool:
    """Check the name of a child, parameter, buffer, value or method: it becomes an attribute of the module."""
    if is_number(name):
        return True
    if not is_name(name) or "__" in name:
        problems.add("invalid_argument", f"{name[:80]!r} is not a name.", place, _FORM)
    elif keyword.iskeyword(name) or name in CATALOG.reserved or name == "self":
        problems.add(
            "duplicate_name",
            f"{name!r} cannot be the name of a part: modules, tensors or Python have it already.",
            place,
            f"Call it {name}_ or {name}1.",
        )
    else:
        return True
    return False


def check_definition(name: str, place: Place, problems: Problems) -> bool:
    """Check the name of a module, macro or function that a document defines."""
    if not is_name(name) or "__" in name or keyword.iskeyword(name):
        problems.add("invalid_argument", f"{name[:80]!r} is not a name.", place, _FORM)
    elif name in _PYTHON or name in CATALOG.classes:
        problems.add("duplicate_name", f"{name!r} is already a name of the language.", place, f"Call it My{name}.")
    else:
        return True
    return False


_FORM = "A name is a letter followed by letters, digits and single underscores."
