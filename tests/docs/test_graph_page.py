"""Every call of the page on graphs is made, its output compared, and its pictures drawn again.

``UPDATE_PICTURES=1 pytest tests/docs/test_graph_page.py`` writes the pictures into ``docs/pictures``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.conftest import Running
from tests.services.pictures.drawn import Picture, views

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "graphs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PICTURES = sorted(set(re.findall(r"\(pictures/([\w-]+\.svg)\)", PAGE)))
EXACT = {"product.svg", "small.svg", "large.svg"}
"""Their numbers are exact in binary, so the files are the same on every machine."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def run_page(service: Running, folder: Path) -> list[tuple[str, str, str]]:
    """Run the page from top to bottom in ``folder``; return (kind, shown, printed) for each output that it shows."""
    environment = {
        **os.environ, "MODELWRIGHT_URL": service.url, "MODELWRIGHT_API_KEY": service.key, "COLUMNS": "100",
        "PYTHONPATH": str(DOCS.parent), "PYTHON": sys.executable,
    }  # fmt: skip
    compared, printed = [], ""
    for index, (kind, note, text) in enumerate(BLOCKS):
        if kind == "json":
            (folder / note.strip().removeprefix("file=")).write_text(text, encoding="utf-8")
        elif kind in ("bash", "python"):
            following = BLOCKS[index + 1][0] if index + 1 < len(BLOCKS) else ""
            extra = {"FORCE_COLOR": "1"} if following == "terminal" else {}
            printed = _run(kind, text, folder, {**environment, **extra})
        else:
            compared.append((kind, text, printed))
    return compared


def _run(kind: str, text: str, folder: Path, environment: dict[str, str]) -> str:
    shell = 'set -eu; modelwright() { "$PYTHON" -m modelwright "$@"; }\n'
    command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-c", shell + text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page_has_calls_of_both_kinds_and_a_picture_for_each_part():
    kinds = [kind for kind, _, _ in BLOCKS]
    assert kinds.count("bash") >= 6
    assert kinds.count("python") >= 2
    assert len(PICTURES) == 5


@pytest.mark.timeout(400)  # a dozen processes, one after another
def test_every_call_on_the_page_prints_and_draws_what_the_page_shows(service, tmp_path):
    compared = run_page(service, tmp_path)
    assert [kind for kind, _, _ in compared] == ["text", "terminal", "mermaid", "terminal", "text"]
    for kind, shown, printed in compared:
        if kind == "mermaid":  # the page shows the beginning
            assert printed.startswith(shown)
        else:
            assert _lines(printed) == _lines(shown)
    for name in PICTURES:
        if os.environ.get("UPDATE_PICTURES"):
            shutil.copy(tmp_path / name, DOCS / "pictures" / name)
        compare_pictures(name, *((place / name).read_text(encoding="utf-8") for place in (tmp_path, DOCS / "pictures")))


def compare_pictures(name: str, drawn: str, kept: str) -> None:
    """The same text where numbers are exact; else the same boxes, lines and words, and numbers that are close."""
    if name in EXACT:
        assert drawn == kept, name
    ours, theirs = (list(map(_seen, views(svg))) for svg in (drawn, kept))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one[:2] == other[:2], name
        assert one[2] == pytest.approx(other[2], rel=1e-3, abs=1e-6), name


def _lines(text: str) -> list[str]:
    plain = re.sub(r"(largest difference ).*", r"\1", _COLOURS.sub("", text))
    return [line.rstrip() for line in plain.strip().splitlines()]


def _seen(picture: Picture) -> tuple[list[str], set[tuple[str, str]], list[float]]:
    """What a view shows: its boxes with their texts but for the numbers, its lines, and the numbers."""
    texts = [f"{key} {picture.kinds[key]} {row[0]}" for key, rows in picture.texts.items() for row in rows]
    numbers = [float(number) for text in texts for number in _NUMBER.findall(text.split(" ", 1)[1])]
    return [_NUMBER.sub("#", text) for text in texts], {link[:2] for link in picture.links}, numbers
