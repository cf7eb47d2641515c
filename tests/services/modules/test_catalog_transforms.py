"""The list of transforms is that of the installed kornia, and each on it varies one image without the others."""

import random
import warnings

import numpy as np
import pytest
import torch

from services.datasets.transforms import transform_classes
from services.modules import catalog_transforms
from services.modules.data.transforms import Run, Transforms

ROWS, ROW = 12, (3, 20, 20)
ARGUMENTS = {
    "RandomAffine": {"degrees": 10, "translate": [0.1, 0.1], "scale": [0.8, 1.2], "shear": 5},
    "RandomRotation": {"degrees": [-20, 20], "p": 1},
    "RandomRotation90": {"times": [1, 3]},
    "RandomShear": {"shear": [-5, 5, -5, 5]},
    "RandomTranslate": {"translate_x": [0.1, 0.3]},
    "RandomGaussianBlur": {"kernel_size": 3, "sigma": [0.1, 2.0]},
    "RandomMotionBlur": {"kernel_size": 3, "angle": 30, "direction": 0.5},
    "RandomCrop": {"padding": 2},
    "ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    "ColorJiggle": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    "RandomBrightness": {"brightness": [0.5, 1.5]},
    "RandomContrast": {"contrast": [0.5, 1.5]},
    "RandomHue": {"hue": [-0.1, 0.1]},
    "RandomSaturation": {"saturation": [0.5, 1.5]},
    "RandomGamma": {"gamma": [0.5, 1.5]},
    "RandomElasticTransform": {"kernel_size": [5, 5], "sigma": [2, 2]},
    "RandomJPEG": {"jpeg_quality": [20, 80]},
    "RandomGrayscale": {"p": 0.5},
    "Normalize": {"mean": [0.4, 0.5, 0.6], "std": 0.2},
    "Denormalize": {"mean": 0.5, "std": [0.2, 0.3, 0.4]},
    "CenterCrop": {"size": [12, 16]},
    "PadTo": {"size": [24, 22], "pad_mode": "reflect"},
    "Resize": {"size": [10, 30]},
}
CLASSES = sorted(transform_classes())


def made(name):
    arguments = ARGUMENTS.get(name, {})
    sized = {"size": list(ROW[1:])} if name in catalog_transforms.CUTTING else {}
    return Transforms("x", [{"type": name, **sized, **arguments}])


@pytest.fixture(scope="module")
def images():
    return torch.rand(ROWS, *ROW, generator=torch.Generator().manual_seed(0))


def varied(name, images, ours=slice(None), **place):
    return made(name).varied(images[ours], Run(**{"seed": 1, "epoch": 2, "start": 3, **place}, count=ROWS, ours=ours))


def test_the_list_is_generated_from_the_installed_kornia():
    assert catalog_transforms.PATH.read_text(encoding="utf-8") == catalog_transforms.dumps(catalog_transforms.build())


def test_every_class_of_kornia_is_listed_or_refused_with_a_reason():
    installed = {name for name, _ in catalog_transforms.installed()}
    listed = catalog_transforms.build()
    assert installed == listed["classes"].keys() | listed["refused"].keys()
    assert not listed["classes"].keys() & listed["refused"].keys()
    assert len(listed["classes"]) > 40
    assert all(entry["doc"] and "Tensor" not in entry["doc"] for entry in listed["classes"].values())


@pytest.mark.parametrize("name", CLASSES)
def test_what_a_row_becomes_depends_on_seed_epoch_and_place_alone(name, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = varied(name, images)
        random.seed(random.random())
        np.random.seed(random.randrange(1000))
        torch.manual_seed(random.randrange(1000))
        before = torch.get_rng_state()
        assert torch.equal(whole, varied(name, images))
        assert torch.equal(before, torch.get_rng_state())
        parts = [varied(name, images, ours) for ours in (slice(0, 4), torch.tensor([4, 5]), slice(6, 12))]
    assert whole.dtype == torch.float32
    assert bool(whole.isfinite().all())
    torch.testing.assert_close(
        torch.cat(parts), whole, rtol=0, atol=2e-6
    )  # a batch of another size may round otherwise
    fixed = made(name).fixed(images)
    if transform_classes()[name].fixed:
        assert torch.equal(fixed, whole)
    else:
        assert torch.equal(fixed, images)
        assert not torch.equal(whole, images)


@pytest.mark.parametrize("place", [{"seed": 9}, {"epoch": 9}, {"start": 9}])
def test_another_seed_epoch_or_place_draws_anew(place, images):
    assert not torch.equal(varied("RandomRotation", images), varied("RandomRotation", images, **place))


def test_rows_that_are_not_varied_are_cut_in_the_middle_or_resized_whole(images):
    crop = Transforms("x", [{"type": "RandomCrop", "size": [10, 10]}])
    assert torch.equal(crop.fixed(images), images[:, :, 5:15, 5:15])
    resized = Transforms("x", [{"type": "RandomResizedCrop", "size": [10, 10]}]).fixed(images)
    torch.testing.assert_close(resized.mean((2, 3)), images.mean((2, 3)), atol=0.03, rtol=0)
    assert crop.varied(images, Run(0, 0, 0, ROWS, slice(None))).shape == (ROWS, 3, 10, 10)


def test_transforms_keep_their_numbers_under_autocast(images):
    plain = varied("RandomAffine", images), made("Resize").fixed(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(varied("RandomAffine", images), plain[0])
        assert torch.equal(made("Resize").fixed(images), plain[1])
