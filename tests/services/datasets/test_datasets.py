"""Built-in data sets: what the catalog says is what the files hold, and splits follow the documented rule."""

import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from services.datasets.builtin import materialise
from services.datasets.catalog import DATASETS, get_builtin
from services.datasets.split import split_rows, split_sizes
from services.errors import InvalidRequest


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", DATASETS)
def test_the_file_holds_what_the_catalog_says(name, cache):
    info = DATASETS[name]
    columns = load_file(materialise(name, cache).path)
    assert set(columns) == set(info.columns)
    for column_name, column in info.columns.items():
        values = columns[column_name]
        assert values.shape == (info.rows, *column.shape)
        assert values.dtype == column.dtype
        assert np.isfinite(values).all()
        if column.classes is not None:
            assert set(np.unique(values)) == set(range(column.classes))
            assert len(column.class_names) == column.classes
    assert {*info.inputs, info.target} <= set(info.columns)


def test_digits_are_scaled_and_the_image_is_the_same_pixels(cache):
    columns = load_file(materialise("digits", cache).path)
    assert (columns["pixels"].min(), columns["pixels"].max()) == (0.0, 1.0)
    assert (columns["image"].reshape(1797, 64) == columns["pixels"]).all()


def test_the_photographs_are_those_that_scikit_learn_ships(cache):
    from sklearn.datasets import load_sample_image

    columns = load_file(materialise("sample_images", cache).path)
    for name, image, label in zip(("china.jpg", "flower.jpg"), columns["image"], columns["label"], strict=True):
        assert (image.transpose(1, 2, 0) == load_sample_image(name)).all()
        assert DATASETS["sample_images"].columns["label"].class_names[label] == name.removesuffix(".jpg")


def test_standardized_features_have_mean_zero_and_deviation_one(cache):
    values = load_file(materialise("wine", cache).path)["standardized"].astype("float64")
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-6)


def test_a_file_is_written_once_and_replaced_when_damaged(tmp_path):
    first = materialise("iris", tmp_path)
    inode = first.path.stat().st_ino
    assert materialise("iris", tmp_path) == first
    assert first.path.stat().st_ino == inode
    first.path.write_bytes(first.path.read_bytes()[:-1] + b"!")
    assert materialise("iris", tmp_path) == first
    assert first.path.stat().st_ino != inode
    assert [path.suffix for path in first.path.parent.iterdir()] == [".safetensors"]


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InvalidRequest) as caught:
        get_builtin("digit")
    (problem,) = caught.value.problems
    assert (problem.code, problem.pointer) == ("unknown_dataset", "/data/dataset")
    assert "'digits'" in problem.hint


def test_the_split_follows_the_documented_rule():
    split = {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 3}
    parts = split_rows(1797, split)
    order = np.random.default_rng(3).permutation(1797)
    assert (parts["test"] == order[:180]).all()
    assert (parts["validation"] == order[180:360]).all()
    assert (parts["train"] == order[360:]).all()


@pytest.mark.parametrize(
    ("rows", "fractions", "sizes"),
    [
        (10, (0.8, 0.1, 0.1), (8, 1, 1)),
        (10, (0.5, 0, 0), (5, 0, 0)),
        (1, (0.8, 0.1, 0.1), (1, 0, 0)),
        (3, (0.4, 0.3, 0.3), (1, 1, 1)),
        (7, (0.0, 0.0, 1.0), (0, 0, 7)),
    ],
)
def test_every_row_is_in_at_most_one_part(rows, fractions, sizes):
    split = dict(zip(("train", "validation", "test"), fractions, strict=True), seed=0)
    parts = split_rows(rows, split)
    assert tuple(split_sizes(rows, split).values()) == sizes
    assert tuple(len(part) for part in parts.values()) == sizes
    assert len(np.unique(np.concatenate(list(parts.values())))) == sum(sizes)


def test_the_catalog_needs_neither_scikit_learn_nor_torch():
    program = (
        "import services.datasets.catalog, services.datasets.split, sys; print({'sklearn', 'torch'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"
