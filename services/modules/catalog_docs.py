"""The first sentence of a docstring of torch, as plain text on one line."""

from __future__ import annotations

import inspect
import re

MAX_LINE = 160
_END = re.compile(
    r"(?<=[a-zσ0-9)\]_])\.(?:\s|$)|:\s(?=[A-Z])|:?\s\.\.\s\w+::|\s(?=See torch)"
    r"|\s(?:Shape|Args|Keyword args|Note|Example):"
)
_SYMBOLS = {
    "times": "×", "cdot": "·", "geq": "≥", "ge": "≥", "leq": "≤", "le": "≤", "neq": "≠", "ne": "≠", "otimes": "⊗",
    "alpha": "α", "beta": "β", "gamma": "γ", "lambda": "λ", "mu": "μ", "sigma": "σ", "pi": "π", "Phi": "Φ",
    "lceil": "⌈", "rceil": "⌉", "lfloor": "⌊", "rfloor": "⌋", "left": "", "right": "", "infty": "∞", "pm": "±",
}  # fmt: skip


def one_line(target: object) -> str:
    """Return the first sentence of a docstring, without markup, at most ``MAX_LINE`` characters long."""
    text = re.sub(r"\s*# noqa.*", "", inspect.getdoc(target) or "")
    lines = _without_notes(_without_signature(text.strip().splitlines()))
    words = _plain(" ".join(" ".join(lines).split()))
    sentence = _END.split(words, maxsplit=1)[0].strip().rstrip(".")
    if len(sentence) <= MAX_LINE:
        return sentence
    return sentence[:MAX_LINE].rpartition(" ")[0].rstrip(",;(") + " …"


def _without_signature(lines: list[str]) -> list[str]:
    """Leave out the call that many docstrings begin with, over several lines too; keep what follows ``-> Tensor:``."""
    if not lines or not re.match(r"\w[\w.]*\(", lines[0]):
        return lines
    depth = 0
    for index, line in enumerate(lines):
        depth += line.count("(") - line.count(")")
        if depth <= 0:
            return [line.partition("->")[2].partition(": ")[2], *lines[index + 1 :]]
    return lines


def _without_notes(lines: list[str]) -> list[str]:
    """Leave out notes and warnings that stand before the text."""
    kept: list[str] = []
    note = False
    for line in lines:
        if re.match(r"\.\. (note|warning)::", line):
            note = True
        elif note and (not line or line.startswith(" ")):
            continue
        else:
            note = False
            kept.append(line)
    return kept


def _plain(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`<]*?)(?:\s*<[^`>]*>)?`", r"\1", text)
    text = text.replace("`", "").replace(":math:", "")
    text = re.sub(r"\*\*(\w[^*]*?)\*\*", r"\1", text)
    if "\\" not in text:
        return text
    text = re.sub(r"\\(?:text|texttt|mathrm|mathbf)\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1", text)
    text = re.sub(r"\\frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))", _fraction, text)
    text = text.replace("\\_", "_").replace("\\ ", " ")
    text = re.sub(r"\\([a-zA-Z]+)", lambda name: _SYMBOLS.get(name[1], name[1]), text)
    return re.sub(r"\{\{?([^{}]*)\}?\}", r"\1", text)


def _fraction(tex: re.Match[str]) -> str:
    parts = (tex[1] or tex[2], tex[3] or tex[4])
    return " / ".join(part if re.fullmatch(r"\\?\w+(\([^()]*\))?", part) else f"({part})" for part in parts)
