"""Which frames of a picture are open: ``auto``, ``none``, ``depth:N``, or the paths of the modules to close."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from services.pictures.frames import Nesting, Path

AUTO_ITEMS = 48
"""So many boxes a person takes in at a glance; the automatic choice stays below."""

_DEPTH = re.compile(r"depth:(\d{1,3})")


def closed_frames(nesting: Nesting, collapse: str, count: Callable[[frozenset[str]], int]) -> frozenset[str]:
    """Return the frames to close. ``count`` says how many boxes a picture has with some frames closed.

    Raises:
        ValueError: ``collapse`` is none of the four, or names a module that did not run.
    """
    if collapse == "none":
        return frozenset()
    if collapse == "auto":
        return _automatic(nesting, count)
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


def leaves(nesting: Nesting) -> frozenset[str]:
    """Return the frames of layers: modules with one operation a call, with nothing to see inside but weights."""
    operations = {key: 0 for key, frame in nesting.frames.items() if frame.kind == "module"}
    calls = dict.fromkeys(operations, 0)
    deep: set[str] = set()
    for path in nesting.operations.values():
        modules = [key for key in path if key in operations]
        if modules and nesting.frames[path[-1]].kind in ("module", "call"):
            operations[modules[-1]] += 1
            deep.update(modules[:-1])
        else:  # in a loop or a branch of the module's own
            deep.update(modules)
    for path in chains(nesting).values():
        if nesting.frames[path[-1]].kind == "call":
            calls[path[-2]] += 1
    return frozenset(key for key, count in operations.items() if key not in deep and count <= max(1, calls[key]))


def _automatic(nesting: Nesting, count: Callable[[frozenset[str]], int]) -> frozenset[str]:
    """Open level by level, whole levels only, as long as the picture stays small; layers if nothing else is closed."""
    levels: dict[int, list[str]] = {}
    for key, path in chains(nesting).items():
        levels.setdefault(len(path), []).append(key)
    closed, small = frozenset(nesting.frames), leaves(nesting)
    for level in sorted(levels):
        opened = closed - {key for key in levels[level] if key not in small}
        if count(opened) > AUTO_ITEMS:
            break
        closed = opened
    if closed <= small and count(frozenset()) <= AUTO_ITEMS:
        return frozenset()
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
