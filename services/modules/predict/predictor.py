"""Answers requests with one trained model: rows in, predictions and scores out, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from services.definition import check
from services.errors import InvalidRequest, Problem, TrainingFailure
from services.modules.data.parts import Batch
from services.modules.data.preparing import Preparation
from services.modules.formulas import Outputs
from services.modules.predict.model import TrainedModel, named_outputs
from services.modules.predict.plain import plain
from services.modules.predict.reading import Reading
from services.modules.predict.rows import Rows, file_rows, inline_rows
from services.modules.predict.scores import Scores, Scoring
from services.modules.tally import evaluation_batch
from services.training.sources import vocabulary_of

MAX_NUMBERS = 2_000_000
"""Numbers that one answer may list; a stream has no end of its own."""
Event = dict[str, Any]


class Predictor:
    """The model of a checkpoint, with what prepares rows for it and what tells its outputs."""

    def __init__(self, subject: Mapping[str, Any]) -> None:
        """Build the model.

        Args:
            subject: ``document``, ``weights`` (a path), ``training`` and ``data`` of the resolved job,
                ``preprocessing`` of the checkpoint, ``batch_size``.
        """
        data, made = subject["data"], subject["preprocessing"]
        self._definition = check(subject["document"])
        self._plan: Mapping[str, Any] = subject["training"]
        self._model = TrainedModel(self._definition, subject["weights"], precision=self._plan["precision"])
        self._vocabulary = vocabulary_of(self._definition.outputs, data["names"])
        self._scoring = Scoring(self._plan, self._vocabulary)
        self._batch_size = evaluation_batch(subject["batch_size"], scales=self._scoring.scales)
        self._split: Mapping[str, Any] = data["split"]
        self._vocabularies: Mapping[str, list[str]] = made["vocabularies"]
        self._preparation = Preparation(
            made["recipes"],
            made["fitted"],
            made["window"],
            tuple(data["inputs"]),
            {name: column.get("classes") for name, column in data["columns"].items()},
        )

    def answer(self, request: Mapping[str, Any]) -> Iterator[Event]:
        """Yield ``{"begin": …}``, any number of ``{"block": [row, …]}``, and ``{"end": …}``.

        Args:
            request: ``rows``, ``columns`` or ``data`` (see `services.modules.predict.rows`), ``seed``, ``top_k``,
                ``outputs``, ``metrics``, ``first`` and ``limit`` (None: all, however many).

        Raises:
            InvalidRequest: what is wrong with the rows, or with the model on them.
        """
        try:
            yield from self._answer(request)
        except TrainingFailure as failure:  # the words of training for rows that it would refuse
            pointer = next(f"/{name}" for name in ("data", "rows", "columns") if request[name] is not None)
            raise InvalidRequest([Problem(failure.code, failure.detail, pointer, failure.hint)]) from None

    def _answer(self, request: Mapping[str, Any]) -> Iterator[Event]:
        rows = self._rows(request)
        # The whole preparation: rows without a target are told in the target's words too.
        preparation, loss = self._preparation, self._plan["loss"]
        reading = Reading(loss, self._vocabulary, preparation, vocabularies=self._vocabularies, top_k=request["top_k"])
        scores = self._scores(request, rows)
        total, first = len(rows.chosen), request["first"]
        last = total if request["limit"] is None else min(total, first + request["limit"])
        self._model.begin(request["seed"])
        begun = False
        for start in self._starts(total, first, last, everything=scores is not None):
            listed = range(max(first, start), min(last, start + self._batch_size))
            chosen = rows.chosen[start : start + self._batch_size]
            part = rows.preparation.part(rows.stored, rows.order, chosen)
            with torch.inference_mode(), self._model.autocast():
                batch = next(part.batches(self._batch_size))
                outputs = self._model.run(batch, rows.pointer)
                if scores is not None:
                    scores.add(outputs, batch)
                if not begun:
                    reading.begin(outputs, batch)
                    yield {"begin": self._header(reading, rows, total)}
                    begun = True
                if listed:
                    answers = self._listed(reading, outputs, batch, request, last - first)
                    numbers = part.rows.tolist()
                    block = [{"row": numbers[n - start], **answers[n - start]} for n in listed]
                    yield {"block": block}
        yield {"end": {"metrics": scores.compute() if scores is not None else None}}

    def _rows(self, request: Mapping[str, Any]) -> Rows:
        if request["data"] is None:
            return inline_rows(request, self._preparation, self._vocabularies)
        return file_rows(request["data"], self._preparation, self._split)

    def _scores(self, request: Mapping[str, Any], rows: Rows) -> Scores | None:
        possible = self._scoring.columns <= rows.preparation.recipes.keys()
        return self._scoring.begin(rows.pointer) if request["metrics"] and possible else None

    def _starts(self, total: int, first: int, last: int, *, everything: bool) -> range:
        """Return where batches begin: always at the same places, so that rows get the same neighbours."""
        size, begin = self._batch_size, min(first, total - 1)  # one batch at least: it tells what predictions are
        return range(0, total, size) if everything else range(begin - begin % size, max(last, begin + 1), size)

    def _header(self, reading: Reading, rows: Rows, total: int) -> dict[str, Any]:
        return {
            "kind": reading.head.kind,
            "target": reading.target,
            "class_names": list(reading.names),
            "total_rows": total,
            "ignored_columns": list(rows.ignored),
        }

    def _listed(
        self, reading: Reading, outputs: Outputs, batch: Batch, request: Mapping[str, Any], count: int
    ) -> list[Any]:
        answers = reading.answers(outputs, batch)
        if not (request["outputs"] or reading.head.kind == "outputs"):
            return answers
        tensors = named_outputs(outputs, self._definition.outputs)
        by_row = {name: one for name, one in tensors.items() if one.shape[:1] == (batch.rows,)}
        _check_size(by_row, batch.rows, count if request["limit"] is not None else batch.rows)
        told = {name: plain(one) for name, one in by_row.items()}
        return [{**row, "outputs": {name: one[n] for name, one in told.items()}} for n, row in enumerate(answers)]


def _check_size(by_row: Mapping[str, torch.Tensor], rows: int, listed: int) -> None:
    """Refuse outputs of so many numbers, in what is told at once, that nobody would want to read them."""
    numbers = sum(one.numel() for one in by_row.values()) // rows * listed
    if numbers > MAX_NUMBERS:
        detail = f"The outputs of {listed:,} rows are {numbers:,} numbers; at most {MAX_NUMBERS:,} are told at once."
        hint = "Lower `limit`, or ask for a stream: Accept: application/x-ndjson."
        raise InvalidRequest([Problem("answer_too_large", detail, "/limit", hint)])
