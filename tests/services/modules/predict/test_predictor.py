"""What a trained model says of new rows: in the words and units of the data, equal to what the job reported."""

import base64
import math

import numpy as np
import pytest
import torch

from services.errors import InvalidRequest
from tests.services.datasets.files import image_folder, png
from tests.services.datasets.prepared import Prepared, csv_of
from tests.services.modules.predict.trained import Trained
from tests.worker.trainer.harness import make_job

ROWS = 60
HOMES = {
    "rooms": [1 + i % 7 for i in range(ROWS)],
    "area": [f"{20.5 + 3 * (i % 13)}" if i % 10 else "" for i in range(ROWS)],
    "city": [("Rome", "Oslo", "Lima")[i % 3] for i in range(ROWS)],
    "note": [f"near{'ly' * (i % 3)}" for i in range(ROWS)],
    "price": [1000 + 50.25 * (i % 7) + 10 * (i % 3) for i in range(ROWS)],
    "rent": [10 + (i % 7) for i in range(ROWS)],
}
THIRDS = {"train": 0.5, "validation": 0.25, "test": 0.25, "seed": 3}
SLOW = {"optimizer": {"type": "Adam", "lr": 0.01}}
FEATURES = {
    "x": {"columns": ["rooms", "area", "city"], "normalize": "standardize", "missing": "mean"},
    "y": {"columns": ["price"], "normalize": "standardize"},
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("homes"), csv_of(HOMES), "csv", target="price")


@pytest.fixture(scope="module")
def prices(homes, tmp_path_factory):
    section = {"features": FEATURES, "inputs": ["x"], "target": "y", "split": THIRDS, "batch_size": 8}
    plan = {"epochs": 40, "optimizer": {"type": "Adam", "lr": 0.05}, "loss": {"type": "MSELoss"}}
    job = homes.job("Linear(5, 1)", folder=tmp_path_factory.mktemp("prices"), plan=plan, **section)
    return Trained(job)


def train(prepared, folder, model, *, loss, metrics=(), epochs=2, **section):
    plan = {"epochs": epochs, "loss": loss, "metrics": list(metrics), **SLOW}
    return Trained(prepared.job(model, folder=folder, plan=plan, **section))


def refused(trained, **request):
    with pytest.raises(InvalidRequest) as caught:
        trained.ask(**request)
    return caught.value.problems


def test_values_come_back_in_the_unit_of_the_data(prices):
    answer = prices.part("test")
    assert (answer["kind"], answer["target"]) == ("regression", "y")
    for row in answer["predictions"]:
        assert row["target"] == pytest.approx(HOMES["price"][row["row"]], abs=1e-3)
        assert row["value"] == pytest.approx(row["target"], abs=60)
    assert prices.agrees("test")


def test_a_gap_that_training_filled_is_filled_and_another_is_refused(prices):
    rows = [{"rooms": 3, "area": area, "city": "Rome"} for area in (None, "", 38.0)]
    values = [row["value"] for row in prices.ask(rows=rows)["predictions"]]
    assert values[0] == values[1]
    assert values[0] != values[2]
    assert "target" not in prices.ask(rows=rows)["predictions"][0]
    (problem,) = refused(prices, rows=[{"rooms": 3, "area": 1, "city": None}])
    assert (problem.code, problem.pointer) == ("missing_value", "/rows/0/city")


def test_every_bad_cell_is_named_with_row_column_and_hint(prices):
    good = {"rooms": 3, "area": 30, "city": "Rome"}
    bad = [
        {**good, "city": "Rom"},
        {**good, "rooms": "three"},
        {**good, "area": [1]},
        {**good, "rooms": 10**400},
        {**good, "city": 7},
        {**good, "rooms": True},
    ]
    problems = refused(prices, rows=[good, *bad])
    assert sorted((one.pointer, one.code) for one in problems) == [
        ("/rows/1/city", "unknown_category"),
        ("/rows/2/rooms", "wrong_type"),
        ("/rows/3/area", "wrong_type"),
        ("/rows/4/rooms", "out_of_range"),
        ("/rows/5/city", "wrong_type"),
        ("/rows/6/rooms", "wrong_type"),
    ]
    assert "Rome" in next(one.hint for one in problems if one.pointer == "/rows/1/city")
    assert all(f"Row {one.pointer.split('/')[2]}, column" in one.detail for one in problems)
    problems = refused(prices, columns={"rooms": [1, 2], "area": [1], "city": ["Rome", "Rome"]})
    assert [(one.pointer, one.code) for one in problems] == [("/columns/area", "row_count_mismatch")]
    problems = refused(prices, columns={"rooms": [1], "aria": [1], "city": ["Oslo"]})
    assert [(one.pointer, one.code, one.hint) for one in problems] == [
        ("/columns", "missing_column", "Did you mean aria?")
    ]
    assert len(refused(prices, rows=[bad[0]] * 5000)) == 50


