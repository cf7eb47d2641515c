"""Zipped folders of images as cameras, phones and people leave them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.services.datasets.files import png, zipped
from tests.services.datasets.prepared import Prepared

DARK, BRIGHT = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 200, np.uint8)


def sideways(kind: str, orientation: int) -> bytes:
    """Return a picture, bright on top as it is to be seen, stored as a camera that was turned stores it."""
    scene = np.concatenate([BRIGHT, DARK])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {1: scene, 3: np.rot90(scene, 2), 6: np.rot90(scene, 1), 8: np.rot90(scene, -1)}[orientation]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_of_a_turned_camera_stand_upright(kind, tmp_path):
    members = {f"scenes/{turn}.{kind.lower()}": sideways(kind, turn) for turn in (1, 3, 6, 8)}
    pictures = Prepared(tmp_path, zipped(members), "images").columns()["image"]
    assert pictures.shape == (4, 3, 8, 6)
    for picture in pictures:
        assert picture[:, :3].min() > 150
        assert picture[:, 5:].max() < 50


def test_folders_called_train_and_test_say_which_picture_goes_where(tmp_path):
    members = {
        f"pets/{part}/{kind}/{n}.png": png(DARK if kind == "cat" else BRIGHT)
        for part in ("train", "val", "test")
        for kind in ("cat", "dog")
        for n in range(3 if part == "train" else 1)
    }
    pets = Prepared(tmp_path, zipped(members), "images")
    assert pets.info.columns["part"].class_names == ("test", "train", "val")
    assert pets.info.columns["label"].class_names == ("cat", "dog")
    assert (pets.info.inputs, pets.info.target) == (("image",), "label")
    assert pets.data(split={"column": "part"})["rows"] == {"train": 6, "validation": 2, "test": 2}


def test_other_folders_above_are_no_parts(tmp_path):
    pets = Prepared(tmp_path, zipped({"train/cat/1.png": png(DARK), "home/dog/2.png": png(BRIGHT)}), "images")
    assert list(pets.info.columns) == ["image", "label", "file"]
