"""One image file as pixels, whoever sends it: bounded, in eight bits, of the size and channels that are wanted."""

from __future__ import annotations

import io
import warnings
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from services.datasets.limits import MAX_IMAGE_PIXELS
from services.datasets.parsing.refusal import refuse, shown

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_BOMBS = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_ORIENTATION = 0x0112  # Exif 2.3, tag Orientation; 5 to 8 swap height and width
_SIDEWAYS = range(5, 9)
_SIXTEEN_BITS = 0xFFFF
_BROKEN = (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, OverflowError)


def bound_pixels() -> None:
    """Let Pillow refuse images beyond our limit; once a process."""
    Image.MAX_IMAGE_PIXELS = MAX_IMAGE_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def open_image(content: bytes, name: str) -> Image.Image:
    """Return the image, its pixels not yet decoded; ``name`` is what messages call it.

    Raises:
        InvalidRequest: ``invalid_image``, ``image_too_large``.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except _BOMBS:
        _too_large(name)
    except _BROKEN:
        _broken(name)
    if image.width * image.height > MAX_IMAGE_PIXELS:
        _too_large(name)
    return image


def pixels(content: bytes, name: str, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Return uint8 [channels, height, width] of an image that is resized to ``size`` (height, width).

    Raises:
        InvalidRequest: as `open_image`.
    """
    with open_image(content, name) as image:
        try:
            plain = _eight_bits(upright(image), name).convert("L" if channels == 1 else "RGB")
            if (plain.height, plain.width) != size:
                plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except _BOMBS:
            _too_large(name)
        except _BROKEN:
            _broken(name)
    array = np.asarray(plain, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def upright(image: Image.Image) -> Image.Image:
    """Return the image as its camera was held: phones store pixels sideways and say so in Exif."""
    return ImageOps.exif_transpose(image)


def upright_size(image: Image.Image, name: str) -> tuple[int, int]:
    """Return (height, width) of the upright image, without decoding it.

    Raises:
        InvalidRequest: ``invalid_image``.
    """
    try:
        sideways = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _SIDEWAYS  # Pillow turns TIFF itself
    except _BROKEN:
        _broken(name)
    return (image.width, image.height) if sideways else (image.height, image.width)


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Keep the upper half of 16-bit grey, which `convert` would clip; what has more bits has no common black and white.

    Raises:
        InvalidRequest: ``invalid_image``.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode.startswith("F") or values.min() < 0 or values.max() > _SIXTEEN_BITS:
        detail = f"The image {shown(name)} has more than 16 bits a pixel."
        refuse("invalid_image", detail, hint="Save it with 8 or 16 bits, or send the numbers as .npz.")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _broken(name: str) -> NoReturn:
    refuse("invalid_image", f"The image {shown(name)} cannot be decoded.", hint=f"Known formats: {', '.join(FORMATS)}.")


def _too_large(name: str) -> NoReturn:
    refuse("image_too_large", f"The image {shown(name)} has over {MAX_IMAGE_PIXELS} pixels.")
