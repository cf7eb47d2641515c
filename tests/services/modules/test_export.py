"""Trained models in the formats of others, each loaded back and compared with eager."""

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from services.definition import check
from services.errors import InvalidRequest
from services.modules.build import build
from services.modules.export import export

DIGITS = {"model": "Sequential(Linear(8, 16), BatchNorm1d(16), ReLU(), Dropout(0.5), Linear(16, 3))"}
ROWS = {"x": {"dtype": "float32", "shape": ["B", 8]}}
TOKENS = {"x": {"dtype": "int64", "shape": ["B", 6], "classes": 20}}
TAGGER = {
    "modules": {
        "Tagger": {
            "init": [{"embed": "Embedding(20, 8)"}, {"lstm": "LSTM(8, 8, batch_first=True)"}, {"head": "Linear(8, 5)"}],
            "forward": ["y, state = self.lstm(self.embed(x))", "return self.head(y)"],
        }
    },
    "model": "Tagger()",
}
BRANCH = {
    "modules": {
        "Branch": {
            "init": [{"layer": "Linear(8, 8)"}],
            "forward": ["y = self.layer(x)", {"if": "y.sum() > 0", "then": ["y = y * 2"]}, "return y"],
        }
    },
    "model": "Branch()",
}


@pytest.fixture
def exported(tmp_path):
    def make(document, inputs, format):
        torch.manual_seed(0)
        module = build(check(document))
        save_file(module.state_dict(), tmp_path / "weights.safetensors")
        request = {"document": document, "weights": str(tmp_path / "weights.safetensors"), "inputs": inputs}
        path = tmp_path / "made"
        return module.eval(), path, export({**request, "format": format, "path": str(path)})

    return make


def test_a_state_dict_file_loads_in_plain_pytorch_and_holds_the_same_bits(exported):
    module, path, report = exported(DIGITS, ROWS, "torch")
    loaded = torch.load(path, weights_only=True)
    assert list(loaded) == list(module.state_dict())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in module.state_dict().items())
    assert report["difference"] is None


def test_an_onnx_file_takes_any_batch_and_is_as_near_to_eager_as_it_says(exported):
    module, path, report = exported(DIGITS, ROWS, "onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batch = torch.randn(11, 8)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    assert torch.allclose(torch.from_numpy(outputs), module(batch), atol=1e-5)
    assert report["free_sizes"] == ["B"]
    assert report["difference"]["batches"] == 2
    assert 0 <= report["difference"]["max_abs"] < 1e-5


def test_an_exported_program_keeps_tokens_and_batches_free_and_equals_eager(exported):
    module, path, report = exported(TAGGER, TOKENS, "torch-export")
    tokens = torch.randint(0, 20, (7, 6))
    assert torch.equal(torch.export.load(path).module()(tokens), module(tokens))
    assert report["difference"] == {"max_abs": 0.0, "max_rel": 0.0, "batches": 2}


@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_a_model_whose_branch_depends_on_data_is_refused_with_the_reason(exported, format):
    with pytest.raises(InvalidRequest) as refused:
        exported(BRANCH, ROWS, format)
    (problem,) = refused.value.problems
    assert (problem.code, problem.pointer) == ("not_exportable", "/format")
    assert "data-dependent" in problem.detail
