"""Every example of the language pages is built and run; every pair is compared to the bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from services.definition import check
from services.errors import InvalidRequest
from services.modules import build, preflight

PAGES = Path(__file__).parents[2] / "docs" / "language"
_BLOCK = re.compile(r"^```(json|python)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[tuple[str, str]]:
    """Return (what stands behind the language, text) of a page's code blocks."""
    found = _BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))
    return [(note.strip(), text) for name, note, text in found if name == language]


EXAMPLES = [
    json.loads(text) for page in ("tutorial.md", "grammar.md") for note, text in blocks(page, "json") if not note
]
REFUSED = [(note.removeprefix("refused="), json.loads(text)) for note, text in blocks("tutorial.md", "json") if note]
PAIRS = list(zip(blocks("from-pytorch.md", "python"), blocks("from-pytorch.md", "json"), strict=True))


def test_the_tutorial_has_an_example_for_each_chapter_and_the_other_page_ten_pairs() -> None:
    chapters = (PAGES / "tutorial.md").read_text(encoding="utf-8").count("\n## ")
    assert len(EXAMPLES) + len(REFUSED) >= chapters
    assert len(PAIRS) == 10


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda document: str(document["model"])[:40])
def test_an_example_of_the_tutorial_passes_its_preflight_and_trains(document: dict[str, Any]) -> None:
    definition = check(document)
    assert preflight(definition)["parameters"]["total"] > 0
    net = build(definition)
    if definition.inputs:
        output = net(*samples(document))
        output.sum().backward()
        assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(("code", "document"), REFUSED)
def test_a_refused_example_is_refused_as_the_tutorial_says(code: str, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        preflight(check(document))
    assert caught.value.code == code
    assert "in_features=256" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize("pair", PAIRS, ids=range(1, 11))
def test_a_pair_is_the_same_model_to_the_bit(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    (_, python), (_, text) = pair
    document = json.loads(text)
    namespace: dict[str, Any] = {"nn": nn, "torch": torch, "F": F}
    torch.manual_seed(5)
    exec(python, namespace)
    original = namespace["net"]
    torch.manual_seed(5)
    ours = build(check(document))
    preflight(check(document))
    theirs, state = original.state_dict(), ours.state_dict()
    assert list(theirs) == list(state)
    assert all(torch.equal(theirs[name], state[name]) for name in theirs)
    for mode in (True, False):
        inputs = samples(document)
        results = []
        for net in (original.train(mode), ours.train(mode)):
            torch.manual_seed(9)
            results.append(net(*inputs))
        assert torch.equal(*results)


def samples(document: dict[str, Any], batch: int = 3) -> list[torch.Tensor]:
    """Return tensors that fit a document's inputs."""
    made = []
    for one in document["inputs"]:
        shape = [batch if size == "B" else size for size in one["shape"]]
        made.append(torch.randint(0, 50, shape) if one["dtype"] == "int64" else torch.randn(shape))
    return made
