"""Tokenizers of Hugging Face, trained on the texts of the training rows: tokens are parts of words, found by count.

Equal texts give equal tokenizers, to the byte. Unigram is not offered: its training adds up in the order of a hash
table that is seeded anew each time. WordPiece has that fault where it meets letters inside words: it is told of them
first.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, UNKNOWN = "[PAD]", "[UNK]"
"""The tokens 0 and 1."""
MAX_TRAINING_BYTES = 64 << 20
"""Of the first training rows: more would take minutes, and change little."""
MAX_RUN = 100
"""Longer words, and longer gaps, are learned from in pieces: one letter a hundred thousand times would take minutes,
and make tokens half as long."""
_LONG = re.compile(rf"\S{{{MAX_RUN + 1}}}|\s{{{MAX_RUN + 1}}}")
_PIECES = re.compile(rf"\s{{0,{MAX_RUN}}}\S{{1,{MAX_RUN}}}|\s{{1,{MAX_RUN}}}")
_INSIDE = "##"
_AT_ONCE = 1000


def trained(settings: Mapping[str, Any], texts: Iterable[str]) -> str:
    """Return a tokenizer as JSON, as the library writes it; ``settings`` are those of a feature's ``tokenizer``."""
    made = _bpe(settings, _bounded(texts)) if settings["type"] == "BPE" else _word_piece(settings, _bounded(texts))
    # The trainers' special tokens would be found in texts that happen to hold such words.
    document = {**json.loads(made.to_str()), "added_tokens": [], "padding": None, "truncation": None}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def tokens(tokenizer: str, texts: Sequence[str], length: int) -> Tensor:
    """Return int32 [texts, length]: the first tokens of each, filled up with zeros."""
    loaded = _loaded(tokenizer)
    made = np.zeros((len(texts), length), dtype=np.int32)
    for start in range(0, len(texts), _AT_ONCE):
        encodings = loaded.encode_batch_fast(list(texts[start : start + _AT_ONCE]))
        for row, encoding in enumerate(encodings, start):
            ids = encoding.ids[:length]
            made[row, : len(ids)] = ids
    return torch.from_numpy(made)


def text_of(tokenizer: str, ids: Iterable[int]) -> str:
    """Return the text that tokens stand for, up to the first padding."""
    text: str = _loaded(tokenizer).decode([*itertools.takewhile(bool, ids)], skip_special_tokens=False)
    return text


def texts_of(content: Tensor, offsets: Tensor, rows: Sequence[int]) -> Iterator[str]:
    """Yield the texts of some rows of a stored column."""
    whole, begins = content.numpy().tobytes(), offsets.tolist()
    for row in rows:
        yield whole[begins[row] : begins[row + 1]].decode("utf-8")


def _bounded(texts: Iterable[str]) -> list[str]:
    """Return texts from the first on, some MiB of them, or their pieces."""
    kept, room = list[str](), MAX_TRAINING_BYTES
    for text in texts:
        kept += _PIECES.findall(text) if _LONG.search(text) else [text]
        room -= len(text.encode("utf-8"))
        if room < 0:
            break
    return kept


def _bpe(settings: Mapping[str, Any], texts: Sequence[str]) -> Tokenizer:
    """Pairs of bytes: no text is unknown to it (Sennrich et al. 2016; bytes as in GPT-2)."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: PLC0415

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if settings["lowercase"]:
        made.normalizer = normalizers.Lowercase()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    common = _common(settings) | {"special_tokens": [PADDING, UNKNOWN], "initial_alphabet": alphabet}
    made.train_from_iterator(texts, trainers.BpeTrainer(**common))
    return made


def _word_piece(settings: Mapping[str, Any], texts: Sequence[str]) -> Tokenizer:
    """Beginnings and inner parts of words, as in BERT; spaces are not kept."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: PLC0415

    made = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=MAX_RUN))
    made.normalizer = normalizers.BertNormalizer(lowercase=settings["lowercase"])
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix=_INSIDE)
    letters = _letters(map(made.normalizer.normalize_str, texts), at_most=(settings["vocabulary_size"] - 2) // 2)
    special = [PADDING, UNKNOWN, *(_INSIDE + letter for letter in letters)]
    alphabet: dict[str, Any] = {"initial_alphabet": letters, "limit_alphabet": len(letters)}
    made.train_from_iterator(texts, trainers.WordPieceTrainer(**_common(settings), **alphabet, special_tokens=special))
    return made


def _common(settings: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {"vocab_size": settings["vocabulary_size"], "min_frequency": settings["min_frequency"]}
    return {**sizes, "show_progress": False}


def _letters(texts: Iterable[str], *, at_most: int) -> list[str]:
    """Return the most frequent characters but spaces, in their order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    found = sorted((-count, letter) for letter, count in counts.items() if not letter.isspace())
    return sorted(letter for _, letter in found[:at_most])


@lru_cache(maxsize=8)
def _loaded(tokenizer: str) -> Tokenizer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - few jobs need it

    return Tokenizer.from_str(tokenizer)
