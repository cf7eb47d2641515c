"""What trainer tests share: jobs made as the service makes them, and a line that remembers what was said."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from services.datasets.builtin import materialise
from services.datasets.catalog import get_builtin
from services.definition import check
from services.training.resolve import resolve
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan
from worker.trainer.main import run

MLP = "Sequential(Linear(64, 32), ReLU(), Linear(32, 10))"
SMALL_SPLIT = {"train": 0.05, "validation": 0.02, "test": 0.02, "seed": 0}  # 90 rows: a few steps an epoch


class Line:
    """Remembers events; says the commands that are due once the trainer has come to a step."""

    isolation = ()

    def __init__(self, commands=()):
        self.events = []
        self.commands = list(commands)

    def emit(self, event):
        self.events.append(json.loads(json.dumps(event)))

    def poll(self):
        commands, self.commands = self.commands, []
        return commands

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]

    @property
    def last(self):
        return self.events[-1]

    @property
    def last_latest(self):
        """The newest value of each series."""
        return self.of("metrics")[-1]["latest"]

    def series(self, name):
        """Return {step: value} of one series, put together from all events."""
        points = {}
        for event in self.of("metrics"):
            found = event["series"].get(name, {"steps": [], "values": []})
            for step, value in zip(found["steps"], found["values"], strict=True):
                assert step not in points
                points[step] = value
        return points


def make_job(folder, *, model=MLP, dataset="digits", data=None, checkpoints=None, cache=None, **training):
    """Return a job file's content, resolved as the API resolves it."""
    definition = check(model)
    plan = {"epochs": 2, "optimizer": {"type": "Adam"}, "loss": {"type": "CrossEntropyLoss"}, "seed": 1, **training}
    resolved = resolve(
        data=DataSection.model_validate({"dataset": dataset, "split": SMALL_SPLIT, "batch_size": 16, **(data or {})}),
        training=TrainingPlan.model_validate({name: value for name, value in plan.items() if value is not None}),
        checkpoints=CheckpointPolicy.model_validate(checkpoints or {}),
        dataset=get_builtin(dataset),
        definition=definition,
    )
    file = materialise(dataset, cache or Path(folder))
    return {
        "job_id": "job_1",
        "attempt": 1,
        "definition": definition.document,
        **resolved,
        "data": {**resolved["data"], "file": str(file.path), "sha256": file.sha256},
        "device": "cpu",
        "resources": {"device": "cpu", "gpus": None, "processes": 1},
        "threads": 1,
        "max_runtime_seconds": 600,
        "resume": None,
        "output": str(Path(folder) / "output"),
    }


def train(job, commands=(), run=run):
    """Run a job in this process and return what it said."""
    line = Line(commands)
    line.code = run(job, line)
    return line


def resumed(job, checkpoint, folder):
    """Return the job as its next attempt gets it."""
    resume = {"directory": checkpoint["directory"], "step": checkpoint["step"]}
    return {**job, "attempt": 2, "resume": resume, "output": str(folder)}


def read(checkpoint):
    """Return everything that a checkpoint holds and that a resume must reproduce, as comparable values."""
    directory = Path(checkpoint["directory"])
    state = json.loads((directory / "state.json").read_text())
    state["state"].pop("elapsed_seconds")
    state.pop("sha256")
    state.pop("own_sha256")
    weights = load_file(directory / "weights.safetensors")
    return weights, load_file(directory / "state.safetensors"), state


def assert_same_bits(one, other):
    """Compare two checkpoints at zero tolerance."""
    for left, right in zip(one[:2], other[:2], strict=True):
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            assert tensor.dtype == right[name].dtype
            assert torch.equal(tensor.view(-1).view(torch.uint8), right[name].view(-1).view(torch.uint8)), name
    assert one[2] == other[2]
