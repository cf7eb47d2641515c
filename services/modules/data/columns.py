"""Makes the columns a model sees of the stored ones: what depends on the data is fitted on the training rows alone.

What was fitted is plain JSON, kept in every checkpoint, so that a prediction prepares its rows in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.datasets.plain import CODED
from services.errors import user_failure
from services.modules.data.finishing import Finish, resize
from services.modules.data.tokenizing import texts_of, tokens, trained
from services.modules.data.tokens import byte_tokens, character_tokens, class_tokens
from services.modules.data.transforms import Transforms

_IMAGES_AT_A_TIME = 256
Fitted = dict[str, Any]
"""``{"sources": [{"column", "center": number | list, "scale": number | list, "fill": number | list, "tokenizer":
text}]}``"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A column as its file has it; of a text all bytes, and where each row begins."""

    values: Tensor
    offsets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def take(self, rows: Tensor) -> Stored:
        """Return the rows of these numbers, in this order; one may be there several times."""
        if self.offsets is None:
            return Stored(self.values[rows])
        begins, sizes = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
        places = torch.arange(int(offsets[-1])) + (begins - offsets[:-1]).repeat_interleave(sizes)
        return Stored(self.values[places], offsets)


@dataclass(frozen=True, slots=True)
class Made:
    """A column of all rows, and what is still to be done to the rows of a batch."""

    values: Tensor
    finish: Finish | None


def fit(recipe: Mapping[str, Any], stored: Mapping[str, Stored], train: Tensor) -> Fitted:
    """Return what normalization and missing values need to know; ``train`` are the numbers of the training rows.

    Raises:
        TrainingFailure: ``non_finite_data``: numbers so large that their spread is none.
    """
    sources = []
    for source in recipe["sources"]:
        fitted: dict[str, Any] = {"column": source["column"]}
        if source["normalize"] or source["missing"] in ("mean", "median"):
            fitted |= _statistics(source, stored[source["column"]].values[train], per_channel=_is_image(recipe))
            _check_scale(source["column"], fitted, stored[source["column"]].values[train], train)
        elif isinstance(source["missing"], float | int):
            fitted["fill"] = float(source["missing"])
        if recipe["text"] and recipe["text"].get("tokenizer"):
            texts = _texts(recipe["text"], stored[source["column"]], train)
            fitted["tokenizer"] = trained(recipe["text"]["tokenizer"], texts)
        sources.append(fitted)
    return {"sources": sources}


def make(name: str, recipe: Mapping[str, Any], fitted: Fitted, stored: Mapping[str, Stored]) -> Made:
    """Return the column called ``name``; also that of new rows, with what was fitted before."""
    sources = recipe["sources"]
    first = stored[sources[0]["column"]]
    if recipe["text"]:
        return Made(_tokens(recipe["text"], fitted["sources"][0], first), Finish(torch.int64))
    if _is_image(recipe):
        return _image(name, recipe, fitted["sources"][0], first.values)
    dtype = getattr(torch, recipe["dtype"])
    if not recipe["side_by_side"]:
        if sources[0]["kind"] == "token":
            return Made(first.values, Finish(torch.int64))  # a byte a character is enough until it is in a batch
        return Made(_numbers(sources[0], fitted["sources"][0], first.values, dtype), None)
    pieces = []
    for source, known in zip(sources, fitted["sources"], strict=True):
        values = stored[source["column"]].values
        if source["encode"] == "one_hot":
            pieces.append(_one_hot(values, int(source["classes"]), dtype))
        else:
            pieces.append(_numbers(source, known, values, dtype).reshape(len(values), -1))
    return Made(torch.cat(pieces, dim=1), None)


def check_complete(recipe: Mapping[str, Any], stored: Mapping[str, Stored], used: Tensor) -> None:
    """Refuse categories without a value in the rows that are ``used``; missing numbers are NaN and are found later.

    Raises:
        TrainingFailure: ``missing_value``, with column and row.
    """
    for source in recipe["sources"]:
        if source["kind"] not in CODED or source["dtype"] == "uint8":
            continue
        missing = stored[source["column"]].values[used] == -1
        if bool(missing.any()):
            row = int(used[missing].min())
            detail = f"Column `{source['column']}` has no value in row {row}."
            raise user_failure("missing_value", detail, hint='Mend it, or set "missing": "drop" in a feature.')


def _is_image(recipe: Mapping[str, Any]) -> bool:
    return bool(recipe["image"]) or (recipe["sources"][0]["kind"] == "image" and not recipe["side_by_side"])


def _statistics(source: Mapping[str, Any], values: Tensor, *, per_channel: bool) -> dict[str, Any]:
    """One number for each component of a vector or channel of an image, else one for the column."""
    if per_channel and source["missing"] not in ("mean", "median"):
        return _channel_statistics(source["normalize"], values)
    numbers = values.double() / (255 if per_channel and values.dtype == torch.uint8 else 1)
    if numbers.dim() != 2:
        numbers = numbers.reshape(-1)
    found: dict[str, Any] = {}
    center = numbers.nanmean(0)
    if source["normalize"] == "standardize":
        scale = (numbers - center).square().nanmean(0).sqrt()
        found |= {"center": center.tolist(), "scale": _nonzero(scale).tolist()}
    elif source["normalize"] == "min_max":
        low = numbers.nan_to_num(torch.inf).amin(0)
        high = numbers.nan_to_num(-torch.inf, neginf=-torch.inf).amax(0)
        found |= {"center": low.tolist(), "scale": _nonzero(high - low).tolist()}
    if source["missing"] == "mean":
        found["fill"] = center.tolist()
    elif source["missing"] == "median":
        found["fill"] = numbers.nanmedian(0).values.tolist() if numbers.dim() > 1 else numbers.nanmedian().item()
    elif isinstance(source["missing"], float | int):
        found["fill"] = float(source["missing"])
    return found


