"""Writes the loops and branches of one ``init`` out as the items that they amount to for one module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.definition.construction import Watched
from services.definition.names import BUILTINS
from services.definition.syntax import reads
from services.definition.tree import Node
from services.definition.values import Frame
from services.definition.written import literal_of

_HOLE = re.compile(r"\{([^{}]*)\}")
_RULES = ("tie", "weights")
_TENSORS = ("parameter", "buffer", "value")


class _Jump(Exception):
    """A break (``again`` false) or a continue stands here."""

    def __init__(self, *, again: bool) -> None:
        self.again = again
        super().__init__()


def unrolled(init: list[Any], pointer: str, watched: Watched) -> list[Any]:
    """Return the items of an ``init`` (at ``pointer``) with no block that makes parts left in it."""
    return _Unroller(watched).run(init, pointer)


class _Unroller:
    """Follows the blocks of an ``init`` in the order in which they ran."""

    def __init__(self, watched: Watched) -> None:
        self.loops = {pointer: iter(turns) for pointer, turns in watched.loops.items()}
        self.branches = {pointer: iter(taken) for pointer, taken in watched.branches.items()}
        self.out: list[Any] = []
        self.watched = watched
        self.left: dict[str, Any] = {}
        """What branches that are not taken would declare: a forward may name it, behind the same condition."""

    def run(self, init: list[Any], pointer: str) -> list[Any]:
        """Return the items that an ``init`` amounts to."""
        for index, item in enumerate(init):
            self._item(item, f"{pointer}/{index}", {}, init[index + 1 :])
        made = {name for item in self.out if isinstance(item, dict) for name in item}
        return self.out + [block for name, block in self.left.items() if name not in made]

    def _leave(self, test: str, branch: str, items: Any, names: dict[str, str]) -> None:  # noqa: ANN401
        for item in items or []:
            inner = [one for key in ("do", "then", "else") if isinstance(item, dict) for one in item.get(key) or []]
            self._leave(test, branch, inner, names)
            if isinstance(item, dict) and len(item) == 1 and "{" not in next(iter(item)) and "type" not in item:
                block = {"if": test, "then": [], branch: [self._substituted(item, names)]}
                self.left.setdefault(next(iter(item)), block)

    def _items(self, items: Any, pointer: str, names: dict[str, str], after: list[Any]) -> None:  # noqa: ANN401
        for index, item in enumerate(items or []):
            self._item(item, f"{pointer}/{index}", names, after)

    def _item(self, item: Any, pointer: str, names: dict[str, str], after: list[Any]) -> None:  # noqa: ANN401
        if isinstance(item, dict) and "for" in item and pointer in self.loops:
            self._loop(item, pointer, names, after)
        elif isinstance(item, dict) and "if" in item and pointer in self.branches:
            taken = next(self.branches[pointer])
            branch, other = ("then", "else") if taken else ("else", "then")
            self._leave(_changed(str(item["if"]), names), other, item.get(other), names)
            self._items(item.get(branch), f"{pointer}/{branch}", names, after)
        elif item in ("break", "continue"):
            raise _Jump(again=item == "continue")
        else:
            self.out.append(self._substituted(item, names))

    def _substituted(self, item: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - an item of init
        """Return an item with names replaced by their values; the same item where there is nothing to replace."""
        if not names or (isinstance(item, dict) and any(isinstance(item.get(rule), list) for rule in _RULES)):
            return item
        if isinstance(item, str):
            return _changed(item, names)
        if not isinstance(item, dict) or len(item) != 1 or "type" in item:
            return position(item, names)
        name, value = next(iter(item.items()))
        return {_HOLE.sub(lambda hole: self._folded(hole[1], names), name): position(value, names)}

    def _folded(self, text: str, names: dict[str, str]) -> str:
        """Return what a hole of a name comes to, or the hole again while a local variable is in it."""
        changed = _changed(text, names)
        tree = ast.parse(changed, mode="eval").body
        if any(isinstance(node, ast.Name) and node.id not in BUILTINS for node in ast.walk(tree)):
            return f"{{{changed}}}"
        return str(self.watched.value(tree, Frame({}, None, self.watched.tree.place)))

    def _loop(self, item: dict[str, Any], pointer: str, names: dict[str, str], after: list[Any]) -> None:
        head = ast.parse(f"for {item['for']}: pass").body[0]
        if not isinstance(head, ast.For):
            raise TypeError(item["for"])
        targets = {node.id for node in ast.walk(head.target) if isinstance(node, ast.Name)}
        outer = {name: text for name, text in names.items() if name not in targets}
        source = _changed(ast.unparse(head.iter), names)
        fixed = not targets & _assigned(item["do"])
        known: dict[str, str] | None = None
        for turn, value in enumerate(next(self.loops[pointer])):
            known = _bound(head.target, value) if fixed else None
            if known is None:
                self.out.append(f"{ast.unparse(head.target)} = list({source})[{turn}]")
            try:
                self._items(item["do"], f"{pointer}/do", {**outer, **(known or {})}, after)
            except _Jump as jump:
                if not jump.again:
                    break
        # Python keeps the last values of a loop; who reads them later still finds them.
        self.out += [f"{name} = {text}" for name, text in (known or {}).items() if _is_read(after, name)]


def _is_read(items: Any, name: str) -> bool:  # noqa: ANN401 - items of init
    """Return whether items read a name that they do not bind themselves: a loop binds its own anew."""
    for item in items or []:
        if not isinstance(item, dict) or "for" not in item:
            inner = [one for key in ("then", "else") if isinstance(item, dict) for one in item.get(key) or []]
            plain = {key: value for key, value in item.items() if key not in {"then", "else"}} if inner else item
            found = name in reads(plain) or _is_read(inner, name)
        else:
            target, _, source = str(item["for"]).partition(" in ")
            found = name in reads(source) or (name not in reads(target) and _is_read(item["do"], name))
        if found:
            return True
    return False


def _bound(target: ast.expr, value: object) -> dict[str, str] | None:
    """Return the literal of each name that a turn binds, or ``None`` where one has none."""
    if isinstance(target, ast.Name):
        text = None if _holds_module(value) else literal_of(value)
        return None if text is None else {target.id: text}
    if not isinstance(target, ast.Tuple) or not isinstance(value, list | tuple) or len(value) != len(target.elts):
        return None
    found: dict[str, str] = {}
    for inner, part in zip(target.elts, value, strict=True):
        names = _bound(inner, part)
        if names is None:
            return None
        found |= names
    return found


def _holds_module(value: object) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, Node) or (isinstance(value, list | tuple) and any(map(_holds_module, value)))


def _assigned(items: Any) -> set[str]:  # noqa: ANN401 - any JSON
    """Return the names that the statements of a block assign."""
    return {
        node.id
        for text in strings(items)
        for node in ast.walk(_tree(text))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Iterate over all strings in a value."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


def _tree(text: str) -> ast.AST:
    try:
        return ast.parse(text.strip())
    except SyntaxError:  # a literal string, or the head of a loop
        return ast.Module([], [])


def position(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - a module position
    """Return a module position, or a parameter, buffer or value, with names replaced."""
    if isinstance(value, str):
        return _changed(value, names)
    if isinstance(value, list):
        return [position(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if "type" not in value:
        inside = {key: position(item, names) for key, item in value.items()}
        return {**value, **{key: inside[key] for key in value if key in _TENSORS or len(value) == 1}}
    parts = {"layers", "parameters"} & value.keys()
    nested = {key for key, item in value.items() if isinstance(item, dict) and "type" in item} | parts
    return {key: position(item, names) if key in nested else item for key, item in value.items()}


def _changed(text: str, names: Mapping[str, str]) -> str:
    if not any(re.search(rf"\b{name}\b", text) for name in names):
        return text
    tree = ast.parse(text.strip())
    return ast.unparse(ast.fix_missing_locations(_Values(names).visit(tree)))


class _Values(ast.NodeTransformer):
    """Replaces names that are read by literals."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replace a name."""
        if isinstance(node.ctx, ast.Store) or node.id not in self.names:
            return node
        return ast.parse(self.names[node.id], mode="eval").body

    def _inside(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> ast.AST:
        """Names that a comprehension binds are its own."""
        own = {one.id for part in node.generators for one in ast.walk(part.target) if isinstance(one, ast.Name)}
        node.generators[0].iter = self.visit(node.generators[0].iter)
        first = node.generators[0].iter
        result = _Values({name: text for name, text in self.names.items() if name not in own}).generic_visit(node)
        node.generators[0].iter = first
        return result

    visit_ListComp = visit_GeneratorExp = visit_DictComp = _inside
