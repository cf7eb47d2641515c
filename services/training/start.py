"""Beginning with weights that were trained before: which of a checkpoint's tensors go where in the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from services.errors import InvalidRequest, Problem
from services.training.model import Section
from services.training.optimizer import Pattern
from services.training.patterns import matching
from services.training.problems import nearest

_SHOWN = 5
Prefix = Annotated[str, Field(max_length=200)]


class InitFrom(Section):
    """Weights to begin with. A tensor is taken where name and shape agree; the rest is initialised as ever."""

    checkpoint: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="`ckpt_…`, one of yours.")
    match: Annotated[list[Pattern], Field(min_length=1, max_length=64)] = Field(
        default_factory=lambda: ["*"], description="Patterns of the model's tensors that are to be taken."
    )
    rename: Annotated[dict[Prefix, Prefix], Field(max_length=64)] = Field(
        default_factory=dict, description="Beginnings of names: what the checkpoint calls it → what the model calls it."
    )
    strict: bool = Field(False, description="Refuse the job unless every tensor of both finds its counterpart.")


def match_weights(
    section: InitFrom, tensors: Sequence[Mapping[str, Any]], weights: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return the checkpoint, the ``tensors`` to load (the model's name → the checkpoint's), and a ``report``.

    Args:
        section: what the request says.
        tensors: the model's (`services.modules.tensors`).
        weights: name and shape of each tensor of the checkpoint.

    Raises:
        InvalidRequest: ``unknown_name``, ``conflict``, ``nothing_matches`` or ``weights_mismatch``.
    """
    shapes = {row["name"]: list(row["shape"]) for row in tensors}
    _check_names(section, list(shapes), list(weights))
    renamed = _renamed(section, list(weights))
    wanted = matching(shapes, section.match)
    found = {name: renamed[name] for name in wanted if name in renamed}
    mismatched = [name for name, other in found.items() if list(weights[other]) != shapes[name]]
    report: dict[str, list[Any]] = {
        "loaded": [name for name in found if name not in mismatched],
        "missing": [name for name in wanted if name not in renamed],
        "mismatched": [
            {"name": name, "model": shapes[name], "checkpoint": list(weights[found[name]])} for name in mismatched
        ],
        "unused": sorted(set(weights) - set(found.values())),
    }
    _check_report(section, report)
    taken = {name: found[name] for name in report["loaded"]}
    return {"checkpoint": section.checkpoint, "tensors": taken, "report": report}


def _check_names(section: InitFrom, names: list[str], weights: list[str]) -> None:
    problems = [
        Problem("unknown_name", f"{pattern!r} matches no tensor of the model.", f"/init_from/match/{index}", hint)
        for index, pattern in enumerate(section.match)
        if not matching(names, [pattern])
        for hint in [nearest(pattern, names)]
    ]
    problems += [
        Problem("unknown_name", f"No tensor of the checkpoint begins with {prefix!r}.", "/init_from/rename", hint)
        for prefix in section.rename
        if not any(name.startswith(prefix) for name in weights)
        for hint in [nearest(prefix, weights)]
    ]
    if problems:
        raise InvalidRequest(problems)


def _renamed(section: InitFrom, weights: list[str]) -> dict[str, str]:
    """Return the checkpoint's names by what they are called here; the longest prefix that fits is replaced."""
    renamed: dict[str, str] = {}
    prefixes = sorted(section.rename, key=len, reverse=True)
    for name in weights:
        prefix = next((one for one in prefixes if name.startswith(one)), None)
        here = name if prefix is None else section.rename[prefix] + name.removeprefix(prefix)
        if here in renamed:
            detail = f"{renamed[here]!r} and {name!r} of the checkpoint would both be {here!r}."
            raise InvalidRequest([Problem("conflict", detail, "/init_from/rename")])
        renamed[here] = name
    return renamed


def _check_report(section: InitFrom, report: Mapping[str, Any]) -> None:
    if not report["loaded"]:
        detail = f"No tensor of the checkpoint has the name and shape of one of the model's. {_words(report)}"
        hint = "`rename` maps names; GET /v1/checkpoints/{id} tells the job whose model it was."
        raise InvalidRequest([Problem("nothing_matches", detail, "/init_from", hint)])
    if section.strict and any(report[name] for name in ("missing", "mismatched", "unused")):
        detail = f"Not every tensor finds its counterpart. {_words(report)}"
        raise InvalidRequest([Problem("weights_mismatch", detail, "/init_from/strict", "Set it to false, or rename.")])


def _words(report: Mapping[str, Any]) -> str:
    mismatched = [f"{one['name']} {one['model']} ≠ {one['checkpoint']}" for one in report["mismatched"]]
    lists = {"missing": report["missing"], "other shape": mismatched, "unused": report["unused"]}
    return " ".join(
        f"{word.capitalize()}: {', '.join(found[:_SHOWN])}{' …' if len(found) > _SHOWN else ''}."
        for word, found in lists.items()
        if found
    )
