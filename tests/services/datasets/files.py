"""Files of each format, good and bad."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image


def image_folder(count: int, *, size: tuple[int, int] = (8, 8), classes: tuple[str, ...] = ("cat", "dog")) -> bytes:
    """Return a zipped folder of PNG images, one after another in each class; the second class is brighter."""
    generator = np.random.default_rng(0)
    members = {}
    for number in range(count):
        code = number % len(classes)
        pixels = generator.integers(100 * code, 100 * code + 100, (*size, 3), dtype=np.uint8)
        members[f"pictures/{classes[code]}/{number:03d}.png"] = png(pixels)
    return zipped(members)


def png(pixels: np.ndarray) -> bytes:
    """Return an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    """Return a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """Return an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
