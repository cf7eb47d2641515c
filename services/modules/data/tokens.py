"""Texts as rows of numbers of one length: 0 pads, characters count from 1 in their vocabulary, bytes are 1 … 256."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_CONTINUES_MASK, _CONTINUES = 0xC0, 0x80  # UTF-8: such bytes do not begin a character


def byte_tokens(content: Tensor, offsets: Tensor, length: int) -> Tensor:
    """Return int32 [rows, length] of the UTF-8 ``content``, of which row i begins at byte ``offsets[i]``."""
    return _cut(content.to(torch.int32) + 1, offsets, length)


def character_tokens(content: Tensor, offsets: Tensor, length: int, vocabulary: str) -> Tensor:
    """Return int32 [rows, length]; a character that is not in the vocabulary, which is sorted, is 0 as well."""
    begins = (content & _CONTINUES_MASK) != _CONTINUES
    characters = torch.cat([torch.zeros(1, dtype=torch.int64), begins.long().cumsum(0)])
    text = content.numpy().tobytes().decode("utf-8")
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    return _cut(torch.from_numpy(_numbered(points, vocabulary)), characters[offsets], length)


def class_tokens(texts: Sequence[str], length: int, vocabulary: str | None) -> Tensor:
    """Return int32 [classes, length]: the tokens of each class name; without a vocabulary, of its bytes."""
    encoded = [text.encode("utf-8") for text in texts]
    offsets = torch.tensor(np.cumsum([0, *map(len, encoded)]))
    content = torch.frombuffer(bytearray(b"".join(encoded) or b"\0"), dtype=torch.uint8)
    if vocabulary is None:
        return byte_tokens(content, offsets, length)
    return character_tokens(content, offsets, length, vocabulary)


def _numbered(points: np.ndarray, vocabulary: str) -> np.ndarray:
    known = np.array([ord(character) for character in vocabulary], dtype=np.int64)
    if not len(known):
        return np.zeros(len(points), dtype=np.int32)
    places = np.searchsorted(known, points).clip(max=len(known) - 1)
    return np.where(known[places] == points, places + 1, 0).astype(np.int32)


def _cut(tokens: Tensor, offsets: Tensor, length: int) -> Tensor:
    """Return the first ``length`` tokens of each row, filled up with zeros."""
    made = torch.zeros(len(offsets) - 1, length, dtype=torch.int32)
    if not len(tokens):
        return made
    starts, sizes = offsets[:-1], offsets.diff()
    for place in range(min(length, int(sizes.max()))):
        has = sizes > place
        made[has, place] = tokens[starts[has] + place]
    return made
