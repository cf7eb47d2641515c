"""What a fuzz run saw: counts, worst cases and findings; joined from parts, and printed."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Tally:
    """What was seen so far."""

    states: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    worst: dict[str, tuple[float, int]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    wall_seconds: float = 0.0
    processor_seconds: float = 0.0
    stopped: bool = False
    """Whether it was ended early."""

    def add(self, row: dict[str, Any]) -> None:
        """Count one document."""
        self.states[row["state"]] += 1
        self.codes.update(row["codes"])
        for name, value in row["worst"].items():
            if value > self.worst.get(name, (-1.0, 0))[0]:
                self.worst[name] = value, row["seed"]
        if row.get("finding"):
            self.findings.append(f"seed {row['seed']}: {row['finding']}")

    def join(self, other: Tally) -> None:
        """Count what another run saw."""
        self.states += other.states
        self.codes += other.codes
        self.worst = {
            name: max(self.worst.get(name, (-1.0, 0)), other.worst.get(name, (-1.0, 0)))
            for name in {**self.worst, **other.worst}
        }
        self.findings += other.findings
        self.wall_seconds += other.wall_seconds
        self.processor_seconds += other.processor_seconds

    def written(self) -> dict[str, Any]:
        """Return it as JSON, with the version that it is about."""
        return {"commit": _commit(), **vars(self)}


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def joined(folder: Path, first: int, end: int) -> Tally:
    """Return what the parts of a folder saw together, and say which version each of them was about."""
    tally, commits = Tally(), Counter[str]()
    for path in sorted(folder.glob("*.json")):
        if first <= int(path.stem) < end:
            row = json.loads(path.read_text(encoding="utf-8"))
            commits[row.pop("commit")] += sum(row["states"].values())
            worst = {name: (value, seed) for name, (value, seed) in row.pop("worst").items()}
            states, codes = Counter(row.pop("states")), Counter(row.pop("codes"))
            tally.join(Tally(states=states, codes=codes, worst=worst, **row))
    for commit, number in commits.items():
        print(f"commit {commit}: {number} documents")
    return tally


def report(tally: Tally) -> None:
    """Print the table."""
    seconds, busy = tally.wall_seconds, tally.processor_seconds
    print(f"{tally.states.total()} documents in {seconds:.0f} s, {busy:.0f} s of the processor")
    for state, number in sorted(tally.states.items()):
        print(f"  {state:60}{number:8}")
    print("largest" + " " * 40 + "value      seed")
    for name, (value, seed) in sorted(tally.worst.items()):
        print(f"  {name:40}{value:10.1f}{seed:10}")
    print("answers that hold a code")
    for code, number in tally.codes.most_common():
        print(f"  {code:40}{number:10}")
    print(f"findings: {len(tally.findings)}")
    for finding in tally.findings[:50]:
        print(f"  {finding}")
