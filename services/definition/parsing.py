"""Turns the short strings of a document into Python trees, within limits; nothing is compiled here."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

from services.definition.limits import MAX_BRACKET_DEPTH, MAX_EXPRESSION_DEPTH, MAX_TEXT_CHARACTERS
from services.definition.problems import Place, Problems

_CONTROL = re.compile(r"[\x00-\x1f\\\x7f]")
_NUMBER_BEFORE_WORD = re.compile(r"\d[A-Za-z_]")
_UNARY_RUN = re.compile(r"(?:[-+~]\s*|\bnot\s+){40}")


@dataclass(frozen=True, slots=True)
class Text:
    """A string of the document with what was put before it to parse it."""

    source: str
    place: Place
    shift: int = 0

    def place_at(self, node: ast.AST) -> Place:
        """Return the place of a node: the column counts characters of the string as the client wrote it."""
        offset = getattr(node, "col_offset", 0)
        if not self.source.isascii():  # Python counts bytes
            offset = len(self.source.encode()[:offset].decode(errors="ignore"))
        return self.place.at(max(offset - self.shift + 1, 1))


def parse_expression(source: object, place: Place, problems: Problems) -> tuple[ast.expr, Text] | None:
    """Parse one expression; problems are noted and ``None`` returned when it is not one."""
    stripped = _prepare(source, place, problems)
    if stripped is None:
        return None
    text, lead = stripped
    tree = _parse(text, place, problems, lead=lead, before=0)
    if tree is None:
        return None
    statement = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(statement, ast.Expr):
        problems.add("invalid_expression", "One expression is expected here, not a statement.", place.at(1))
        return None
    return statement.value, Text(text, place, -lead)


def parse_statement(source: object, place: Place, problems: Problems) -> tuple[ast.stmt, Text] | None:
    """Parse one simple statement."""
    return _single(source, "", "", place, problems)


def parse_loop_head(source: object, place: Place, problems: Problems) -> tuple[ast.For, Text] | None:
    """Parse ``i, x in something``: what stands between ``for`` and the colon."""
    result = _single(source, "for ", ": pass", place, problems)
    if result is None:
        return None
    loop, text = result
    if isinstance(loop, ast.For) and not loop.orelse and [type(node) for node in loop.body] == [ast.Pass]:
        return loop, text
    problems.add(
        "invalid_expression", "A loop reads «name in expression».", place.at(1), 'For example "i in range(3)".'
    )
    return None


def _single(source: object, before: str, after: str, place: Place, problems: Problems) -> tuple[ast.stmt, Text] | None:
    stripped = _prepare(source, place, problems)
    if stripped is None:
        return None
    text, lead = stripped
    tree = _parse(before + text + after, place, problems, lead=lead, before=len(before))
    if tree is None:
        return None
    if len(tree.body) != 1:
        problems.add("invalid_expression", "Exactly one statement is expected in each string.", place.at(1))
        return None
    return tree.body[0], Text(before + text + after, place, len(before) - lead)


def _prepare(source: object, place: Place, problems: Problems) -> tuple[str, int] | None:
    """Return the text without outer blanks and how many blanks led it, when it is within the limits."""
    if not isinstance(source, str):
        problems.add("string_type", f"A string is expected here, not {type_name(source)}.", place)
        return None
    text = source.strip(" ")
    trouble = _trouble(text)
    if trouble is None:
        return text, len(source) - len(source.lstrip(" "))
    detail, column = trouble
    problems.add("invalid_expression", detail, place.at(column))
    return None


def _trouble(text: str) -> tuple[str, int] | None:
    if not text:
        return "An expression is expected here.", 1
    if len(text) > MAX_TEXT_CHARACTERS:
        return f"This string has {len(text)} characters; at most {MAX_TEXT_CHARACTERS} are allowed.", 1
    control = _CONTROL.search(text)
    if control is not None:
        return "Line breaks, control characters and backslashes are not allowed here.", control.start() + 1
    if "#" in text:
        return "Comments are not part of the language.", text.index("#") + 1
    deep = _bracket_too_deep(text)
    if deep is not None:
        return f"Brackets are nested deeper than {MAX_BRACKET_DEPTH}.", deep + 1
    run = _UNARY_RUN.search(text)
    return ("Too many signs in a row.", run.start() + 1) if run else None


def _bracket_too_deep(text: str) -> int | None:
    if text.count("(") + text.count("[") + text.count("{") <= MAX_BRACKET_DEPTH:
        return None
    depth = 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth > MAX_BRACKET_DEPTH:
            return index
    return None


def _parse(source: str, place: Place, problems: Problems, *, lead: int, before: int) -> ast.Module | None:
    try:
        tree = _tree(source)
    except SyntaxError as error:
        column = max((error.offset or 1) - before + lead, 1)
        problems.add("invalid_expression", f"This does not parse: {error.msg}.", place.at(column))
        return None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        problems.add("invalid_expression", "This expression is nested too deeply to be read.", place.at(1))
        return None
    # A level takes a character at least: most strings are too short to be deep.
    if len(source) > MAX_EXPRESSION_DEPTH and _depth_exceeds(tree, MAX_EXPRESSION_DEPTH):
        detail = f"This expression is nested deeper than {MAX_EXPRESSION_DEPTH}."
        problems.add("invalid_expression", detail, place.at(1), "Split it into several statements.")
        return None
    return tree


def _tree(source: str) -> ast.Module:
    if not _NUMBER_BEFORE_WORD.search(source):
        return ast.parse(source)
    with warnings.catch_warnings():  # «1if x else 2» parses with a warning
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _depth_exceeds(tree: ast.AST, limit: int) -> bool:
    """Measure without recursion: the tree may be deeper than Python's own stack."""
    level: list[ast.AST] = [tree]
    for _ in range(limit + 2):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True


def type_name(value: object) -> str:
    """Return what JSON calls the type of a value, with its article."""
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array",
             dict: "an object", type(None): "null"}  # fmt: skip
    return names.get(type(value), "this")
