"""Jobs whose images are transformed: resumed to the bit, shared by processes, evaluated and predicted unvaried."""

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from services.definition import check
from services.errors import InvalidRequest
from services.modules.data.loading import load_data
from services.modules.preflight import preflight
from services.training.problems import problems_from
from services.training.resolve import preflight_inputs, preflight_objective
from services.training.schema import DataSection
from tests.services.datasets.files import image_folder
from tests.services.datasets.prepared import Prepared
from tests.services.modules.predict.trained import Trained
from tests.worker.trainer.forked import in_processes, train_forked
from tests.worker.trainer.harness import assert_same_bits, read, resumed, train
from worker.trainer.data import Batches

CPU = torch.device("cpu")
MODEL = "Sequential(Conv2d(3, 2, kernel_size=3), ReLU(), Flatten(), Linear(32, 2))"  # of images of 6 × 6
TRANSFORMS = [
    {"type": "ColorJitter", "brightness": 0.3, "hue": 0.1},
    {"type": "RandomAffine", "degrees": 10, "p": 0.7},
    {"type": "RandomGaussianNoise", "std": 0.1},
    {"type": "RandomCrop", "size": [6, 6], "padding": 1},
    {"type": "RandomErasing"},
    {"type": "Normalize", "mean": [0.4, 0.5, 0.6], "std": 0.25},
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("pets"), image_folder(30), "images")


def section(transforms=TRANSFORMS, **data):
    features = {"x": {"columns": ["image"], "image": {"transforms": transforms}}}
    return {"features": features, "inputs": ["x"], "target": "label", "batch_size": 5, **data}


def job(images, folder, model=MODEL, plan=None, **data):
    made = images.job(model, folder=folder, plan=plan, **section(**data))
    return {**made, "resources": {"device": "cpu", "gpus": None, "processes": 1}}


def final(line):
    assert line.last["event"] == "finished", line.last
    return read(line.of("checkpoint")[-1])


def refused(images, transforms, **more):
    with pytest.raises(InvalidRequest) as caught:
        images.data(**section(transforms, **more))
    return caught.value.problems[0]


def test_a_run_resumed_at_any_step_ends_with_the_same_bits(images, tmp_path):
    whole = job(images, tmp_path / "whole", split={"validation": 0.2})
    whole["checkpoints"]["every"] = {"epochs": None, "steps": 1, "seconds": None}
    *between, undisturbed = train(whole).of("checkpoint")
    assert [one["step"] for one in between] == list(range(1, 10))
    for checkpoint in between:
        rest = train(resumed(whole, checkpoint, tmp_path / f"after-{checkpoint['step']}"))
        assert_same_bits(read(undisturbed), final(rest))


def test_the_gathered_runs_may_be_short(images, monkeypatch):
    monkeypatch.setattr("worker.trainer.data._TRANSFORMED_BYTES", 1)
    part = load_data(images.data(**section()), CPU).parts["train"]
    batches = Batches(part, batch_size=7, shuffle=True, drop_last=False, seed=3)
    whole = [one.inputs[0] for one in batches.rest_of_epoch(0)]
    rest = [one.inputs[0] for one in batches.rest_of_epoch(2)]
    assert [len(one) for one in whole] == [7, 7, 7, 3]
    assert all(torch.equal(one, other) for one, other in zip(whole[2:], rest, strict=True))


def test_several_processes_draw_what_one_does(images, tmp_path, fork_server):
    alone = train(job(images, tmp_path / "alone"))
    together = train_forked(fork_server, in_processes(job(images, tmp_path / "two"), 2), tmp_path / "together")
    expected = alone.series("train/loss")
    assert together.series("train/loss") == pytest.approx(expected, rel=1e-5)
    for name, tensor in final(alone)[0].items():
        torch.testing.assert_close(final(together)[0][name], tensor, rtol=1e-4, atol=1e-4)


def test_static_execution_sees_the_same_images(images, tmp_path):
    dynamic = train(job(images, tmp_path / "dynamic"))
    static = train(job(images, tmp_path / "static", plan={"execution": "static"}))
    assert static.of("execution")[0]["execution"] == "static"
    assert static.series("train/loss") == pytest.approx(dynamic.series("train/loss"), rel=1e-4)


