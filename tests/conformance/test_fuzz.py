"""A small part of the fuzz run: every document is answered in time and memory, and what is accepted is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_some_documents_of_every_kind_are_answered_built_and_run():
    command = [sys.executable, "-m", "benchmarks.fuzz_language", "120", "--first", "40000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "findings: 0" in done.stdout
    for kind in ("mutated", "grammar", "growth"):
        assert f"{kind}: refused" in done.stdout and f"{kind}: accepted" in done.stdout


WRONG = """
import os, time
from benchmarks import fuzz_language as fuzz
real = fuzz.check

def fails(document):
    raise KeyError("x")

def takes_long(document):
    end = time.process_time() + 1.2
    while time.process_time() < end:
        pass
    return real(document)

def takes_memory(document):
    assert len(bytearray(b"x") * (200 << 20))
    return real(document)

def dies(document):
    os.kill(os.getpid(), 9)

for broken, words in ((fails, "KeyError"), (takes_long, "checking"), (takes_memory, "checking"), (dies, "dies")):
    fuzz.check = broken
    findings = fuzz.run(8, 2).findings
    assert [finding[:7] for finding in findings] == ["seed 8:", "seed 9:"], findings
    assert all(words in finding for finding in findings), findings
"""


def test_the_run_finds_what_goes_wrong_and_says_with_which_document():
    command = [sys.executable, "-c", WRONG]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
