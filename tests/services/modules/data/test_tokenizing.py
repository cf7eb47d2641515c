"""Tokenizers: trained on training rows alone, equal for equal texts, kept in the checkpoint, decoded in predictions."""

import json
import random

import pytest
import torch

from services.errors import InvalidRequest
from services.modules.data import tokenizing
from services.modules.data.loading import load_data
from services.modules.data.tokenizing import text_of, tokens, trained
from tests.services.datasets.prepared import Prepared, csv_of
from tests.services.modules.predict.trained import Trained
from tests.worker.trainer.harness import assert_same_bits, read, resumed, train

KINDS = ["BPE", "WordPiece"]
ROWS = 60
WORDS = ["jump", "jumping", "jumped", "walk", "walking", "walked", "über", "Stäbe"]
NOTES = {
    "note": [" ".join(WORDS[(i * k + k) % len(WORDS)] for k in range(1, 6)) for i in range(ROWS)],
    "kind": [("in", "out")[i % 2] for i in range(ROWS)],
}
THIRDS = {"train": 0.5, "validation": 0.25, "test": 0.25, "seed": 3}


def settings(kind, **more):
    return {"type": kind, "vocabulary_size": 300, "min_frequency": 2, "lowercase": False, **more}


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    return Prepared(folder, csv_of(NOTES), "csv", target="kind", csv={"types": {"note": "text"}})


def feature(kind, **more):
    text = {"length": 12, "tokenizer": {"type": kind, "vocabulary_size": 300, **more}}
    return {"columns": ["note"], "text": text}


