"""What building a model may take while it is checked: modules, turns of loops, items that are made or walked."""

from __future__ import annotations

from typing import NoReturn

from services.definition.limits import MAX_BUILD_ITEMS, MAX_BUILD_STEPS, MAX_BUILD_TURNS, MAX_MODULES
from services.definition.problems import Place, Problems, Stopped

PROJECTION = 4
"""How often the budget must be exceeded by projection before a loop is refused early."""
_ATOMS = frozenset({int, float, bool, type(None)})
"""What has nothing inside."""
BOX = 4
"""What walking into one more list costs, in items."""
PUT = 8
"""What a module costs that a container is gone through for, or that is put into another one."""


class Budget:
    """The budget of one check."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.turns_left = MAX_BUILD_TURNS
        self.modules_left = MAX_MODULES
        self.items_left = MAX_BUILD_ITEMS
        self.steps_left = MAX_BUILD_STEPS

    def stop(self, code: str, detail: str, place: Place, hint: str | None = None) -> NoReturn:
        """Note a problem and end the evaluation."""
        self.problems.add(code, detail, place, hint)
        raise Stopped

    def spend_modules(self, count: int, place: Place) -> None:
        """Take ``count`` modules from the budget."""
        self.modules_left -= count
        if self.modules_left < 0:
            self.stop("model_too_large", f"A model has at most {MAX_MODULES} modules.", place, "Make it of fewer.")

    def spend_turns(self, count: int, place: Place) -> None:
        """Take ``count`` turns of a loop from the budget, before the loop begins."""
        self.turns_left -= count
        if self.turns_left < 0:
            detail = f"Building this model takes more than {MAX_BUILD_TURNS} turns of its loops."
            self.stop("model_too_large", detail, place, "Make its loops shorter.")

    def spend_items(self, count: int, place: Place) -> None:
        """Take ``count`` items of lists and characters of strings from the budget."""
        if self.items_left < 0:
            raise Stopped  # it was noted where it happened
        self.items_left -= count
        if self.items_left < 0:
            detail = (
                f"Building this model makes or walks through more than {MAX_BUILD_ITEMS} items of lists and strings."
            )
            self.stop("model_too_large", detail, place, "Make its lists and strings shorter, or the loops around them.")

    def spend_step(self, place: Place) -> None:
        """Take the evaluation of one part of an expression from the budget."""
        if self.steps_left < 0:
            raise Stopped  # as above
        self.steps_left -= 1
        if self.steps_left < 0:
            detail = f"Building this model evaluates more than {MAX_BUILD_STEPS} parts of expressions."
            self.stop("model_too_large", detail, place, "Make its loops shorter, or its definitions fewer.")

    def share(self, other: Budget) -> None:
        """Go on with what another evaluation of the same check has left."""
        self.items_left, self.steps_left = other.items_left, other.steps_left

    def walk(self, value: object, place: Place) -> None:
        """Pay for everything inside a value, however deep, before something goes through all of it.

        A list that holds one list twice, and so on, is small to keep and endless to compare or to print.
        """
        left, boxes = self.items_left, [value]
        while boxes and left >= 0:
            box = boxes.pop()
            if isinstance(box, list | tuple | dict):
                left -= len(box) + BOX
                if left >= 0 and not _ATOMS.issuperset(map(type, box)):
                    boxes += box
                if left >= 0 and isinstance(box, dict):
                    boxes += box.values()
            elif isinstance(box, str):
                left -= len(box)
        self.spend_items(self.items_left - left, place)

    def project(self, count: int, before: tuple[int, int], place: Place) -> None:
        """Refuse a loop after its first turn, when all its turns would spend the budget several times over."""
        turns, modules = before[0] - self.turns_left, before[1] - self.modules_left
        if turns * count > PROJECTION * before[0] or modules * count > PROJECTION * before[1]:
            detail = f"{count} turns like the first one exceed what a model may hold or take to build."
            self.stop("model_too_large", detail, place, "Make this loop shorter.")
