"""What a client can do with a trained model: predict."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelwright.checkpoint_calls import CheckpointCalls
from modelwright.errors import ModelwrightError
from modelwright.requests import path

Json = dict[str, Any]

_BODY_BYTES, _BODY_VALUES = 900_000, 40_000
"""What a request may hold with room to spare: more rows go in several."""
_PAGE = 10_000
_SECONDS = 180.0  # the service gives one a minute; building the model and waiting for others come on top


class WindowsNeedAll(ModelwrightError):
    """The model looks at windows of rows, and the rows do not fit into one request."""

    hint = "Upload the rows as a data set and predict that."


class PredictionCalls(CheckpointCalls):
    """The methods for ``/v1/checkpoints/{id}/predict``."""

    def predict(
        self,
        /,
        identifier: str,
        rows: object = None,
        *,
        dataset: str | Mapping[str, Any] | None = None,
        split: str | None = None,
        numbers: Sequence[int] | None = None,
        limit: int | None = None,
        **options: object,
    ) -> Json:
        """Predict rows with a trained model, also while its job trains on.

        Args:
            identifier: a checkpoint, or a job: then its newest checkpoint.
            rows: dictionaries of raw values by the names of the data set's columns; a mapping of one array a column;
                or a data frame. They go in several requests when they are many; ``metrics`` is None then.
            dataset: instead of ``rows``, a data set (its name, id, or what `upload_dataset` returned); by default the
                job's own.
            split: only its ``train``, ``validation`` or ``test`` part.
            numbers: only these of its rows.
            limit: how many of its rows to list at most; by default all.
            options: ``first``, ``top_k``, ``outputs``, ``metrics``, ``seed``, as in the HTTP reference.

        Raises:
            NotFound: there is no such checkpoint, or the job has none yet.
            InvalidRequest: the rows do not fit; ``problems`` names row and column.
        """
        where = self._predict_path(identifier)
        if rows is None:
            return self._predict_data(where, {"data": _data(dataset, split, numbers), **options}, limit)
        if isinstance(rows, Mapping):
            return self._ask(where, {"columns": {name: _column(values) for name, values in rows.items()}, **options})
        return self._predict_rows(where, _records(rows), dict(options))

    def iter_predictions(
        self,
        /,
        identifier: str,
        *,
        dataset: str | Mapping[str, Any] | None = None,
        split: str | None = None,
        **options: object,
    ) -> Iterator[Json]:
        """Yield the predictions of a data set's rows as they are made, in constant memory; the last has ``metrics``.

        Raises:
            NotFound, InvalidRequest: as `predict`.
            ConnectionFailed: the stream broke off.
        """
        body = {"data": _data(dataset, split, None), **options}
        for line in self._lines(self._predict_path(identifier), body, "application/x-ndjson"):
            yield json.loads(line)

    def predictions_csv(
        self, /, identifier: str, *, dataset: str | None = None, split: str | None = None, **options: object
    ) -> Iterator[str]:
        """Yield the same as lines of CSV, with a header.

        Raises:
            NotFound, InvalidRequest, ConnectionFailed: as `iter_predictions`.
        """
        body = {"data": _data(dataset, split, options.pop("numbers", None)), **options}
        return self._lines(self._predict_path(identifier), body, "text/csv")

    def _predict_path(self, identifier: str) -> str:
        return path("checkpoints", self.find_checkpoint(identifier)["id"], "predict")

    def _ask(self, where: str, body: Json) -> Json:
        return self._post(where, body, None, timeout_seconds=_SECONDS)

    def _lines(self, where: str, body: Json, accept: str) -> Iterator[str]:
        with self._transport.stream(where, {"Accept": accept}, body=body) as answer:
            yield from answer.iter_lines()

    def _predict_data(self, where: str, body: Json, limit: int | None) -> Json:
        """Ask page by page; the numbers of all rows come with the first."""
        whole = self._ask(where, {**body, "limit": min(_PAGE, limit or _PAGE)})
        while whole["has_more"] and (limit is None or len(whole["predictions"]) < limit):
            first = whole["first"] + len(whole["predictions"])
            size = _PAGE if limit is None else min(_PAGE, limit - len(whole["predictions"]))
            page = self._ask(where, {**body, "first": first, "limit": size, "metrics": False})
            whole["predictions"] += page["predictions"]
            whole["has_more"] = page["has_more"]
        return whole

    def _predict_rows(self, where: str, rows: list[Json], options: Json) -> Json:
        whole: Json = {}
        for first, block in _blocks(rows):
            answer = self._ask(where, {"rows": block, **options})
            if len(block) < len(rows) and answer["total_rows"] != len(block):
                raise WindowsNeedAll("The model looks at windows of rows, and these are too many for one request.")
            found = [{**one, "row": one["row"] + first} for one in answer["predictions"]]
            if not whole:
                whole = answer
                continue
            whole["predictions"] += found
            whole |= {"metrics": None, "total_rows": whole["total_rows"] + answer["total_rows"]}
        return whole or self._ask(where, {"rows": [], **options})


def _data(dataset: str | Mapping[str, Any] | None, split: str | None, numbers: object) -> Json:
    name = dataset["id"] if isinstance(dataset, Mapping) else dataset
    given = {"dataset": name, "split": split, "rows": numbers}
    return {member: value for member, value in given.items() if value is not None}


def _records(rows: Any) -> list[Json]:  # noqa: ANN401 - dictionaries, or a data frame of any library
    if hasattr(rows, "to_dicts"):  # polars
        rows = rows.to_dicts()
    elif hasattr(rows, "to_dict"):  # pandas
        rows = rows.to_dict("records")
    return [{name: _value(value) for name, value in row.items()} for row in rows]


def _column(values: Any) -> Any:  # noqa: ANN401 - an array of any library, a list, or a text
    return values if isinstance(values, str) else [_value(value) for value in values]


def _value(value: Any) -> Any:  # noqa: ANN401 - what rows hold
    """Return a value as JSON has it: arrays as lists, NaN as the null that stands for a gap."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and math.isnan(value) else value


def _blocks(rows: list[Json]) -> Iterator[tuple[int, list[Json]]]:
    """Yield runs of rows that fit into a request, each with the number of its first."""
    first, size, values = 0, 0, 0
    for number, row in enumerate(rows):
        text = json.dumps(row)
        more = (len(text) + 1, text.count(",") + len(row) + 2)
        full = size + more[0] > _BODY_BYTES or values + more[1] > _BODY_VALUES or number - first >= _PAGE
        if number > first and full:
            yield first, rows[first:number]
            first, size, values = number, 0, 0
        size, values = size + more[0], values + more[1]
    if rows:
        yield first, rows[first:]
