"""Writes the built-in data sets as safetensors files, once; the only module that imports scikit-learn."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.datasets.catalog import DatasetInfo, get_builtin
from services.datasets.data_file import DataFile

_LAYOUT = "v1"  # change it when the columns change: files of another layout are not looked at


def materialise(name: str, cache_dir: Path) -> DataFile:
    """Return the file of a built-in data set, writing it if ``cache_dir`` has no sound one.

    The file is named by its content, so a damaged one is noticed and replaced; several processes may do this at once.

    Raises:
        InvalidRequest: ``unknown_dataset``.
    """
    info = get_builtin(name)
    folder = cache_dir / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob(f"{info.name}-{_LAYOUT}-*.safetensors")):
        if _sha256(path.read_bytes()) == path.stem.rsplit("-", 1)[1]:
            return DataFile(path, path.stem.rsplit("-", 1)[1])
    return _write(info, folder)


def _write(info: DatasetInfo, folder: Path) -> DataFile:
    from safetensors.numpy import save  # noqa: PLC0415 - as scikit-learn: only when a file is missing

    content = save(load_columns(info), metadata={"dataset": info.name})
    digest = _sha256(content)
    path = folder / f"{info.name}-{_LAYOUT}-{digest}.safetensors"
    descriptor, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(partial).replace(path)
    return DataFile(path, digest)


def load_columns(info: DatasetInfo) -> dict[str, NDArray[Any]]:
    """Return the columns of a built-in data set, as ``info`` describes them."""
    from sklearn import datasets  # noqa: PLC0415 - half a second and 100 MB that a cached file does not need

    bunch = getattr(datasets, f"load_{info.name}")()
    values = _photographs(bunch.images) if info.name == "sample_images" else _derive(info, bunch.data, bunch.target)
    return {
        name: np.ascontiguousarray(values[name].reshape(info.rows, *column.shape), dtype=column.dtype)
        for name, column in info.columns.items()
    }


def _derive(info: DatasetInfo, data: NDArray[Any], target: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    if info.name == "digits":
        return {"pixels": data / 16, "image": data / 16, "label": target}
    standardized = (data - data.mean(0)) / data.std(0)
    return {"features": data, "standardized": standardized, "benign": target, info.target: target}


def _photographs(images: list[NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    return {"image": np.stack(images).transpose(0, 3, 1, 2), "label": np.arange(len(images))}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
