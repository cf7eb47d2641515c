"""The items of ``init``: children, parameters, buffers, values, ties, weight rules, statements and blocks."""

from __future__ import annotations

import ast
import re

from services.definition import weights
from services.definition.catalog import CATALOG
from services.definition.expressions import Expressions
from services.definition.names import check_member, is_name, is_number
from services.definition.parsing import Text, parse_expression, type_name
from services.definition.positions import expression, module, parameter_value
from services.definition.problems import Place, mark, nearest_hint
from services.definition.scope import Library, Members, Scope
from services.definition.statements import loop_head, statement, without_gradients

_BLOCKS = {"for": {"for", "do"}, "if": {"if", "then", "else"}}
_KINDS = {"parameter": {"parameter", "trainable"}, "buffer": {"buffer", "persistent"}, "value": {"value"}}
_LITERAL = re.compile(r"'([A-Za-z]\w*)'")
_HOLE = re.compile(r"\{([^{}]*)\}")
_REGISTRIES = {"child": "_modules", "parameter": "_parameters", "buffer": "_buffers", "value": "_modules"}


def collect(items: object, members: Members) -> None:
    """Note every name that ``init`` declares, so that the rest of the definition may use it."""
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        for block in ("do", "then", "else", "no_grad"):
            if isinstance(item.get(block), list):
                collect(item[block], members)
        if _is_block(item) or _is_quiet(item) or len(item) != 1 or _is_rule(item):
            continue
        name, value = next(iter(item.items()))
        kind = kind_of(value)
        if "{" in name:
            pattern = "".join(re.escape(part) if i % 2 == 0 else r"\w+" for i, part in enumerate(_HOLE.split(name)))
            members.patterns.append((_REGISTRIES[kind], re.compile(pattern)))
        else:
            table = {"child": members.children, "parameter": members.parameters, "buffer": members.buffers}
            table.get(kind, members.values).add(name)


def nested_names(value: object) -> set[str]:
    """Return the names that containers inside a child give to their items: ``self.transformer.wte`` reads them."""
    if isinstance(value, str):
        return {name for name in _LITERAL.findall(value) if is_name(name) and name not in CATALOG.reserved}
    if isinstance(value, list):
        return {name for item in value for name in nested_names(item)}
    if not isinstance(value, dict):
        return set()
    own = set() if "type" in value else {name for name in value if name not in CATALOG.reserved}
    return own.union(*(nested_names(item) for item in value.values()))


def kind_of(value: object) -> str:
    """Return what an item declares: child, parameter, buffer or value."""
    if isinstance(value, dict) and "type" not in value:
        return next((kind for kind in _KINDS if kind in value), "child")
    return "child"


def _is_block(item: dict[str, object]) -> bool:
    return "for" in item or "if" in item or "while" in item


def _is_quiet(item: dict[str, object]) -> bool:
    return isinstance(item.get("no_grad"), list)


def _is_rule(item: dict[str, object]) -> bool:
    return isinstance(item.get("tie"), list) or isinstance(item.get("weights"), list)


