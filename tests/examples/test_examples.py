"""Every example is run as a reader runs it, only shorter: it must learn, and say so."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwright import Client
from tests.stack import Stack

FOLDER = Path(__file__).parents[2] / "examples"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def run(service: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the ``main`` of an example against the service and returns what it returns."""
    monkeypatch.setenv("MODELWRIGHT_URL", str(service.client.base_url))
    monkeypatch.setenv("MODELWRIGHT_API_KEY", service.client.headers["Authorization"].removeprefix("Bearer "))

    def run_example(name: str, **options: Any) -> Any:
        return runpy.run_path(str(FOLDER / f"{name}.py"))["main"](**options)

    return run_example


def test_digits_mlp(run, capsys):
    assert run("digits_mlp") == 0
    assert "loaded into plain PyTorch: test accuracy" in capsys.readouterr().out


def test_cnn_images(run, capsys):
    assert run("cnn_images", epochs=5) > 0.9
    assert "uploaded 1797 pictures of 8 × 8, 10 classes" in capsys.readouterr().out


@pytest.mark.timeout(600)  # a minute of matrix products where others compute too
def test_char_gpt(run, capsys, tmp_path):
    text = tmp_path / "own.txt"
    text.write_text(Path(json.__file__).read_text(encoding="utf-8") * 2, encoding="utf-8")
    loss = run("char_gpt", file=text, steps=80)
    said = capsys.readouterr().out
    by_frequency = float(re.search(r"alone: ([\d.]+)", said)[1])
    assert loss < by_frequency - 0.4
    assert "it writes:\nThe " in said
    assert len(said.split("it writes:\n")[1]) > 400


def test_lstm_sunspots(run, capsys):
    assert run("lstm_sunspots", epochs=30) < 0.6
    said = capsys.readouterr().out
    assert "tested on 55" in said
    assert -20 < float(re.search(r"forecast for 2009: ([-\d.]+) ", said)[1]) < 40


def test_embeddings_parquet(run, capsys):
    assert run("embeddings_parquet", epochs=15) > 0.3
    said = capsys.readouterr().out
    assert "10s, 20s, 30s, 40s, 50s, 60s, 70s" in said
    assert 100 < float(re.search(r"predicted (\d+), measured 151", said)[1]) < 300


def test_vae(run, capsys):
    assert run("vae", epochs=10) < 0.8
    drawn = capsys.readouterr().out.split("nobody wrote:\n")[1].removesuffix("\n").split("\n")
    assert [len(line) for line in drawn] == [6 * 16 + 5 * 3] * 8
    assert len({*"".join(drawn)}) > 5


def test_siamese_digits(run):
    assert run("siamese_digits", epochs=4) > 0.9


def test_fine_tuning(run, capsys):
    tuned, from_nothing = run("fine_tuning")
    assert tuned > 0.85
    assert tuned > from_nothing
    assert "new:        7.weight, 7.bias" in capsys.readouterr().out


def test_a_request_beside_an_example_needs_no_python(service, run, monkeypatch):
    files = sorted(FOLDER.glob("*.json"))
    assert [file.stem for file in files] == ["digits_mlp", "vae"]
    with Client() as client:
        for file in files:
            assert client.validate(json.loads(file.read_text()))["valid"], file.name


def test_the_page_shows_every_example_and_what_it_printed():
    for file in FOLDER.glob("*.py"):
        assert f"({file.name})" in PAGE, file.name
        assert f"examples/{file.name}" in file.read_text(encoding="utf-8")
