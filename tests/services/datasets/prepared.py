"""What tests of data share: a file read as the child reads it, and a job over it as the service makes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from services.datasets.catalog import DatasetInfo
from services.datasets.parsing.child import PREPARED, SOURCE, prepare
from services.datasets.presentation import present
from services.datasets.schema import DatasetRequest
from services.definition import check
from services.training.resolve import resolve
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan

FREE = {"type": "Adam", "lr": 0.01}


class Prepared:
    """A file that was read: its description, its columns, and jobs over it."""

    def __init__(self, folder: Path, content: bytes, kind: str, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SOURCE).write_bytes(content)
        request = {"format": kind, **options} if kind != "json" else {"columns": {"x": [1]}, **options}
        wanted = DatasetRequest.model_validate(request).options()
        self.path = folder / PREPARED
        self.table = prepare(folder, {"format": kind, "options": wanted, "max_bytes": 1 << 30})
        self.info = DatasetInfo.from_dict(
            {
                "name": "ds_test",
                "title": "test",
                "rows": self.table["rows"],
                "columns": self.table["columns"],
                "default_inputs": self.table["inputs"],
                "default_target": self.table["target"],
            }
        )

    def columns(self) -> dict[str, np.ndarray]:
        """Return the stored columns."""
        return load_file(self.path)

    def data(self, **section: Any) -> dict[str, Any]:
        """Return the ``data`` of a job file for a request's ``data`` section, whatever the model."""
        return self.job("Identity()", **section)["data"]

    def job(self, model: object, *, folder: Path | None = None, plan: Any = None, **section: Any):
        """Return a job file's content, resolved as the API does."""
        data = DataSection.model_validate({"dataset": "ds_test", **section})
        shown = present(data, self.info, lambda names: {name: self.columns()[name] for name in names})
        definition = check(model)
        whole = shown.info.columns[shown.target or shown.info.target].dtype == "int64"
        loss = {"type": "CrossEntropyLoss" if whole else "MSELoss"}
        sections = resolve(
            data=data.model_copy(update={"target": shown.target}),
            training=TrainingPlan.model_validate(
                {"epochs": 2, "optimizer": FREE, "loss": loss, "seed": 1, **(plan or {})}
            ),
            checkpoints=CheckpointPolicy(),
            dataset=shown.info,
            definition=definition,
        )
        sections = json.loads(json.dumps(shown.complete(sections)))
        return {
            "job_id": "job_1",
            "attempt": 1,
            "definition": definition.document,
            **sections,
            "data": {**sections["data"], "file": str(self.path), "sha256": self.table["sha256"]},
            "device": "cpu",
            "threads": 1,
            "max_runtime_seconds": 600,
            "resume": None,
            "output": str((folder or self.path.parent) / "output"),
        }


def csv_of(columns: dict[str, list[Any]]) -> bytes:
    """Return a CSV file."""
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    return ("\n".join(lines) + "\n").encode()
