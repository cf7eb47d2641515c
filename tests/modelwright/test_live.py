"""Live modules are posted as definitions."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from modelwright import CannotDescribe, Client
from services.definition import check
from services.modules import build
from tests.modelwright.scripted import reply, scripted


class Twice(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        for _ in range(2):
            x = torch.relu(self.linear(x))
        return self.head(x)


class Printing(nn.Module):
    def forward(self, x):
        print(x)
        return x


def test_a_live_module_is_submitted_as_the_definition_that_builds_it():
    with scripted(reply(201, {"id": "job_1"})) as service:
        Client(service.url, "mw_key").submit(model=Twice(64), data={"dataset": "digits"}, training={"epochs": 1})
    sent = json.loads(service.requests[0][3])
    assert (sent["data"], sent["training"]) == ({"dataset": "digits"}, {"epochs": 1})
    torch.manual_seed(1)
    theirs = Twice(64)
    ours = build(check(sent["model"]))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 64)
    assert torch.equal(ours(x), theirs(x))


def test_what_the_language_cannot_say_is_refused_by_name():
    with pytest.raises(CannotDescribe) as caught:
        Client("http://127.0.0.1:1", "mw_key").submit(model=Printing(), data={}, training={})
    assert "print" in str(caught.value)


def test_the_client_imports_neither_torch_nor_the_service():
    code = "import sys, modelwright; print(sorted({'torch', 'services', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
