"""Writes the list of torchmetrics classes that a plan may name: ``python -m services.modules.catalog_metrics``.

Listed is what needs no other package and gives one number for a data set; the rest is refused, each with its reason.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import torch
import torchmetrics

from services.modules.catalog_docs import one_line

PATH = Path(__file__).parents[1] / "training" / "torchmetrics.json"
SPACES = (
    "aggregation", "audio", "classification", "clustering", "detection", "image", "multimodal", "nominal",
    "regression", "retrieval", "segmentation", "shape", "text", "video", "wrappers",
)  # fmt: skip
_CURVES = (
    "BinaryConfusionMatrix BinaryPrecisionRecallCurve BinaryROC BinaryStatScores ConfusionMatrix LogAUC "
    "MulticlassConfusionMatrix MulticlassPrecisionRecallCurve MulticlassROC MulticlassStatScores MultilabelEER "
    "MultilabelConfusionMatrix MultilabelPrecisionRecallCurve MultilabelROC MultilabelStatScores "
    "PrecisionRecallCurve ROC StatScores RetrievalPrecisionRecallCurve BinaryFairness BinaryGroupStatRates CatMetric"
)
_PAIRS = ("AtFixedRecall", "AtFixedPrecision", "AtSensitivity", "AtSpecificity")
_WEIGHTS = (
    "ArniqaScore DeepImageStructureAndTextureSimilarity DeepNoiseSuppressionMeanOpinionScore FrechetInceptionDistance "
    "InceptionScore KernelInceptionDistance LearnedPerceptualImagePatchSimilarity "
    "MemorizationInformedFrechetInceptionDistance NonIntrusiveSpeechQualityAssessment PerceptualPathLength "
    "BERTScore InfoLM CLIPScore CLIPImageQualityAssessment VideoMultiMethodAssessmentFusion"
)
_PACKAGES = (
    "PerceptualEvaluationSpeechQuality ShortTimeObjectiveIntelligibility SpeechReverberationModulationEnergyRatio "
    "MeanAveragePrecision IntersectionOverUnion CompleteIntersectionOverUnion DistanceIntersectionOverUnion "
    "GeneralizedIntersectionOverUnion ClusterAccuracy"
)
_REASONS = {
    "gives a curve, a table or several numbers": _CURVES,
    "needs the weights of another network": _WEIGHTS,
    "needs another package": _PACKAGES,
    "takes a function or another metric": "BaseAggregator PermutationInvariantTraining Running RunningMean RunningSum",
    "takes dicts of an own form": "QualityWithNoReference SpatialDistortionIndex",
    "takes panoptic maps": "PanopticQuality ModifiedPanopticQuality",
    "takes meshes": "LipVertexError",
}
_SIZES = (
    "num_classes", "num_labels", "num_outputs", "n_bins", "window_size", "block_size", "top_k", "kernel_size",
    "thresholds",
)  # fmt: skip
_MAX_SIZE = 1 << 16
_MAX_INTEGER = (1 << 31) - 1
_HIDDEN = frozenset(
    {"validate_args", "keep_sequence_dim", "high_pass_filter", "per_class", "filter_length", "use_cg_iter", "load_diag"}
)
_NOT_ONE_NUMBER = frozenset({"none", None, "samplewise", "raw_values"})
_SUMMARIES = ("average", "reduction")
# What torchmetrics annotates with plain ``str``.
_CHOICES: dict[str, dict[str, Any]] = {
    "empty_target_action": {"enum": ["error", "skip", "neg", "pos"]},
    "multioutput": {"enum": ["uniform_average", "variance_weighted"]},
}


def installed() -> Iterator[tuple[str, str, type[torchmetrics.Metric]]]:
    """Yield (space, name, class) of everything that the installed torchmetrics has."""
    seen: set[str] = set()
    for space in SPACES:
        module = importlib.import_module(f"torchmetrics.{space}")
        for name, value in sorted(vars(module).items()):
            is_metric = inspect.isclass(value) and issubclass(value, torchmetrics.Metric)
            if is_metric and value is not torchmetrics.Metric and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield space, name, value


def reason(space: str, name: str) -> str | None:
    """Return why a class is not listed."""
    if space == "wrappers":
        return "wraps other metrics"
    if space == "text" and name != "Perplexity":
        return "takes texts"
    if name.startswith(("Binary", "Multi", "Recall", "Precision", "Sensitivity", "Specificity", "Retrieval")) and (
        any(pair in name for pair in _PAIRS)
    ):
        return "gives a curve, a table or several numbers"
    return next((why for why, names in _REASONS.items() if name in names.split()), None)


def build() -> dict[str, Any]:
    """Return the list, ready for JSON."""
    classes: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for space, name, cls in installed():
        why = reason(space, name)
        if why is None:
            classes[name] = _entry(space, cls)
        else:
            refused[name] = why
    return {"torchmetrics": torchmetrics.__version__, "classes": classes, "refused": refused}


def _entry(space: str, cls: type[torchmetrics.Metric]) -> dict[str, Any]:
    inputs = [name for name in inspect.signature(cls.update).parameters if name not in ("self", "weight")]
    if "args" in inputs:
        inputs = ["preds", "target"]
    properties, required = {}, []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name in _HIDDEN:
            continue
        properties[parameter.name] = _schema(parameter)
        if "default" not in properties[parameter.name]:
            required.append(parameter.name)
    return {
        "doc": _doc(cls),
        "family": space,
        "inputs": inputs,
        "schema": {"properties": properties, "required": required},
    }


def _doc(cls: type[torchmetrics.Metric]) -> str:
    """Return the first sentence; torchmetrics ends the names of its links with an underscore."""
    return re.sub(r"\s*_(?=\W|$)", "", one_line(cls).split(". ..")[0].split(". This")[0])


def _schema(parameter: inspect.Parameter) -> dict[str, Any]:
    schema = _CHOICES.get(parameter.name) or _of(parameter.annotation)
    _bound(schema, least=1 if parameter.name in _SIZES else -_MAX_INTEGER)
    if parameter.name in _SUMMARIES and "anyOf" in schema:  # null stands for a number each, as "none" does
        schema = next(choice for choice in schema["anyOf"] if "enum" in choice)
    default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    if default is parameter.empty or (parameter.name in _SUMMARIES and default not in schema["enum"]):
        return schema
    return {**schema, "default": default}


def _bound(schema: dict[str, Any], *, least: int) -> None:
    """Bound the integers of a schema: a size is at least 1, and nothing is as large as to fill the memory."""
    if schema.get("type") == "integer":
        schema |= {"minimum": least, "maximum": _MAX_SIZE if least == 1 else _MAX_INTEGER}
    for inner in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        _bound(inner, least=least)


def _of(annotation: Any) -> dict[str, Any]:  # noqa: ANN401 - one kind of annotation a line
    plain = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    if annotation in plain:
        return {"type": plain[annotation]}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": [value for value in arguments if value not in _NOT_ONE_NUMBER]}
    if origin in (Union, types.UnionType):
        return _choice(arguments)
    if origin in (list, tuple, collections.abc.Sequence, collections.abc.Collection):
        return {"type": "array", "items": _of(arguments[0])}
    raise TypeError(f"no schema for {annotation}")


def _choice(arguments: tuple[Any, ...]) -> dict[str, Any]:
    known = [one for one in arguments if one is not torch.Tensor and get_origin(one) is not collections.abc.Callable]
    choices = [_of(one) for one in known if one is not collections.abc.Callable]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def main() -> None:
    """Write the file."""
    PATH.write_text(dumps(build()), encoding="utf-8")
    sys.stdout.write(f"{PATH}\n")


def dumps(catalog: dict[str, Any]) -> str:
    """Return JSON with one class a line."""
    rows = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in catalog["classes"].items()]
    return (
        f'{{\n "torchmetrics": {json.dumps(catalog["torchmetrics"])},\n "classes": {{\n'
        + ",\n".join(rows)
        + f'\n }},\n "refused": {json.dumps(catalog["refused"], indent=2)}\n}}\n'
    )


if __name__ == "__main__":
    main()
