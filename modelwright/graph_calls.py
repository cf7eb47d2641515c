"""What a client can ask about computational graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from modelwright.live import as_definition
from modelwright.requests import Requests, path

Json = dict[str, Any]
Picture = Literal["svg", "mermaid", "dot"]
_CAPTURE_SECONDS = 180.0  # the service gives one a minute; loading the compiler and waiting for another come on top
_GRAPH_SECONDS = 120.0  # half a minute for a place, 20 s for the run, and for the picture as much again
Gradients = bool | Sequence[str] | Mapping[str, Any]


class GraphCalls(Requests):
    """The methods for ``/v1/graphs``."""

    def graph(
        self,
        /,
        model: object = None,
        inputs: Mapping[str, object] | None = None,
        *,
        gradients: Gradients = False,
        **options: object,
    ) -> Json:
        """Run a model once and return its graph: data as ``nodes``, ``operations`` between them, ``gradients``.

        Args:
            model: a definition, the id of a model, or a live ``nn.Module``; leave it out with ``checkpoint=``.
            inputs: each input by name: nested lists, an array or a tensor, or ``{"random": "randn", "shape": [2, 3]}``.
                Without them small samples of the declared shapes are used.
            gradients: ``True`` for those of all leaves, names for those of some, or the request's own section:
                ``{"output": "y", "element": [0], "of": ["w"], "paths": {"limit": 5}}``.
            options: ``checkpoint``, ``data``, ``mode``, ``seed``, ``dtype``, ``limits``, as in the HTTP reference.

        Raises:
            InvalidRequest: the definition, the inputs or the run are wrong; ``problems`` names every place.
            CannotDescribe: the live module does something that the language cannot say.
        """
        body = _body(model, inputs, gradients, options)
        return self._post("/v1/graphs", body, None, timeout_seconds=_GRAPH_SECONDS)

    def graph_picture(
        self,
        /,
        model: object = None,
        inputs: Mapping[str, object] | None = None,
        *,
        format: Picture = "svg",
        collapse: str = "auto",
        gradients: Gradients = False,
        **options: object,
    ) -> str:
        """Run a model once as `graph` does and return its picture: SVG, or text for Mermaid or Graphviz.

        ``collapse`` is ``auto``, ``none``, ``depth:N``, or paths of modules to close, with commas.

        Raises:
            InvalidRequest, CannotDescribe: as `graph`; also when there is too much to draw.
        """
        params = [("format", format), ("collapse", collapse)]
        body = _body(model, inputs, gradients, options)
        return self._post_text("/v1/graphs", body, params=params, timeout_seconds=_GRAPH_SECONDS)

    def graph_diff(self, /, model: object = None, runs: Sequence[Mapping[str, Any]] = (), **options: object) -> Json:
        """Run one model on several inputs and return in what the graphs differ: turns, branches, operations.

        Args:
            model: as for `graph`.
            runs: two or more of ``{"name": …, "inputs": …}`` (or ``"data"``).
            options: ``checkpoint``, ``mode``, ``seed``, ``dtype``, ``limits``.

        Raises:
            InvalidRequest, CannotDescribe: as `graph`.
        """
        given = [{**run, **({"inputs": _inputs(run["inputs"])} if "inputs" in run else {})} for run in runs]
        body = {**_subject(model), "runs": given, **options}
        return self._post("/v1/graphs/diff", body, None, timeout_seconds=_GRAPH_SECONDS)

    def capture(self, /, model: object = None, inputs: Mapping[str, object] | None = None, **options: object) -> Json:
        """Capture a model as one static graph; return how that went, and the graph.

        ``captured`` says whether it is one graph, ``breaks`` where and why it is not, ``branches`` and ``loops`` what
        became of them. The first call of a service takes seconds more, for torch's compiler is loaded then.

        Args:
            model: as for `graph`.
            inputs: as for `graph`.
            options: ``checkpoint``, ``data``, ``mode``, ``seed``, ``dtype``.

        Raises:
            InvalidRequest, CannotDescribe: as `graph`.
        """
        body = _body(model, inputs, False, options)
        return self._post("/v1/graphs/capture", body, None, timeout_seconds=_CAPTURE_SECONDS)

    def compare(self, /, model: object = None, inputs: Mapping[str, object] | None = None, **options: object) -> Json:
        """Measure training steps of a model, dynamic and static in turns; return the numbers and a picture.

        Args:
            model: as for `graph`.
            inputs: as for `graph`.
            options: ``checkpoint``, ``data``, ``mode``, ``seed``, ``dtype``, ``measure_seconds``.

        Raises:
            InvalidRequest, CannotDescribe: as `graph`; ``not_capturable`` where there is no static graph.
        """
        body = _body(model, inputs, False, options)
        return self._post("/v1/graphs/compare", body, None, timeout_seconds=_CAPTURE_SECONDS)

    def model_graph(self, model_id: str, *, gradients: bool = False, mode: str = "train", seed: int = 0) -> Json:
        """Return the graph of a kept model, run on small samples of its declared inputs.

        Raises:
            NotFound: you have no such model.
            InvalidRequest: it declares no inputs: use `graph`.
        """
        params: list[tuple[str, str | int]] = [("gradients", str(gradients).lower()), ("mode", mode), ("seed", seed)]
        return self._get(path("models", model_id, "graph"), params)


def _body(
    model: object, inputs: Mapping[str, object] | None, gradients: Gradients, options: Mapping[str, object]
) -> Json:
    body = {**_subject(model), **options}
    if inputs is not None:
        body["inputs"] = _inputs(inputs)
    if gradients is not False:
        body["gradients"] = _gradients(gradients)
    return body


def _subject(model: object) -> Json:
    return {} if model is None else {"model": as_definition(model)}


def _gradients(gradients: Gradients) -> Json:
    if isinstance(gradients, Mapping):
        return dict(gradients)
    return {} if isinstance(gradients, bool) else {"of": list(gradients)}


def _inputs(inputs: Mapping[str, object]) -> Json:
    return {name: _input(value) for name, value in inputs.items()}


def _input(value: Any) -> Any:  # noqa: ANN401 - an array or tensor of any library, or JSON
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return {"value": _numbers(value.tolist()), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, Mapping):
        return {member: _numbers(item) if member == "value" else item for member, item in value.items()}
    return _numbers(value)


def _numbers(value: Any) -> Any:  # noqa: ANN401 - nested lists of numbers
    """Spell NaN and infinities as the service reads them: JSON has no numbers for them."""
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
