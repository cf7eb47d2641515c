"""`modelwright graph`: a definition run once by the service, as a tree, a table of paths, and a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelwright.cli.console import err, out, print_json
from modelwright.cli.exits import UsageError
from modelwright.cli.graph_diff import print_diff
from modelwright.cli.graph_paths import print_paths
from modelwright.cli.graph_request import Asked, diff_request, graph_request, picture_format
from modelwright.cli.graph_tree import print_tree
from modelwright.client import Client


def show_graph(
    client: Client, asked: Asked, *, output: Path | None, wanted: str | None, collapse: str, as_json: bool
) -> None:
    """Print the tree and the paths; with ``output`` write the picture too, and say so on standard error.

    A ``wanted`` format without a file, and the file ``-``, are for pipes: standard output has the picture alone.

    Raises:
        UsageError: the options contradict each other.
        ModelwrightError: the service refuses.
    """
    to_pipe = str(output) == "-"
    kind = picture_format(None if to_pipe else output, wanted or ("svg" if to_pipe else None))
    request = graph_request(asked)
    if kind and (output is None or to_pipe):
        sys.stdout.write(_picture(client, request, kind, collapse))
        return
    graph = client.graph(**request)
    if kind and output is not None:
        text = json.dumps(graph) if kind == "json" else _picture(client, request, kind, collapse)
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror}.") from None
        err().print(f"{output}  {len(text.encode()):,} bytes", style="dim", soft_wrap=True, markup=False)
    if as_json:
        print_json(graph)
        return
    console = out()
    print_tree(graph, console)
    print_paths(graph, console, named=bool(asked.leaves))


def show_diff(client: Client, asked: Asked, others: Sequence[str], *, as_json: bool) -> None:
    """Print in what the runs differ.

    Raises:
        UsageError, ModelwrightError: as `show_graph`.
    """
    diff = client.graph_diff(**diff_request(asked, others))
    if as_json:
        print_json(diff)
    else:
        print_diff(diff, out())


def _picture(client: Client, request: dict[str, Any], kind: str, collapse: str) -> str:
    if kind == "json":
        return json.dumps(client.graph(**request))
    return client.graph_picture(**request, format=kind, collapse=collapse)  # type: ignore[arg-type]
