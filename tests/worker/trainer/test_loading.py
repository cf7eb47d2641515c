"""From a stored table to what the model sees: features, normalization, encodings, splits, windows, variations."""

import math

import numpy as np
import pytest
import torch

from services.errors import InvalidRequest, TrainingFailure
from services.modules.data.loading import load_data
from tests.services.datasets.prepared import Prepared, csv_of
from tests.worker.trainer.harness import assert_same_bits, read, resumed, train
from worker.trainer.data import Batches

CPU = torch.device("cpu")
ROWS = 40
PEOPLE = {
    "age": [20 + i % 7 * 3 for i in range(ROWS)],
    "income": [1000.5 * (i % 11) for i in range(ROWS)],
    "city": [("Rome", "Oslo", "Lima")[i % 3] for i in range(ROWS)],
    "day": [f"2024-01-{31 - i % 31:02d}T{i:02d}" for i in range(ROWS)],
    "person": [f"p{i // 4}" for i in range(ROWS)],
    "part": [("train", "train", "val", "test")[i % 4] for i in range(ROWS)],
    "label": [("no", "yes")[i % 5 == 0] for i in range(ROWS)],
}
INPUTS = {"inputs": ["age"], "target": "label"}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("people"), csv_of(PEOPLE), "csv", target="label")


def loaded(prepared, **section):
    return load_data(prepared.data(**section), CPU)


def column(prepared, feature, part="train", **section):
    """Return one part of a feature called x."""
    section = {"features": {"x": feature}, "inputs": ["x"], "target": "age", **section}
    return loaded(prepared, **section).parts[part].columns["x"]


def job(people, **section):
    return people.job("Sequential(Linear(5, 8), ReLU(), Linear(8, 2))", **section)


FEATURES = {"x": {"columns": ["age", "income", "city"], "normalize": "standardize"}}


