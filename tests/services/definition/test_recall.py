"""What was checked a moment ago is not checked again; what was refused is."""

import pytest

from services.definition import recall as module
from services.definition.recall import MAX_ENTRIES, recall
from services.errors import InvalidRequest


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    """The documents that were really checked."""
    module._known.clear()
    seen, check = [], module.check

    def counting(document, *, pointer):
        seen.append(document)
        return check(document, pointer=pointer)

    monkeypatch.setattr(module, "check", counting)
    return seen


def test_the_same_document_is_checked_once_and_gives_the_same_definition(checked):
    first = recall("Linear(4, 2)", pointer="/model")
    assert recall("Linear(4, 2)", pointer="/model") is first
    assert checked == ["Linear(4, 2)"]
    assert first.document["model"] == "Linear(4, 2)"


def test_another_document_or_another_place_is_another_question(checked):
    assert recall("Linear(4, 2)").sha256 != recall("Linear(4, 3)").sha256
    recall("Linear(4, 2)", pointer="/model")
    recall({"model": "Linear(4, 2)"})
    assert len(checked) == 4


def test_a_refusal_is_made_anew_each_time_with_its_pointer(checked):
    for _ in range(2):
        with pytest.raises(InvalidRequest) as caught:
            recall("Linear(4)", pointer="/model")
        assert caught.value.problems[0].pointer == "/model"
    assert len(checked) == 2


@pytest.mark.parametrize(
    "document",
    [
        {"modules": {"A": {"forward": ["return x" + " " * 20_000]}}, "model": "A()"},
        "Sequential(*[ReLU() for _ in range(300)])",
    ],
    ids=["long text", "many modules"],
)
def test_what_is_large_is_not_kept(checked, document):
    recall(document)
    recall(document)
    assert len(checked) == 2


def test_the_one_that_was_asked_for_longest_ago_goes_first(checked):
    for width in range(MAX_ENTRIES):
        recall(f"Linear(4, {width + 1})")
    recall("Linear(4, 1)")
    recall("Linear(4, 1000)")
    del checked[:]
    recall("Linear(4, 1)")
    assert checked == []
    recall("Linear(4, 2)")
    assert checked == ["Linear(4, 2)"]
