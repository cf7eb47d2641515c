"""Whether the names in a plan mean parameters of the model, and whether its optimizer can train those that are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.errors import InvalidRequest, Problem
from services.training.patterns import grouped, matching
from services.training.problems import nearest

_TAKES_SPARSE = ("SGD", "Adagrad", "SparseAdam")
_SHOWN = 4
Row = Mapping[str, Any]


def check_selection(training: Mapping[str, Any], tensors: Sequence[Row]) -> None:
    """Compare a resolved plan with the model's tensors (`services.modules.tensors`).

    Raises:
        InvalidRequest: ``unknown_name`` for a pattern that matches nothing, ``conflict`` for a group that gets nothing,
            ``no_trainable_parameters``, or ``optimizer_mismatch``.
    """
    parameters = [row for row in tensors if row["parameter"] and row["same_as"] is None]
    names = [row["name"] for row in parameters]
    problems = list(_check_patterns(training["freeze"], names, "/training/freeze/{}"))
    frozen = set(matching(names, training["freeze"]))
    left = [row for row in parameters if row["trainable"] and row["name"] not in frozen]
    if frozen and not left:
        detail = "Every parameter is frozen: there is nothing to train."
        problems.append(Problem("no_trainable_parameters", detail, "/training/freeze", "Freeze fewer."))
    problems += _check_groups(training["optimizer"]["groups"], names, [row["name"] for row in left])
    problems += _check_optimizer(training, left)
    if problems:
        raise InvalidRequest(problems)


def _check_patterns(patterns: Sequence[str], names: Sequence[str], pointer: str) -> Iterator[Problem]:
    for index, pattern in enumerate(patterns):
        if not matching(names, [pattern]):
            detail = f"{pattern!r} matches no parameter of the model."
            yield Problem("unknown_name", detail, pointer.format(index), nearest(pattern, names))


def _check_groups(groups: Sequence[Row], names: Sequence[str], left: Sequence[str]) -> Iterator[Problem]:
    patterns = [group["match"] for group in groups]
    pointer = "/training/optimizer/groups/{}/match"
    yield from _check_patterns(patterns, names, pointer)
    for index, found in enumerate(grouped(left, patterns)[1:]):
        if not found and matching(names, [patterns[index]]):
            detail = f"Nothing is left for {patterns[index]!r}: what it matches is frozen or in an earlier group."
            yield Problem("conflict", detail, pointer.format(index), "Put the narrower pattern first, or leave it out.")


def _check_optimizer(training: Mapping[str, Any], left: Sequence[Row]) -> Iterator[Problem]:
    kind = training["optimizer"]["type"]
    sparse = [row for row in left if row["sparse"]]
    dense = [row for row in left if not row["sparse"]]
    if kind == "Muon" and (others := [row for row in left if len(row["shape"]) != 2]):
        detail = f"Muon trains matrices alone; not 2-d: {_shown(others)}."
        yield _mismatch(detail, "Freeze the others (`freeze`), or use AdamW.")
    if kind == "SparseAdam" and dense:
        detail = f"SparseAdam trains `Embedding(…, sparse=True)` alone; others: {_shown(dense)}."
        yield _mismatch(detail, "Freeze the others (`freeze`), or use Adam and sparse=False.")
    if sparse and kind not in _TAKES_SPARSE:
        detail = f"{kind} does not take the sparse gradients of {_shown(sparse)}."
        yield _mismatch(detail, f"Use {' or '.join(_TAKES_SPARSE)}, or sparse=False.")
    if sparse and training["gradient_clip"] is not None:
        detail = f"The gradients of {_shown(sparse)} are sparse: they cannot be clipped."
        yield Problem("conflict", detail, "/training/gradient_clip", "Leave it out, or use sparse=False.")
    if sparse and training["on_non_finite"] == "skip":
        detail = f"The gradients of {_shown(sparse)} are sparse: a step of them cannot be left out."
        yield Problem("conflict", detail, "/training/on_non_finite", 'Use "fail" or "continue".')


def _mismatch(detail: str, hint: str) -> Problem:
    return Problem("optimizer_mismatch", detail, "/training/optimizer/type", hint)


def _shown(rows: Sequence[Row]) -> str:
    names = [f"{row['name']} {row['shape']}" for row in rows[:_SHOWN]]
    return ", ".join(names) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")