def test_a_value_that_normalization_cannot_hold_is_refused_with_its_row(prices):
    (problem,) = refused(prices, rows=[{"rooms": 1, "area": 1e300, "city": "Rome"}])
    assert (problem.code, problem.pointer) == ("non_finite_data", "/rows")
    assert "row 0" in problem.detail


def test_a_page_has_the_bits_of_the_whole(prices):
    whole = prices.part("train")["predictions"]
    page = prices.part("train", first=11, limit=7, metrics=False)
    assert page["predictions"] == whole[11:18]
    assert page["metrics"] is None
    assert page["total_rows"] == len(whole) == 30
    for metrics in (True, False):
        assert prices.part("train", first=30, limit=5, metrics=metrics)["predictions"] == []
    some = prices.part("train", rows=[4, 2, 4])["predictions"]
    assert [one["row"] for one in some] == [whole[4]["row"], whole[2]["row"], whole[4]["row"]]


@pytest.mark.parametrize(
    ("loss", "model"),
    [("BCEWithLogitsLoss", "Linear(2, 1)"), ("BCELoss", "Sequential(Linear(2, 1), Sigmoid())")],
)
def test_two_classes_have_both_probabilities(tmp_path, loss, model):
    table = {"a": list(range(20)), "b": [1] * 20, "late": [float(i % 2) for i in range(20)]}
    prepared = Prepared(tmp_path, csv_of(table), "csv", target="late")
    features = {"x": {"columns": ["a", "b"]}, "y": {"columns": ["late"]}}
    section = {"features": features, "inputs": ["x"], "target": "y", "split": THIRDS}
    trained = train(prepared, tmp_path, model, loss={"type": loss}, metrics=["accuracy"], **section)
    row = trained.ask(rows=[{"a": 3, "b": 1, "late": 1}])["predictions"][0]
    assert set(row["probabilities"]) == {"0", "1"}
    assert row["label"] == int(next(iter(row["probabilities"])))
    assert row["target"] == 1
    assert trained.agrees("test")


def test_several_labels_have_their_own_probabilities(tmp_path):
    table = {"a": list(range(20)), "tag": [("red", "green", "blue")[i % 3] for i in range(20)]}
    prepared = Prepared(tmp_path, csv_of(table), "csv", target="tag")
    features = {"x": {"columns": ["a"]}, "y": {"columns": ["tag"]}}
    section = {"features": features, "inputs": ["x"], "target": "y", "split": THIRDS}
    trained = train(prepared, tmp_path, "Linear(1, 3)", loss={"type": "BCEWithLogitsLoss"}, **section)
    answer = trained.part("test")
    assert answer["kind"] == "multi_label"
    row = answer["predictions"][0]
    assert row["target"] == [table["tag"][row["row"]]]
    assert set(row["probabilities"]) == {"red", "green", "blue"}
    assert row["labels"] == [name for name in ("blue", "green", "red") if row["probabilities"][name] > 0.5]


def test_several_targets_are_told_by_column(homes, tmp_path):
    features = {**FEATURES, "y": {"columns": ["price", "rent"], "normalize": "min_max"}}
    section = {"features": features, "inputs": ["x"], "target": "y", "split": THIRDS}
    trained = train(homes, tmp_path, "Linear(5, 2)", loss={"type": "L1Loss"}, **section)
    for row in trained.part("validation")["predictions"]:
        assert set(row["value"]) == {"price", "rent"}
        assert row["target"]["rent"] == pytest.approx(HOMES["rent"][row["row"]], abs=1e-4)


def test_a_normal_distribution_has_its_deviation_in_the_same_unit(homes, tmp_path):
    model = {
        "modules": {
            "Normal": {
                "init": [{"mean": "Linear(5, 1)"}, {"spread": "Linear(5, 1)"}],
                "forward": ["return self.mean(x), F.softplus(self.spread(x)) + 0.01"],
            }
        },
        "model": "Normal()",
        "outputs": ["mean", "var"],
    }
    loss = {"type": "GaussianNLLLoss", "inputs": ["mean", "target", "var"]}
    section = {"features": FEATURES, "inputs": ["x"], "target": "y", "split": THIRDS}
    trained = train(homes, tmp_path, model, loss=loss, **section)
    (row,) = trained.ask(rows=[{"rooms": 3, "area": 30, "city": "Rome"}], outputs=True)["predictions"]
    scale = trained.predictor._preparation.fitted["y"]["sources"][0]["scale"]
    assert row["deviation"] == pytest.approx(math.sqrt(row["outputs"]["var"][0]) * scale, rel=1e-5)
    assert set(row["outputs"]) == {"mean", "var"}


