"""A model trained in this process, and the predictor of its last checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.modules.predict.predictor import Predictor
from tests.worker.trainer.harness import train

ASKED: dict[str, Any] = {
    "rows": None,
    "columns": None,
    "data": None,
    "seed": 0,
    "top_k": 5,
    "outputs": False,
    "metrics": True,
    "first": 0,
    "limit": None,
}


class Trained:
    """What a job reported, and its predictor."""

    def __init__(self, job: dict[str, Any]) -> None:
        line = train(job)
        assert line.last["event"] == "finished", line.last
        self.latest = line.last_latest
        self.job = job
        folder = Path(line.of("checkpoint")[-1]["directory"])
        meta = json.loads((folder / "state.json").read_text())
        self.predictor = Predictor(
            {
                "document": job["definition"],
                "weights": str(folder / "weights.safetensors"),
                "training": job["training"],
                "data": job["data"],
                "preprocessing": meta["preprocessing"],
                "batch_size": meta["environment"]["batch_size"],
            }
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the whole answer: head, ``predictions``, ``metrics``."""
        answer: dict[str, Any] = {"predictions": []}
        for event in self.predictor.answer({**ASKED, **request}):
            json.dumps(event, allow_nan=False)  # nothing that JSON cannot say
            answer |= event.get("begin", {}) | event.get("end", {})
            answer["predictions"] += event.get("block", [])
        return answer

    def part(self, part: str | None, rows: list[int] | None = None, file: Path | None = None, **more: Any):
        """Ask for a part of the job's own data, or of another file like it."""
        data = {"file": str(file or self.job["data"]["file"]), "builtin": None, "cache": None, "part": part}
        names = {"remap": more.pop("remap", {}), "names": more.pop("names", {})}
        return self.ask(data={**data, "rows": rows, **names}, **more)

    def agrees(self, part: str) -> bool:
        """Whether loss and metrics of a part are, to the bit, those that the job reported last."""
        found = self.part(part)["metrics"]
        return bool(found) and all(value == self.latest[f"{part}/{name}"] for name, value in found.items())
