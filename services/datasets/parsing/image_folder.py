"""A zipped folder of images: the folder that an image lies in is its class."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.datasets.limits import MAX_CLASSES, MAX_IMAGE_PIXELS
from services.datasets.parsing import archive
from services.datasets.parsing.archive import Archive
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Table, Values

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GREY = ("1", "L", "LA", "I;16", "I")
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")


def read_images(path: Path, options: Mapping[str, Any], *, folder: Path, max_bytes: int) -> Table:
    """Return ``image`` (uint8, [channels, height, width]), ``label`` by folder, and ``file``, the name in the archive.

    Rows are in the order of the names. Pixels are written to ``folder`` as they are decoded.

    Raises:
        InvalidRequest: as `archive.opened`; ``invalid_image`` with the member, ``image_too_large``,
            ``image_sizes_differ``, ``no_class_folder``, ``empty_dataset``, ``too_large``.
    """
    Image.MAX_IMAGE_PIXELS = MAX_IMAGE_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with archive.opened(path, max_bytes=max_bytes) as opened:
        members = sorted(filter(_is_image, opened.members), key=lambda member: member.filename)
        if not members:
            refuse("empty_dataset", "The archive has no images.", hint=f"Known: {', '.join(_SUFFIXES)}.")
        names = _classes(members)
        size, channels = _layout(opened, members, options)
        shape = (len(members), channels, *size)
        if int(np.prod(shape, dtype=np.int64)) > max_bytes:
            detail = f"{len(members)} images of {list(shape[1:])} take over {max_bytes} bytes."
            refuse("too_large", detail, hint="Ask for a smaller size.")
        pixels = np.memmap(folder / "pixels", dtype=np.uint8, mode="w+", shape=shape)
        for row, member in enumerate(members):
            pixels[row] = _pixels(opened, member, size, channels)
    index = {name: code for code, name in enumerate(names)}
    labels = np.array([index[_class_of(member)] for member in members], dtype=np.int64)
    return {
        "image": Values(pixels, "image"),
        "label": Values(labels, "category", tuple(names)),
        "file": _files(members),
    }


def _is_image(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename).parts
    if any(part in _IGNORED or part.startswith("._") for part in parts):
        return False
    if not member.filename.lower().endswith(_SUFFIXES):
        hint = f"Leave it out. Images end in {', '.join(_SUFFIXES)}."
        refuse("invalid_image", f"The member {shown(member.filename)} is no image.", hint=hint)
    return True


def _class_of(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).parent.name


def _classes(members: list[zipfile.ZipInfo]) -> list[str]:
    for member in members:
        if not _class_of(member):
            detail = f"The image {shown(member.filename)} lies in no folder, so it has no class."
            refuse("no_class_folder", detail, hint="Put each image into the folder of its class.")
    names = sorted({_class_of(member) for member in members})
    if len(names) > MAX_CLASSES:
        refuse("too_many_classes", f"{len(names)} folders are too many classes: at most {MAX_CLASSES}.")
    return names


def _layout(opened: Archive, members: list[zipfile.ZipInfo], options: Mapping[str, Any]) -> tuple[tuple[int, int], int]:
    """Return the common (height, width) and the channels, from the options or from the images' headers."""
    wanted, channels = options.get("size"), options.get("channels")
    if wanted and channels:
        return (wanted[0], wanted[1]), channels
    grey, first = True, None
    for member in members:
        with _opened(opened, member) as image:
            size = (image.height, image.width)
            grey = grey and image.mode in _GREY
        first = first or size
        if size != first and not wanted:
            detail = f"{shown(member.filename)} is {list(size)}, but {shown(members[0].filename)} is {list(first)}."
            refuse("image_sizes_differ", detail, hint='Give "images": {"size": [height, width]} to resize them.')
    return (tuple(wanted) if wanted else first or (0, 0)), channels or (1 if grey else 3)


def _opened(opened: Archive, member: zipfile.ZipInfo) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(opened.read(member)), formats=_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        _too_large(member)
    except (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, OverflowError):
        _broken(member)
    if image.width * image.height > MAX_IMAGE_PIXELS:
        _too_large(member)
    return image


def _pixels(opened: Archive, member: zipfile.ZipInfo, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    with _opened(opened, member) as image:
        try:
            plain = _eight_bits(image).convert("L" if channels == 1 else "RGB")
            if (plain.height, plain.width) != size:
                plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            _too_large(member)
        except (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, OverflowError):
            _broken(member)
    array = np.asarray(plain, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Keep the upper half of 16-bit grey, which `convert` would clip."""
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode.startswith("I") else image


def _files(members: list[zipfile.ZipInfo]) -> Values:
    names = [member.filename.encode() for member in members]
    offsets = np.cumsum([0, *map(len, names)], dtype=np.int64)
    return Values(np.frombuffer(b"".join(names), dtype=np.uint8), "text", offsets=offsets)


def _broken(member: zipfile.ZipInfo) -> NoReturn:
    detail = f"The image {shown(member.filename)} cannot be decoded."
    refuse("invalid_image", detail, hint=f"Known formats: {', '.join(_FORMATS)}.")


def _too_large(member: zipfile.ZipInfo) -> NoReturn:
    refuse("image_too_large", f"The image {shown(member.filename)} has over {MAX_IMAGE_PIXELS} pixels.")
