"""What a name means in an expression outside a model: an output of the model, or a column of the batch."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.definition.names import is_name, is_taken
from services.definition.problems import Place, nearest_hint
from services.errors import Problem

WHOLE = "output"
"""What a model returns goes by this name, unless the definition gives names to several parts of it."""
_SHOWN_NAMES = 20


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names of one request.

    ``outputs`` are those that the definition names; with ``open`` there may be more, the keys of a dict that forward
    returns, and only a run tells. ``columns`` gives each name (of an input, of the target, of a column) its column.
    """

    outputs: tuple[str, ...]
    columns: Mapping[str, str]
    open: bool = False

    def meanings(self, name: str) -> list[str]:
        """Return what a name stands for, in words; more than one thing is one too many."""
        found = [f"the output {name!r}"] if name in self.outputs else []
        if name == WHOLE and not found and self._whole():
            found.append("what the model returns")
        return found + ([f"the column {self.columns[name]!r}"] if name in self.columns else [])

    def names(self) -> list[str]:
        """Return every name that can be written."""
        return [n for n in dict.fromkeys([*self.outputs, *self._whole(), *self.columns]) if is_usable(n)]

    def listing(self) -> str:
        """Return all names, for whoever wrote one that is not there."""
        outputs = [name for name in self.names() if name not in self.columns]
        columns = [name for name in self.names() if name in self.columns]
        parts = (("outputs", outputs), ("columns", columns))
        text = "; ".join(f"{title}: {_list(names)}" for title, names in parts if names)
        return f"Known {text}."

    def unknown(self, name: str, place: Place, others: Iterable[str] = ()) -> Problem:
        """Return the problem of a name that means nothing, with all names that do; ``others`` would also do."""
        near = nearest_hint(name, [*self.names(), *others])
        hint = " ".join(part for part in (near, self.listing()) if part)
        return Problem("unknown_name", f"There is no name {name[:80]!r} here.", place.pointer, hint, place.column)

    def ambiguous(self, name: str, place: Place) -> Problem | None:
        """Return the problem of a name that means two things."""
        meanings = self.meanings(name)
        if len(meanings) < 2:
            return None
        detail = f"{name!r} is {' and '.join(meanings)}."
        hint = 'Call what forward returns otherwise, with "outputs" in the definition.'
        return Problem("ambiguous_name", detail, place.pointer, hint, place.column)

    def _whole(self) -> tuple[str, ...]:
        return (WHOLE,) if len(self.outputs) <= 1 else ()


def is_usable(name: str) -> bool:
    """Return whether a name can stand for a value: it is a name of the language, and means nothing else in it."""
    return is_name(name) and "__" not in name and not keyword.iskeyword(name) and not is_taken(name)


def _list(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