def _check_scale(column: str, fitted: Mapping[str, Any], values: Tensor, train: Tensor) -> None:
    """Divided by an infinite spread every row would be the same, and nobody told."""
    if not bool(torch.as_tensor(fitted.get("scale", 1.0)).isinf().any()):
        return
    largest = values.reshape(len(values), -1).abs().nan_to_num(0.0, posinf=torch.inf).amax(1).argmax()
    detail = f"Column `{column}` has a number too large to normalize in row {int(train[largest])}."
    raise user_failure("non_finite_data", detail, hint="Mend it, or leave `normalize` out.")


def _channel_statistics(normalize: str, images: Tensor) -> dict[str, Any]:
    """Look at some images at a time: all of them as real numbers would take eight times their memory."""
    divisor = 255 if images.dtype == torch.uint8 else 1

    def blocks() -> Iterator[Tensor]:
        for start in range(0, len(images), _IMAGES_AT_A_TIME):
            yield images[start : start + _IMAGES_AT_A_TIME].double().transpose(0, 1).flatten(1) / divisor

    if normalize == "min_max":
        low = torch.stack([block.amin(1) for block in blocks()]).amin(0)
        high = torch.stack([block.amax(1) for block in blocks()]).amax(0)
        return {"center": low.tolist(), "scale": _nonzero(high - low).tolist()}
    count = len(images) * images[0, 0].numel()
    mean = torch.stack([block.sum(1) for block in blocks()]).sum(0) / count
    squares = torch.stack([(block - mean[:, None]).square().sum(1) for block in blocks()]).sum(0)
    return {"center": mean.tolist(), "scale": _nonzero((squares / count).sqrt()).tolist()}


def _nonzero(scale: Tensor) -> Tensor:
    """A column that never changes is only centered."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _numbers(source: Mapping[str, Any], fitted: Mapping[str, Any], values: Tensor, dtype: torch.dtype) -> Tensor:
    if "fill" in fitted and values.is_floating_point():
        values = torch.where(values.isnan(), torch.tensor(fitted["fill"], dtype=values.dtype), values)
    if "center" in fitted:
        center, scale = (torch.tensor(fitted[name], dtype=torch.float64) for name in ("center", "scale"))
        values = (values.double() - center) / scale
    return values.to(dtype)


def _one_hot(codes: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return [rows, codes of a row × classes]; what is missing, in a row that no part has, is all zeros."""
    flat = codes.long().reshape(len(codes), -1)
    found = torch.zeros(*flat.shape, classes, dtype=dtype)
    found.scatter_(2, flat.clamp(min=0).unsqueeze(2), (flat >= 0).to(dtype).unsqueeze(2))
    return found.reshape(len(codes), -1)


def _image(name: str, recipe: Mapping[str, Any], fitted: Mapping[str, Any], values: Tensor) -> Made:
    transforms = recipe["image"] or {"resize": None, "flip": 0.0, "crop": 0}
    listed = transforms.get("transforms")  # checkpoints of older versions have none
    if transforms["resize"]:
        values = resize(values, transforms["resize"])
    finish = Finish(
        torch.float32,
        divisor=255.0 if values.dtype == torch.uint8 else 1.0,
        center=fitted.get("center"),
        scale=fitted.get("scale"),
        flip=transforms["flip"],
        crop=transforms["crop"],
        name=name,
        transforms=Transforms(name, listed) if listed else None,
    )
    return Made(values, finish)


def _texts(text: Mapping[str, Any], stored: Stored, rows: Tensor) -> Iterator[str]:
    """Yield the texts of some rows; those of categories are their names, of one without a value nothing."""
    if stored.offsets is not None:
        return texts_of(stored.values, stored.offsets, rows.tolist())
    return (text["texts"][code] for code in stored.values[rows].tolist() if code >= 0)


def _tokens(text: Mapping[str, Any], fitted: Mapping[str, Any], stored: Stored) -> Tensor:
    if "tokenizer" in fitted and stored.offsets is None:
        return tokens(fitted["tokenizer"], text["texts"], text["length"])[stored.values.long().clamp(min=0)]
    if "tokenizer" in fitted:
        everything = torch.arange(len(stored))
        return tokens(fitted["tokenizer"], [*_texts(text, stored, everything)], text["length"])
    if stored.offsets is None:
        return class_tokens(text["texts"], text["length"], text["vocabulary"])[stored.values.long().clamp(min=0)]
    if text["vocabulary"] is None:
        return byte_tokens(stored.values, stored.offsets, text["length"])
    return character_tokens(stored.values, stored.offsets, text["length"], text["vocabulary"])
