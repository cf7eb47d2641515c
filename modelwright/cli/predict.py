"""`modelwright predict`: rows of a file or of a data set, predicted by a checkpoint."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.cli.console import out, print_json
from modelwright.cli.exits import UsageError
from modelwright.cli.files import parse_document
from modelwright.cli.prediction_tables import print_predictions, write_csv
from modelwright.client import Client

TABLE_ROWS = 20
"""Rows that a terminal shows unless it is asked for more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    identifier: str
    file: str | None
    split: str | None
    dataset: str | None
    limit: int | None
    top_k: int


def show_predictions(client: Client, asked: Asked, *, as_json: bool) -> None:
    """Print a table on a terminal, CSV in a pipe, JSON where that is asked for.

    Raises:
        UsageError: the options contradict each other, or the file cannot be read.
        ModelwrightError: the service refuses.
    """
    console = out()
    if asked.file is not None:
        if asked.split or asked.dataset:
            raise UsageError("A file has the rows itself: leave out --split and --dataset.")
        answer = client.predict(asked.identifier, read_rows(asked.file), top_k=asked.top_k)
    elif as_json or console.is_terminal:
        limit = asked.limit or (None if as_json else TABLE_ROWS)
        answer = client.predict(
            asked.identifier, dataset=asked.dataset, split=asked.split, limit=limit, top_k=asked.top_k
        )
    else:
        _stream(client, asked)
        return
    if as_json:
        print_json(answer)
    elif console.is_terminal:
        shown = answer["predictions"][: asked.limit or TABLE_ROWS]
        print_predictions({**answer, "predictions": shown}, console)
    else:
        write_csv(answer)


def read_rows(name: str) -> Any:  # noqa: ANN401 - rows, or columns
    """Return the rows of a CSV or JSON file, or of standard input for ``-``.

    Raises:
        UsageError: it cannot be read, has a ragged line, or no rows.
    """
    shown = "standard input" if name == "-" else name
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{shown} cannot be read: {reason}.") from error
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, shown)
    return _from_csv(text, shown)


def _from_json(text: str, shown: str) -> Any:  # noqa: ANN401 - rows, or columns
    whole = parse_document(f'{{"rows": {text}}}' if text.lstrip()[0] == "[" else text, shown, "rows")
    found = whole.get("rows", whole.get("columns"))
    if not isinstance(found, list if "rows" in whole else dict):
        raise UsageError(f'{shown} must hold an array of objects, {{"rows": […]}} or {{"columns": {{…}}}}.')
    return found


def _from_csv(text: str, shown: str) -> list[dict[str, str]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = next(reader, [])
    rows = []
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            raise UsageError(f"{shown}, line {reader.line_num}: {len(cells)} cells, but the header has {len(header)}.")
        rows.append(dict(zip(header, cells, strict=True)))
    if not rows:
        raise UsageError(f"{shown} has no rows below its header.")
    return rows


def _stream(client: Client, asked: Asked) -> None:
    """Write all rows of a data set, or the first of them, however many there are."""
    limit = {} if asked.limit is None else {"limit": asked.limit}
    lines = client.predictions_csv(
        asked.identifier, dataset=asked.dataset, split=asked.split, metrics=False, top_k=max(1, asked.top_k), **limit
    )
    for line in lines:
        sys.stdout.write(f"{line}\n")