def test_columns_are_put_side_by_side_normalized_by_the_training_rows_alone(people):
    found = loaded(people, features=FEATURES, target="label")
    x = found.parts["train"].columns["x"]
    assert x.dtype == torch.float32
    assert x.shape == (32, 5)
    torch.testing.assert_close(x[:, :2].mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(x[:, :2].std(0, correction=0), torch.ones(2))
    assert x[:, 2:].sum(1).eq(1).all()
    rows = found.parts["train"].rows.numpy()
    age = np.array(PEOPLE["age"], dtype=np.float64)
    fitted = found.preprocessing["fitted"]["x"]["sources"][0]
    assert fitted["center"] == pytest.approx(age[rows].mean())
    assert fitted["scale"] == pytest.approx(age[rows].std())
    test = found.parts["test"]
    expected = (age[test.rows.numpy()] - age[rows].mean()) / age[rows].std()
    torch.testing.assert_close(test.columns["x"][:, 0], torch.from_numpy(expected).float())
    names = sorted({"Rome", "Oslo", "Lima"})
    for row, encoded in zip(found.parts["train"].rows.tolist(), x[:, 2:].tolist(), strict=True):
        assert names[encoded.index(1)] == PEOPLE["city"][row]


def test_min_max_runs_from_zero_to_one_over_the_training_rows(people):
    x = column(people, {"columns": ["age", {"column": "income", "normalize": "standardize"}], "normalize": "min_max"})
    assert (x[:, 0].min(), x[:, 0].max()) == (0, 1)
    assert x[:, 1].min() < -1


def test_labels_are_class_numbers(people):
    codes = column(people, {"columns": ["city"], "dtype": "int64"})
    assert codes.dtype == torch.int64
    assert codes.shape == (32,)
    assert set(codes.tolist()) == {0, 1, 2}
    both = column(people, {"columns": ["city", "age"], "encode": "label"})
    assert both.shape == (32, 2)


def test_star_takes_all_but_the_target(people):
    data = people.data(features={"x": {"columns": "*"}}, target="label")
    used = [source["column"] for source in data["recipes"]["x"]["sources"]]
    assert used == [name for name in PEOPLE if name != "label"]


def test_a_table_has_its_default_inputs_side_by_side(people):
    data = people.data(split={"train": 1.0})
    assert data["inputs"] == ["features"]
    assert data["columns"]["features"]["shape"] == [1 + 1 + 3 + ROWS + 10 + 3]


@pytest.mark.parametrize(
    ("section", "code", "pointer"),
    [
        ({"features": {"x": {"columns": ["agee"]}}}, "unknown_column", "/data/features/x/columns/0"),
        ({"features": {"age": {"columns": ["age"]}}}, "duplicate_name", "/data/features/age"),
        (
            {"features": {"x": {"columns": [{"column": "city", "normalize": "min_max"}]}}},
            "conflict",
            "/data/features/x/columns/0",
        ),
        (
            {"features": {"x": {"columns": [{"column": "age", "encode": "one_hot"}]}}},
            "conflict",
            "/data/features/x/columns/0",
        ),
        ({"features": {"x": {"columns": ["income"], "dtype": "int64"}}}, "dtype_mismatch", "/data/features/x/dtype"),
        ({"features": {"x": {"columns": ["age"], "image": {}}}}, "conflict", "/data/features/x/image"),
        ({"features": {"x": {"columns": ["age"], "text": {"length": 3}}}}, "conflict", "/data/features/x/text"),
        ({"split": {"by_group": "persons"}}, "unknown_column", "/data/split/by_group"),
        ({"split": {"stratify": "income"}}, "conflict", "/data/split/stratify"),
        ({"split": {"column": "city"}}, "unknown_value", "/data/split/column"),
        ({"split": {"column": "age"}}, "conflict", "/data/split/column"),
        ({"split": {"stratify": True}, "window": {"length": 3}}, "conflict", "/data/split/stratify"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(people, section, code, pointer):
    with pytest.raises(InvalidRequest) as caught:
        people.data(**{**INPUTS, **section})
    assert [(one.code, one.pointer) for one in caught.value.problems] == [(code, pointer)]


def test_stratified_parts_have_the_same_shares_of_classes(people):
    split = {"validation": 0.25, "test": 0.25, "stratify": True, "seed": 4}
    parts = loaded(people, **INPUTS, split=split).parts
    assert {name: part.columns["label"].sum().item() for name, part in parts.items()} == {
        "train": 4,
        "validation": 2,
        "test": 2,
    }
    assert sorted(torch.cat([part.rows for part in parts.values()]).tolist()) == list(range(ROWS))


def test_groups_stay_together(people):
    data = people.data(**INPUTS, split={"validation": 0.2, "test": 0.2, "by_group": "person"})
    parts = load_data(data, CPU).parts
    owners = [{PEOPLE["person"][row] for row in part.rows.tolist()} for part in parts.values()]
    assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])
    assert [len(part) for part in parts.values()] == [24, 8, 8] == list(data["rows"].values())


def test_by_time_the_last_rows_test(people):
    parts = loaded(people, **INPUTS, split={"validation": 0.1, "test": 0.1, "by_time": "day"}).parts
    days = {name: [PEOPLE["day"][row] for row in part.rows.tolist()] for name, part in parts.items()}
    assert max(days["train"]) < min(days["validation"])
    assert max(days["validation"]) < min(days["test"])


def test_a_column_may_say_which_row_goes_where(people):
    data = people.data(**INPUTS, split={"column": "part"})
    parts = load_data(data, CPU).parts
    assert data["rows"] == {"train": 20, "validation": 10, "test": 10}
    assert {PEOPLE["part"][row] for row in parts["validation"].rows.tolist()} == {"val"}


HOLES = {"a": [1, "", 3, 4, 5, "", 7, 8], "b": ["u", "v", "", "u", "v", "u", "v", "u"], "y": list(range(8))}


@pytest.fixture(scope="module")
def holes(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("holes"), csv_of(HOLES), "csv")


def test_missing_numbers_are_refused_with_their_row_unless_the_job_says_what_to_do(holes):
    with pytest.raises(TrainingFailure) as caught:
        column(holes, {"columns": ["a"]}, split={"train": 1.0}, target="y")
    assert (caught.value.code, "row 1" in caught.value.detail) == ("non_finite_data", True)
    every = {"split": {"train": 1.0}, "target": "y"}
    assert column(holes, {"columns": ["a"], "missing": 9.0}, **every).flatten().sort().values[-1] == 9
    assert column(holes, {"columns": ["a"], "missing": "mean"}, **every).mean().item() == pytest.approx(28 / 6)
    assert column(holes, {"columns": ["a"], "missing": "median"}, **every).flatten().sort().values[3] == 4
    data = holes.data(features={"x": {"columns": ["a"], "missing": "drop"}}, inputs=["x"], **every)
    assert data["rows"]["train"] == 6
    assert sorted(load_data(data, CPU).parts["train"].rows.tolist()) == [0, 2, 3, 4, 6, 7]


def test_a_missing_class_is_refused_with_its_row_or_dropped(holes):
    every = {"split": {"train": 1.0}, "target": "y"}
    with pytest.raises(TrainingFailure) as caught:
        column(holes, {"columns": ["b"]}, **every)
    assert (caught.value.code, "row 2" in caught.value.detail) == ("missing_value", True)
    assert column(holes, {"columns": ["b"], "missing": "drop"}, **every).shape == (7, 2)


SERIES = {"t": list(range(30)), "value": [math.sin(i) for i in range(30)], "load": [i * i for i in range(30)]}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("series"), csv_of(SERIES), "csv")


def test_windows_on_a_series_see_the_past_and_predict_what_is_ahead(series):
    window = {"length": 4, "stride": 2, "shift": 3, "target": "last"}
    section = {"features": {"x": {"columns": ["value", "load"]}}, "inputs": ["x"], "target": "t", "window": window}
    data = series.data(**section, split={"validation": 0.0, "test": 1 / 3})
    parts = load_data(data, CPU).parts
    assert data["columns"]["x"]["shape"] == [4, 2]
    assert data["rows"] == {"train": 7, "validation": 0, "test": 2}
    assert {name: len(part) for name, part in parts.items()} == data["rows"]
    assert parts["train"].columns["next_t"].tolist() == [6, 8, 10, 12, 14, 16, 18]
    assert parts["test"].columns["next_t"].tolist() == [26, 28]
    assert parts["train"].columns["x"][3, :, 1].tolist() == [36, 49, 64, 81]
    assert parts["test"].columns["x"][0, 0, 1] == 400


def test_windows_on_text_are_shifted_by_one_and_share_their_memory(tmp_path):
    text = "to be or not to be, that is the question"
    prepared = Prepared(tmp_path, text.encode(), "text")
    data = prepared.data(window={"length": 8}, split={"train": 1.0}, batch_size=4, shuffle=False)
    part = load_data(data, CPU).parts["train"]
    assert data["columns"]["character"] == data["columns"]["next_character"]
    assert len(part) == len(text) - 8
    assert part.columns["character"].untyped_storage().nbytes() == len(text)
    names = data["columns"]["character"]["class_names"]
    batch = next(Batches(part, batch_size=4, shuffle=False, drop_last=False, seed=0).rest_of_epoch(0))
    assert batch.inputs[0].dtype == torch.int64
    spell = lambda codes: "".join(names[code] for code in codes.tolist())  # noqa: E731
    assert spell(batch.inputs[0][1]) == text[1:9]
    assert spell(batch.columns["next_character"][1]) == text[2:10]
    evaluated = next(part.batches(2))
    assert torch.equal(evaluated.inputs[0], batch.inputs[0][:2])


def test_texts_of_a_table_become_tokens_of_one_length(tmp_path):
    long = ["ab", "cäb", "", "a" * 300]
    prepared = Prepared(tmp_path, csv_of({"text": long, "y": [0, 1, 0, 1]}), "csv", csv={"types": {"text": "text"}})
    assert prepared.info.columns["text"].class_names == ("a", "b", "c", "ä")
    section = {"inputs": ["x"], "target": "y", "split": {"train": 1.0}}
    x = {"columns": ["text"], "text": {"length": 4}}
    part = loaded(prepared, features={"x": x}, **section).parts["train"]
    by_row = dict(zip(part.rows.tolist(), part.columns["x"].tolist(), strict=True))
    assert by_row == {0: [1, 2, 0, 0], 1: [3, 4, 2, 0], 2: [0, 0, 0, 0], 3: [1, 1, 1, 1]}
    assert next(part.batches(4)).inputs[0].dtype == torch.int64
    data = prepared.data(features={"x": {**x, "text": {"length": 4, "unit": "byte"}}}, **section)
    part = load_data(data, CPU).parts["train"]
    assert data["columns"]["x"]["classes"] == 257
    by_row = dict(zip(part.rows.tolist(), part.columns["x"].tolist(), strict=True))
    assert by_row[1] == [byte + 1 for byte in "cäb".encode()]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    from tests.services.datasets.files import image_folder

    return Prepared(tmp_path_factory.mktemp("images"), image_folder(24, size=(8, 6)), "images")


def test_images_are_scaled_to_one_normalized_by_channel_and_resized(images):
    data = images.data(split={"train": 1.0})
    part = load_data(data, CPU).parts["train"]
    assert data["columns"]["image"]["dtype"] == "float32"
    assert part.columns["image"].dtype == torch.uint8
    pixels = next(part.batches(24)).inputs[0]
    assert pixels.dtype == torch.float32
    assert 0 <= pixels.min() < pixels.max() <= 1
    feature = {"columns": ["image"], "image": {"resize": [4, 4]}, "normalize": "standardize"}
    small = loaded(images, features={"x": feature}, inputs=["x"], target="label", split={"train": 1.0})
    x = next(small.parts["train"].batches(24)).inputs[0]
    assert x.shape == (24, 3, 4, 4)
    assert len(small.preprocessing["fitted"]["x"]["sources"][0]["center"]) == 3


AUGMENTED = {"x": {"columns": ["image"], "image": {"flip": 0.5, "crop": 1}, "normalize": "standardize"}}


def test_a_row_is_varied_by_seed_epoch_and_row_alone(images):
    data = images.data(features=AUGMENTED, inputs=["x"], target="label", split={"train": 1.0})
    part = load_data(data, CPU).parts["train"]

    def epoch(number, batch_size, shuffle=False, seed=3):
        batches = Batches(part, batch_size=batch_size, shuffle=shuffle, drop_last=False, seed=seed)
        return torch.cat([one.inputs[0] for one in batches.rest_of_epoch(number * batches.steps_per_epoch)])

    first = epoch(0, 4)
    assert torch.equal(first, epoch(0, 7))
    assert not torch.equal(first, epoch(1, 4))
    assert not torch.equal(first, epoch(0, 4, seed=4))
    shuffled = epoch(0, 4, shuffle=True)
    assert not torch.equal(first, shuffled)
    assert sorted(first.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(shuffled.sum((1, 2, 3)).tolist()), abs=1e-4)
    plain = next(part.batches(24)).inputs[0]
    assert not torch.equal(plain, first)


def test_a_resumed_run_over_varied_images_ends_with_the_same_bits(images, tmp_path):
    model = "Sequential(Flatten(), Linear(144, 2))"
    section = {"features": AUGMENTED, "inputs": ["x"], "target": "label", "batch_size": 5}
    whole = images.job(model, folder=tmp_path / "whole", **section)
    whole["checkpoints"]["every"] = {"epochs": None, "steps": 1, "seconds": None}
    *between, undisturbed = train(whole).of("checkpoint")
    assert len(between) > 5
    for checkpoint in between:
        rest = train(resumed(whole, checkpoint, tmp_path / f"after-{checkpoint['step']}"))
        assert_same_bits(read(undisturbed), read(rest.of("checkpoint")[-1]))


def test_a_job_over_features_trains_and_its_checkpoint_says_how_the_columns_were_made(people, tmp_path):
    line = train(job(people, features=FEATURES, target="label", folder=tmp_path))
    assert line.last["outcome"] == "succeeded", line.last
    _, _, state = read(line.of("checkpoint")[-1])
    preprocessing = state["preprocessing"]
    assert set(preprocessing["recipes"]) == {"x", "label"}
    assert preprocessing["fitted"]["x"]["sources"][0].keys() == {"column", "center", "scale"}


def test_channel_statistics_are_those_of_all_training_pixels(images, monkeypatch):
    monkeypatch.setattr("services.modules.data.columns._IMAGES_AT_A_TIME", 5)
    for normalize in ("standardize", "min_max"):
        feature = {"columns": ["image"], "image": {}, "normalize": normalize}
        found = loaded(images, features={"x": feature}, inputs=["x"], target="label", split={"test": 0.5})
        fitted = found.preprocessing["fitted"]["x"]["sources"][0]
        pixels = images.columns()["image"][found.parts["train"].rows.numpy()].astype(np.float64) / 255
        if normalize == "standardize":
            expected = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
        else:
            expected = pixels.min((0, 2, 3)), pixels.max((0, 2, 3)) - pixels.min((0, 2, 3))
        np.testing.assert_allclose(fitted["center"], expected[0])
        np.testing.assert_allclose(fitted["scale"], expected[1])


def test_thousands_of_wrong_columns_are_answered_at_once_and_too_many_are_refused(tmp_path):
    names = [f"column{number:04d}" for number in range(1000)]
    wide = Prepared(tmp_path, csv_of({name: [1, 2] for name in names}), "csv")
    wrong = [f"colunm{number}" for number in range(2000)]
    with pytest.raises(InvalidRequest) as caught:
        wide.data(features={"x": {"columns": wrong}})
    assert len(caught.value.problems) == 2000
    assert sum(problem.hint is not None for problem in caught.value.problems) == 10
    with pytest.raises(InvalidRequest) as caught:
        wide.data(features={f"x{number}": {"columns": "*"} for number in range(21)})
    assert (caught.value.code, caught.value.problems[0].pointer) == ("out_of_range", "/data/features")


@pytest.mark.parametrize("normalize", ["standardize", "min_max"])
def test_numbers_too_large_to_normalize_are_refused_with_the_row(normalize, tmp_path):
    values = [1.0, -1.7e308, 1.0, 1.5e308, 2.0]
    huge = Prepared(tmp_path, csv_of({"a": values, "y": list(range(5))}), "csv")
    assert huge.table["profile"]["statistics"]["a"]["std"] is None
    with pytest.raises(TrainingFailure) as caught:
        column(huge, {"columns": ["a"], "normalize": normalize}, split={"train": 1.0}, target="y")
    assert caught.value.code == "non_finite_data"
    assert "too large to normalize in row 1" in caught.value.detail