def test_a_model_with_a_loss_of_ones_own_tells_its_outputs(tmp_path):
    model = {
        "modules": {
            "Sparse": {
                "init": [{"encoder": "Linear(64, 4)"}, {"decoder": "Linear(4, 64)"}],
                "forward": ["code = F.relu(self.encoder(x))", "return {'again': self.decoder(code), 'code': code}"],
            }
        },
        "model": "Sparse()",
        "inputs": [{"name": "x", "column": "pixels", "shape": ["B", 64]}],
    }
    loss = {"terms": {"error": "F.mse_loss(again, x)", "sparsity": "code.abs().mean()"}}
    trained = Trained(make_job(tmp_path, model=model, loss=loss, metrics=[]))
    answer = trained.part("test", limit=2)
    assert answer["kind"] == "outputs"
    row = answer["predictions"][0]
    assert (len(row["outputs"]["again"]), len(row["outputs"]["code"])) == (64, 4)
    assert trained.agrees("test")


def test_images_are_taken_as_files_in_base64(tmp_path):
    prepared = Prepared(tmp_path, image_folder(24), "images")
    features = {"x": {"columns": ["image"], "image": {"flip": 0.5}, "normalize": "standardize"}}
    model = "Sequential(Conv2d(3, 4, kernel_size=3), ReLU(), Flatten(), Linear(144, 2))"
    section = {"features": features, "split": THIRDS}
    loss = {"type": "CrossEntropyLoss"}
    trained = train(prepared, tmp_path, model, loss=loss, metrics=["accuracy"], epochs=8, **section)
    assert trained.agrees("test")
    pixels = np.full((8, 8, 3), 40, np.uint8)
    bright = np.full((30, 20, 3), 160, np.uint8)  # of another size: resized as an upload would be
    encoded = [base64.b64encode(png(one)).decode() for one in (pixels, bright)]
    answer = trained.ask(rows=[{"image": one} for one in encoded])
    assert [row["label"] for row in answer["predictions"]] == ["cat", "dog"]
    nested = trained.ask(rows=[{"image": pixels.transpose(2, 0, 1).tolist()}])
    chances = [one["predictions"][0]["probabilities"]["dog"] for one in (nested, answer)]
    assert chances[0] == pytest.approx(chances[1], rel=1e-4)  # a batch of another size may round otherwise
    problems = refused(trained, rows=[{"image": "%%%"}, {"image": "aGVsbG8="}, {"image": [[1]]}, {"image": None}])
    assert [one.code for one in problems] == ["invalid_image", "invalid_image", "shape_mismatch", "wrong_type"]
    assert problems[1].pointer == "/rows/1/image"


@pytest.mark.parametrize("kind", ["text", "category"])
def test_texts_are_tokenized_with_the_vocabulary_of_training(tmp_path, kind):
    options = {"target": "city", "csv": {"types": {"note": kind}}}
    prepared = Prepared(tmp_path, csv_of(HOMES), "csv", **options)
    features = {"x": {"columns": ["note"], "text": {"length": 9}}}
    model = "Sequential(Embedding(30, 4), Flatten(), Linear(36, 3))"
    section = {"features": features, "inputs": ["x"], "target": "city", "split": THIRDS}
    trained = train(prepared, tmp_path, model, loss={"type": "CrossEntropyLoss"}, epochs=20, **section)
    assert trained.agrees("test")
    answer = trained.ask(columns={"note": ["near", "nearly", "nearlyly"]})
    assert [row["label"] for row in answer["predictions"]] == ["Rome", "Oslo", "Lima"]
    other = [{"note": "ne\u00e9ar, \u2603"}]  # characters that training did not see are no tokens
    if kind == "text":
        assert trained.ask(rows=other)["predictions"][0]["label"] in ("Rome", "Oslo", "Lima")
    else:
        assert refused(trained, rows=other)[0].code == "unknown_category"
    assert refused(trained, rows=[{"note": 3}, {"note": None}])[0].code == "wrong_type"