class Initialisers:
    """Turns the items of one ``init`` into statements of ``__init__`` (or of a macro)."""

    def __init__(self, library: Library, scope: Scope) -> None:
        self.library = library
        self.scope = scope
        self.rules: list[ast.FunctionDef] = []
        self._seen: set[str] = set()

    def body(self, items: object, place: Place) -> list[ast.stmt]:
        """Check an array of items."""
        if not isinstance(items, list):
            self.library.problems.add("list_type", f"init is an array, not {type_name(items)}.", place)
            return []
        found = []
        for index, item in enumerate(items):
            found += self._item(item, place.child(index))
        return found

    def _item(self, item: object, place: Place) -> list[ast.stmt]:
        if isinstance(item, str):
            return statement(item, place, self.library, self.scope)
        if not isinstance(item, dict) or not item:
            detail = f'An item of init is {{"name": module}}, a statement or a block, not {type_name(item)}.'
            self.library.problems.add("invalid_argument", detail, place)
            return []
        if _is_block(item):
            return [mark(self._block(item, place), place)]
        if _is_quiet(item) or _is_rule(item):
            return self._quiet(item, place) if _is_quiet(item) else self._rule(item, place)
        if len(item) != 1:
            detail = f"An item of init declares one name; this one has {', '.join(item)[:80]}."
            self.library.problems.add("invalid_argument", detail, place, "Make one item for each, in order.")
            return []
        name, value = next(iter(item.items()))
        return [mark(node, place.child(name)) for node in self._declare(name, value, place.child(name))]

    def _block(self, item: dict[str, object], place: Place) -> ast.stmt:
        problems = self.library.problems
        kind = "for" if "for" in item else "if"
        if "while" in item:
            problems.add("invalid_expression", "init has no while loops.", place, "Use for and range.")
            return ast.Pass()
        for name in item.keys() - _BLOCKS[kind]:
            hint = nearest_hint(name, _BLOCKS[kind])
            problems.add("extra_forbidden", f"A {kind} block has no {name[:80]!r}.", place.child(name), hint)
        if kind == "for":
            target, iterable = loop_head(item["for"], place.child("for"), self.library, self.scope)
            return ast.For(target, iterable, self._inside(item, "do", place), [])
        test = expression(item["if"], place.child("if"), self.library, self.scope)
        before = set(self._seen)
        then = self._inside(item, "then", place)
        after, self._seen = self._seen, before
        otherwise = self.body(item["else"], place.child("else")) if item.get("else") else []
        self._seen |= after
        return ast.If(test, then, otherwise)

    def _quiet(self, item: dict[str, object], place: Place) -> list[ast.stmt]:
        inside = self.body(item["no_grad"], place.child("no_grad"))
        return [mark(without_gradients(inside, place, self.library), place)]

    def _inside(self, item: dict[str, object], name: str, place: Place) -> list[ast.stmt]:
        if name not in item:
            self.library.problems.add("missing", f"This block needs {name!r}.", place, f'Add "{name}": [ … ].')
            return [ast.Pass()]
        self.scope.loops += name == "do"
        found = self.body(item[name], place.child(name)) or [ast.Pass()]
        self.scope.loops -= name == "do"
        return found

    def _rule(self, item: dict[str, object], place: Place) -> list[ast.stmt]:
        if self.scope.members is None:
            self.library.problems.add("invalid_argument", "A macro has no self to tie or initialise.", place)
            return []
        if "tie" in item:
            return weights.tie(item["tie"], place.child("tie"), self.library)
        function, statements = weights.rules(item["weights"], place.child("weights"), self.library, len(self.rules))
        self.rules += function
        return statements

    def _declare(self, name: str, value: object, place: Place) -> list[ast.stmt]:
        kind = kind_of(value)
        if isinstance(value, dict) and kind != "child":
            for extra in value.keys() - _KINDS[kind]:
                hint = nearest_hint(extra, _KINDS[kind])
                self.library.problems.add("extra_forbidden", f"A {kind} has no {extra[:80]!r}.",
                                          place.child(extra), hint)  # fmt: skip
        content = self._content(kind, value, place)
        if self.scope.members is None:
            return [ast.Assign([self._local(name, place)], content)]
        key = self._key(name, place)
        if kind == "buffer":
            return [self._buffer(key, content, value)]
        if isinstance(key, ast.Constant) and not is_number(name):
            target = ast.Attribute(ast.Name("self", ast.Load()), name, ast.Store())
            return [ast.Assign([target], content)]
        return [self._registered(kind, key, content, place)]

    def _content(self, kind: str, value: object, place: Place) -> ast.expr:
        if kind == "child":
            return module(value, place, self.library, self.scope)
        if not isinstance(value, dict):
            raise TypeError(kind)
        if kind == "parameter":
            return parameter_value(value, place, self.library, self.scope)
        return expression(value[kind], place.child(kind), self.library, self.scope)

    def _local(self, name: str, place: Place) -> ast.expr:
        """A macro has no self: what its init names are local variables."""
        if is_name(name):
            self.scope.locals.add(name)
        else:
            self.library.problems.add("invalid_argument", f"{name[:80]!r} is not a name.", place)
        return ast.Name(name, ast.Store())

    def _buffer(self, key: ast.expr, content: ast.expr, value: object) -> ast.stmt:
        keep = not isinstance(value, dict) or value.get("persistent", True) is not False
        keywords = [] if keep else [ast.keyword("persistent", ast.Constant(False))]
        return _method("register_buffer", [key, content], keywords)

    def _registered(self, kind: str, key: ast.expr, content: ast.expr, place: Place) -> ast.stmt:
        if kind == "value":
            self.library.problems.add("invalid_argument", "A value needs a fixed name.", place, "Keep a list.")
        return _method("add_module" if kind == "child" else "register_parameter", [key, content], [])

    def _key(self, name: str, place: Place) -> ast.expr:
        """Return the name as a tree: a constant, or an f-string for ``stage{i}``."""
        if "{" not in name and "}" not in name:
            check_member(name, place, self.library.problems)
            if name in self._seen:
                detail = f"The name {name!r} is used twice."
                self.library.problems.add("duplicate_name", detail, place, "Rename one of them.")
            self._seen.add(name)
            return ast.Constant(name)
        parts: list[ast.expr] = []
        for index, part in enumerate(_HOLE.split(name)):
            if index % 2:
                parts.append(ast.FormattedValue(self._hole(part, name, place), -1))
            elif part:
                parts.append(ast.Constant(part))
        if not is_name(_HOLE.sub("0", name)):
            self.library.problems.add("invalid_argument", f"{name[:80]!r} is not a name.", place,
                                      "Names hold {i} in braces, as in stage{i}.")  # fmt: skip
        return ast.JoinedStr(parts)

    def _hole(self, source: str, name: str, place: Place) -> ast.expr:
        parsed = parse_expression(source, place, self.library.problems)
        if parsed is None:
            return ast.Constant("")
        node, text = parsed
        shifted = Text(text.source, place, text.shift - name.index("{") - 1)
        return Expressions(self.library, self.scope, shifted).rebuild(node)


def _method(name: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> ast.stmt:
    function = ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load())
    return ast.Expr(ast.Call(function, arguments, keywords))
