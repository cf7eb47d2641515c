"""Which frames of a picture are open: ``auto``, ``none``, ``depth:N``, or the paths of the modules to close."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from services.pictures.document import Document
from services.pictures.frames import Nesting, Path

AUTO_ITEMS = 60
"""Graphs of so many boxes are shown whole."""
GLANCE_ITEMS = 32
"""So many boxes of a larger one a person takes in at a glance; the automatic choice stays below."""

_LAYER_OPERATIONS = 3  # a batch norm has two; attention is worth a look inside
_DEPTH = re.compile(r"depth:(\d{1,3})")


def closed_frames(
    nesting: Nesting, collapse: str, small: frozenset[str], count: Callable[[frozenset[str]], int]
) -> frozenset[str]:
    """Return the frames to close.

    ``small`` are those of layers (`leaves`); ``count`` says how many boxes a picture has with some frames closed.

    Raises:
        ValueError: ``collapse`` is none of the four, or names a module that did not run.
    """
    if collapse == "none":
        return frozenset()
    if collapse == "auto":
        return _automatic(nesting, small, count)
    if depth := _DEPTH.fullmatch(collapse):
        levels = _module_levels(nesting)
        return frozenset(key for key, level in levels.items() if level > int(depth[1]) and _is_module(nesting, key))
    return _named(nesting, collapse.split(","))


def chains(nesting: Nesting) -> dict[str, Path]:
    """Return the frames around each frame, itself last."""
    found: dict[str, Path] = {}
    for path in [*nesting.operations.values(), *nesting.data.values()]:
        for index, key in enumerate(path):
            found.setdefault(key, path[: index + 1])
    return found


def leaves(nesting: Nesting, document: Document) -> frozenset[str]:
    """Return the frames of layers: modules of torch's own with a few operations, nothing to see inside but weights."""
    modules = {key for key, frame in nesting.frames.items() if frame.kind == "module"}
    operations = dict.fromkeys(modules, 0)
    deep: set[str] = set()
    for key, path in nesting.operations.items():
        around = [one for one in path if one in modules]
        operation = document.operations[key]
        module = document.modules.get(operation.module)
        own = module is not None and operation.place.startswith(f"/modules/{module.type}/")
        if around and not own and nesting.frames[path[-1]].kind in ("module", "call"):
            operations[around[-1]] += 1
            deep.update(around[:-1])
        else:  # written by the definition, or in a loop or branch
            deep.update(around)
    return frozenset(
        key for key in modules - deep if operations[key] <= _LAYER_OPERATIONS * nesting.calls(nesting.frames[key].path)
    )


def _automatic(nesting: Nesting, small: frozenset[str], count: Callable[[frozenset[str]], int]) -> frozenset[str]:
    """Open everything where that is little; else level by level, whole levels only, layers never."""
    if count(frozenset()) <= AUTO_ITEMS:
        return frozenset()
    levels: dict[int, list[str]] = {}
    for key, path in chains(nesting).items():
        # Turns and calls open together with what they are turns and calls of.
        level = sum(1 for one in path if nesting.frames[one].kind not in ("turn", "call"))
        levels.setdefault(level, []).append(key)
    closed = frozenset(nesting.frames)
    for level in sorted(levels):
        opened = closed - {key for key in levels[level] if key not in small}
        if count(opened) > GLANCE_ITEMS:
            break
        closed = opened
    return closed


def _module_levels(nesting: Nesting) -> Mapping[str, int]:
    return {
        key: sum(1 for one in path if nesting.frames[one].kind == "module") for key, path in chains(nesting).items()
    }


def _is_module(nesting: Nesting, key: str) -> bool:
    return nesting.frames[key].kind == "module"


def _named(nesting: Nesting, names: Iterable[str]) -> frozenset[str]:
    modules = {frame.path: key for key, frame in nesting.frames.items() if frame.kind == "module"}
    wanted = [name.strip() for name in names]
    for name in wanted:
        below = [path for path in modules if path.startswith(f"{name}.")] if name else []
        if name not in modules and not below:
            raise ValueError(f"{name!r} is no module of this graph")
    # A ModuleList has no frame, as it has no forward: its name stands for its modules.
    return frozenset(
        key for path, key in modules.items() for name in wanted if path == name or _in_list(path, name, modules)
    )


def _in_list(path: str, name: str, modules: Mapping[str, str]) -> bool:
    return name not in modules and path.startswith(f"{name}.")
