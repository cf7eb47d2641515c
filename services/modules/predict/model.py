"""A trained model, ready for rows: built once, in eval mode, and as it was stored before every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from services.definition import Definition
from services.definition.problems import Place
from services.errors import InvalidRequest, Problem
from services.modules.autocast import Autocast, autocast
from services.modules.build import compile_definition
from services.modules.data.parts import Batch
from services.modules.emit import FACTORY
from services.modules.explain import Failure, explain
from services.modules.graph.weights import read_weights

_CPU = torch.device("cpu")
_TOO_LARGE = "Send fewer rows at a time, or train with smaller batches."


class TrainedModel:
    """Runs batches without gradients. ``begin`` makes every run like the first: equal buffers, equal random numbers."""

    def __init__(self, definition: Definition, weights: str, *, precision: str) -> None:
        self._definition = definition
        self._code = compile_definition(definition)
        self._module: nn.Module = self._code.namespace[FACTORY]()
        self._module.load_state_dict(read_weights(weights))
        self._module.eval()
        self._buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers(remove_duplicate=False)}
        # A processor computes in float32 what a GPU did in float16.
        self.autocast: Autocast = autocast("float32" if precision == "fp16" else precision, _CPU)

    def begin(self, seed: int) -> None:
        """Forget what forward left behind, and seed what it may draw."""
        for name, buffer in self._buffers.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self._module.get_submodule(owner), leaf, buffer.clone())
        torch.manual_seed(seed)

    def run(self, batch: Batch, pointer: str) -> Any:  # noqa: ANN401 - whatever the forward returns
        """Return what forward does.

        Raises:
            InvalidRequest: what the model refuses; ``pointer`` is where the rows are in the request.
        """
        try:
            return self._module(*batch.inputs)
        except InvalidRequest:
            raise
        except Exception as error:  # noqa: BLE001 - a trained model may still raise anything on other rows
            found = explain(Failure(error, self._definition, self._code, "forward", None), Place(""))
            if isinstance(error, MemoryError) or found.code == "model_too_large":
                detail = f"A batch of {batch.rows} rows needs more memory than a prediction may have."
                raise InvalidRequest([Problem("model_too_large", detail, pointer, _TOO_LARGE)]) from None
            detail = f"The model fails on these rows: {found.detail}"
            hint = f"At {found.pointer} of the definition. {found.hint or ''}".strip() if found.pointer else found.hint
            raise InvalidRequest([Problem(found.code, detail, pointer, hint)]) from None


def named_outputs(outputs: Any, names: tuple[str, ...]) -> dict[str, Tensor]:  # noqa: ANN401 - any nesting
    """Return every tensor that forward returned by its name: a key, a name of the definition, else its place."""
    if isinstance(outputs, Tensor):
        return {names[0] if len(names) == 1 else "output": outputs}
    found: dict[str, Tensor] = {}
    for name, value in _members(outputs, names):
        inner = named_outputs(value, ())
        found |= {name if key == "output" else f"{name}.{key}": tensor for key, tensor in inner.items()}
    return found


def _members(outputs: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:  # noqa: ANN401 - any nesting
    if isinstance(outputs, Mapping):
        return [(str(name), value) for name, value in outputs.items()]
    if isinstance(outputs, list | tuple):
        given = names if len(names) == len(outputs) else tuple(map(str, range(len(outputs))))
        return list(zip(given, outputs, strict=True))
    return []