def test_windows_run_over_the_rows_that_are_sent(tmp_path):
    table = {"hour": [n % 24 for n in range(200)], "load": [100 + n % 24 * 3 for n in range(200)]}
    prepared = Prepared(tmp_path, csv_of(table), "csv", target="load")
    features = {
        "x": {"columns": ["hour", "load"], "normalize": "standardize"},
        "y": {"columns": ["load"], "normalize": "standardize"},
    }
    model = "Sequential(Flatten(), Linear(24, 1))"
    window = {"length": 12, "shift": 1, "target": "last"}
    split = {"train": 0.6, "validation": 0.2, "test": 0.2}
    section = {"features": features, "inputs": ["x"], "target": "y", "window": window, "split": split}
    trained = train(prepared, tmp_path, model, loss={"type": "MSELoss"}, epochs=20, **section)
    assert trained.agrees("test")
    last = [{"hour": table["hour"][n], "load": table["load"][n]} for n in range(180, 200)]
    answer = trained.ask(rows=last)
    assert len(answer["predictions"]) == 9  # the last of them looks beyond the rows: what comes next
    assert answer["metrics"] is None
    of_file = {row["row"]: row for row in trained.part("test")["predictions"]}
    assert answer["predictions"][0]["value"] == pytest.approx(of_file[180]["value"], rel=1e-5)
    assert of_file[180]["target"] == pytest.approx(table["load"][192])
    (problem,) = refused(trained, rows=last[:5])
    assert problem.code == "too_few_rows"


def test_characters_are_told_as_characters(tmp_path):
    text = "ein kleiner text, immer wieder. " * 12
    prepared = Prepared(tmp_path, text.encode(), "text")
    model = {
        "modules": {
            "Writer": {
                "init": [{"embed": "Embedding(40, 8)"}, {"head": "Linear(8, 40)"}],
                "forward": ["return self.head(self.embed(x)).transpose(1, 2)"],
            }
        },
        "model": "Writer()",
    }
    section = {"window": {"length": 8, "stride": 4}, "split": THIRDS, "batch_size": 8}
    trained = train(prepared, tmp_path, model, loss={"type": "CrossEntropyLoss"}, **section)
    assert trained.agrees("test")
    (row,) = trained.ask(columns={"character": "ein klei"})["predictions"]
    assert len(row["label"]) == len(row["probability"]) == 8
    (problem,) = refused(trained, columns={"character": "ein kleiß"})
    assert (problem.code, problem.pointer) == ("unknown_category", "/columns/character/8")


def test_categories_of_another_file_are_those_of_training(homes, tmp_path):
    features = {"x": {"columns": ["rooms", "city"]}}
    section = {"features": features, "inputs": ["x"], "target": "price", "split": THIRDS}
    trained = train(
        homes, tmp_path / "one", "Sequential(Linear(4, 1), Flatten(0))", loss={"type": "MSELoss"}, **section
    )
    other = {"rooms": [3, 3], "city": ["Rome", "Oslo"]}
    prepared = Prepared(tmp_path / "two", csv_of(other), "csv")
    known = trained.job["data"]["vocabularies"]["city"]
    here = prepared.table["columns"]["city"]["class_names"]
    remap = {"city": [known.index(name) for name in here]}
    answer = trained.part(None, file=prepared.path, remap=remap, names={"city": here})
    rows = [{"rooms": 3, "city": city} for city in other["city"]]
    assert [one["value"] for one in answer["predictions"]] == [
        one["value"] for one in trained.ask(rows=rows)["predictions"]
    ]
    with pytest.raises(InvalidRequest) as caught:
        trained.part(None, file=prepared.path, remap={"city": [0, -2]}, names={"city": here})
    assert caught.value.problems[0].code == "unknown_category"
    assert "'Rome'" in caught.value.problems[0].detail


def test_what_forward_remembers_or_draws_does_not_reach_the_next_request(tmp_path):
    model = {
        "modules": {
            "Counting": {
                "init": [{"head": "Linear(64, 10)"}, {"seen": {"buffer": "torch.zeros(1)"}}],
                "forward": [
                    "self.seen = self.seen + 1",
                    "return self.head(x) + self.seen + 0.1 * torch.rand_like(x).mean()",
                ],
            }
        },
        "model": "Counting()",
    }
    trained = Trained(make_job(tmp_path, model=model))
    first = trained.part("test", limit=3, outputs=True)
    assert trained.part("test", limit=3, outputs=True) == first
    assert trained.part("test", limit=3, outputs=True, seed=1)["predictions"] != first["predictions"]


def test_outputs_that_are_no_numbers_are_spelt_out(prices):
    weights = prices.predictor._model._module.weight
    kept = weights.detach().clone()
    try:
        with torch.no_grad():
            weights.fill_(float("nan"))
        (row,) = prices.ask(rows=[{"rooms": 1, "area": 1, "city": "Oslo"}], outputs=True)["predictions"]
    finally:
        with torch.no_grad():
            weights.copy_(kept)
    assert (row["value"], row["outputs"]["output"]) == ("NaN", ["NaN"])