def section(kind, **data):
    return {"features": {"x": feature(kind)}, "inputs": ["x"], "target": "kind", "split": THIRDS, **data}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_texts_give_equal_tokenizers(kind):
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijäöü", k=chance.randint(2, 9))) for _ in range(400)]
    texts = [" ".join(chance.choices(words, k=20)) for _ in range(300)]
    first, *others = (trained(settings(kind, vocabulary_size=600), texts) for _ in range(4))
    assert {*others} == {first}
    vocabulary = json.loads(first)["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(600))
    assert (vocabulary["[PAD]"], vocabulary["[UNK]"]) == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_become_tokens_of_one_length_and_come_back(kind):
    made = trained(settings(kind), NOTES["note"])
    texts = ["jumping walked", "", "walk [PAD] [UNK]", NOTES["note"][0] * 9]
    found = tokens(made, texts, 12)
    assert (found.dtype, found.shape) == (torch.int32, (4, 12))
    assert found[1].eq(0).all()
    assert bool((found[2] > 0).sum() > 3)  # such words are texts as others are
    assert text_of(made, found[0].tolist()) == "jumping walked"
    assert int(found.max()) < 300


def test_what_bpe_never_saw_is_bytes_and_what_word_piece_never_saw_is_unknown():
    unseen = ["数字 \u2603"]
    bpe = trained(settings("BPE"), NOTES["note"])
    assert text_of(bpe, tokens(bpe, unseen, 30)[0].tolist()) == unseen[0]
    pieces = tokens(trained(settings("WordPiece"), NOTES["note"]), unseen, 30)[0]
    assert pieces[pieces > 0].unique().tolist() == [1]


def test_more_letters_than_the_vocabulary_has_room_for_are_left_out():
    texts = ["".join(chr(0x4E00 + i) for i in range(j, j + 400)) for j in range(0, 2000, 200)]
    made = trained(settings("WordPiece"), texts)
    assert max(json.loads(made)["model"]["vocab"].values()) < 300
    lower = trained(settings("WordPiece", lowercase=True), ["Walk WALK walk walk"])
    assert len(set(map(tuple, tokens(lower, ["walk", "WALK"], 4).tolist()))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_endless_words_make_no_endless_tokens(kind):
    made = trained(settings(kind, min_frequency=1), ["x" * 100_000, " " * 100_000, "", "walk " * 9, "字" * 1000])
    assert max(map(len, json.loads(made)["model"]["vocab"])) <= 3 * tokenizing.MAX_RUN  # bytes of a character: 3
    assert any("walk" in token for token in json.loads(made)["model"]["vocab"])
    assert tokens(made, ["x" * 100_000, ""], 4).shape == (2, 4)


def test_no_more_texts_than_needed_are_learned_from(monkeypatch):
    monkeypatch.setattr(tokenizing, "MAX_TRAINING_BYTES", 20)
    assert trained(settings("BPE"), ["walk walk walk", "walk walk", "jump jump"]) == trained(
        settings("BPE"), ["walk walk walk", "walk walk"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_knows_the_training_rows_alone(kind, notes):
    found = load_data(notes.data(**section(kind)), torch.device("cpu"))
    rows = found.parts["train"].rows.tolist()
    expected = trained(settings(kind), [NOTES["note"][row] for row in rows])
    assert found.preprocessing["fitted"]["x"]["sources"][0]["tokenizer"] == expected
    x = next(found.parts["test"].batches(99)).inputs[0]
    assert x.dtype == torch.int64
    texts = [NOTES["note"][row] for row in found.parts["test"].rows.tolist()]
    assert torch.equal(x, tokens(expected, texts, 12).long())


@pytest.mark.parametrize("kind", ["text", "category"])
def test_a_job_trains_on_tokens_resumes_to_the_bit_and_predicts_texts_alike(kind, tmp_path):
    prepared = Prepared(tmp_path, csv_of(NOTES), "csv", target="kind", csv={"types": {"note": kind}})
    model = "Sequential(Embedding(300, 4), Flatten(), Linear(48, 2))"
    job = prepared.job(model, folder=tmp_path / "whole", plan={"epochs": 2}, **section("BPE", batch_size=8))
    job["checkpoints"]["every"] = {"epochs": None, "steps": 3, "seconds": None}
    first, *_, last = train(job).of("checkpoint")
    rest = train(resumed(job, first, tmp_path / "rest"))
    assert_same_bits(read(rest.of("checkpoint")[-1]), read(last))
    trained_model = Trained({**job, "output": str(tmp_path / "again")})
    assert trained_model.agrees("test")
    row = NOTES["note"][7] if kind == "category" else "jumped ☃"
    (answer,) = trained_model.ask(rows=[{"note": row}])["predictions"]
    assert answer["label"] in ("in", "out")


def test_predicted_tokens_are_told_as_text(notes, tmp_path):
    model = "Sequential(Embedding(300, 8), Linear(8, 300), Flatten(1, 2), Unflatten(1, [12, 300]))"
    swapped = {
        "modules": {"Echo": {"init": [{"body": model}], "forward": ["return self.body(x).transpose(1, 2)"]}},
        "model": "Echo()",
    }
    plan = {"epochs": 60, "optimizer": {"type": "Adam", "lr": 0.05}, "loss": {"type": "CrossEntropyLoss"}}
    echo = Trained(notes.job(swapped, folder=tmp_path, plan={**plan, "metrics": []},
                             **section("BPE", batch_size=30) | {"target": "x"}))  # fmt: skip
    (answer,) = echo.ask(rows=[{"note": "walked jumping"}])["predictions"]
    assert answer["label"] == answer["target"] == "walked jumping"
    assert len(answer["probability"]) == 12


def test_a_unit_and_a_tokenizer_exclude_each_other(notes):
    both = feature("BPE")
    both["text"]["unit"] = "byte"
    with pytest.raises(ValueError, match="exclude each other"):
        notes.data(**section("BPE") | {"features": {"x": both}})
    with pytest.raises(InvalidRequest) as caught:
        notes.data(**section("BPE") | {"features": {"x": {**feature("BPE"), "columns": ["kind", "note"]}}})
    assert caught.value.problems[0].pointer == "/data/features/x/text"
