"""A zipped folder of images: the folder that an image lies in is its class."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from services.datasets.limits import MAX_CLASSES
from services.datasets.parsing import archive
from services.datasets.parsing.archive import Archive
from services.datasets.parsing.image import bound_pixels, open_image, pixels, upright_size
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Table, Values
from services.datasets.split import PART_NAMES

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GREY = ("1", "L", "LA", "I;16", "I")
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")


def read_images(path: Path, options: Mapping[str, Any], *, folder: Path, max_bytes: int) -> Table:
    """Return ``image`` (uint8, [channels, height, width]), ``label`` by folder, and ``file``, the name in the archive.

    Where all folders of classes lie in folders called train, validation or test, ``part`` says in which. Rows are in
    the order of the names. Pixels are written to ``folder`` as they are decoded.

    Raises:
        InvalidRequest: as `archive.opened`; ``invalid_image`` with the member, ``image_too_large``,
            ``image_sizes_differ``, ``no_class_folder``, ``empty_dataset``, ``too_large``.
    """
    bound_pixels()
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
        stored = np.memmap(folder / "pixels", dtype=np.uint8, mode="w+", shape=shape)
        for row, member in enumerate(members):
            stored[row] = pixels(opened.read(member), member.filename, size, channels)
    index = {name: code for code, name in enumerate(names)}
    labels = np.array([index[_class_of(member)] for member in members], dtype=np.int64)
    table = {"image": Values(stored, "image"), "label": Values(labels, "category", tuple(names))}
    return table | _parts(members) | {"file": _files(members)}


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
        with open_image(opened.read(member), member.filename) as image:
            size = upright_size(image, member.filename)
            grey = grey and image.mode in _GREY
        first = first or size
        if size != first and not wanted:
            detail = f"{shown(member.filename)} is {list(size)}, but {shown(members[0].filename)} is {list(first)}."
            refuse("image_sizes_differ", detail, hint='Give "images": {"size": [height, width]} to resize them.')
    return (tuple(wanted) if wanted else first or (0, 0)), channels or (1 if grey else 3)


def _parts(members: list[zipfile.ZipInfo]) -> Table:
    words = [PurePosixPath(member.filename).parent.parent.name for member in members]
    known = {word for called in PART_NAMES.values() for word in called}
    if not {word.lower() for word in words} <= known:
        return {}
    names = tuple(sorted(set(words)))
    codes = np.array([names.index(word) for word in words], dtype=np.int64)
    return {"part": Values(codes, "category", names)}


def _files(members: list[zipfile.ZipInfo]) -> Values:
    names = [member.filename.encode() for member in members]
    offsets = np.cumsum([0, *map(len, names)], dtype=np.int64)
    return Values(np.frombuffer(b"".join(names), dtype=np.uint8), "text", offsets=offsets)