def test_predictions_see_what_evaluations_see(images, tmp_path):
    thirds = {"train": 0.5, "validation": 0.25, "test": 0.25, "seed": 3}
    made = images.job(MODEL, folder=tmp_path, plan={"metrics": ["accuracy"]}, **section(split=thirds))
    trained = Trained(made)
    assert trained.agrees("test")
    assert trained.part("test") == trained.part("test")


def test_kornia_is_imported_by_jobs_that_name_it_alone():
    code = (
        "import sys, worker.trainer.main, services.modules.preflight, services.catalog.service as catalog\n"
        "assert catalog.get_entry('RandomAffine')['kind'] == 'transform'\n"
        "sys.exit(any(name.split('.')[0] in ('kornia', 'tokenizers') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("transforms", "code", "pointer"),
    [
        ([{"type": "RandomCrop", "size": [9, 8]}], "out_of_range", "/0/size"),
        ([{"type": "Resize", "size": [4, 4]}, {"type": "CenterCrop", "size": [5, 4]}], "out_of_range", "/1/size"),
        ([{"type": "Normalize", "mean": [0.5, 0.5], "std": 1}], "shape_mismatch", "/0/mean"),
    ],
)
def test_sizes_and_channels_that_do_not_fit_are_refused(images, transforms, code, pointer):
    problem = refused(images, transforms)
    assert (problem.code, problem.pointer) == (code, f"/data/features/x/image/transforms{pointer}")


def test_images_are_not_normalized_twice_nor_varied_in_windows(images):
    twice = {"x": {"columns": ["image"], "normalize": "standardize", "image": {"transforms": TRANSFORMS}}}
    problem = refused(images, [], features=twice)
    assert (problem.code, problem.pointer) == ("conflict", "/data/features/x/normalize")
    problem = refused(images, [{"type": "RandomInvert"}], window={"length": 2})
    assert (problem.code, problem.pointer) == ("conflict", "/data/features/x/image")


def tried(images, transforms):
    made = images.job("Flatten()", **section(transforms))
    inputs, objective = preflight_inputs(made), preflight_objective(made)
    channels, *size = inputs["x"]["shape"][1:]
    model = f"Sequential(Flatten(), Linear({channels * size[0] * size[1]}, 2))"
    return preflight(check(model), inputs, objective=objective)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"type": "ColorJitter", "brightness": -3}, "brightness"),
        ({"type": "RandomGaussianBlur", "kernel_size": 4, "sigma": [0.1, 1]}, "odd"),
        ({"type": "PadTo", "size": [40, 40], "pad_mode": "reflect"}, "adding"),
    ],
)
def test_what_only_kornia_knows_is_found_before_the_queue(images, wrong, words):
    with pytest.raises(InvalidRequest) as caught:
        tried(images, [{"type": "RandomInvert"}, wrong])
    (problem,) = caught.value.problems
    assert (problem.code, problem.pointer) == ("invalid_argument", "/data/features/x/image/transforms/1")
    assert words in problem.detail


def test_the_trial_follows_sizes(images):
    report = tried(images, [{"type": "PadTo", "size": [20, 12]}, {"type": "RandomCrop", "size": [16, 4]}])
    assert report["parameters"]["total"] == 16 * 4 * 3 * 2 + 2


@pytest.mark.parametrize(
    ("transform", "code", "pointer"),
    [
        ({"type": "RandomFlip"}, "unknown_value", "/type"),
        ({"type": "os.system"}, "unknown_value", "/type"),
        ({"type": "RandomMixUpV2"}, "unknown_value", "/type"),
        ({"type": "RandomInvert", "keepdim": True}, "extra_forbidden", "/keepdim"),
        ({"type": "RandomInvert", "p": 1.5}, "out_of_range", "/p"),
        ({"type": "RandomInvert", "p": "1"}, "float_type", "/p"),
        ({"type": "RandomRotation"}, "missing", "/degrees"),
        ({"type": "Resize", "size": [5000, 1]}, "out_of_range", "/size/0"),
        ({"p": 1}, "missing", "/type"),
    ],
)
def test_a_wrong_name_or_argument_is_refused_at_its_place(transform, code, pointer):
    with pytest.raises(ValidationError) as caught:
        DataSection.model_validate({"dataset": "digits", **section([transform])})
    (problem,) = problems_from(caught.value, DataSection)
    assert (problem.code, problem.pointer) == (code, f"/features/x/image/transforms/0{pointer}")
