"""Makes the functions behind loss and metrics: expressions compiled once, names bound to outputs and columns."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from services.definition.catalog import CATALOG
from services.definition.formulas import Formulas, locate
from services.definition.problems import Place
from services.definition.vocabulary import WHOLE, Vocabulary
from services.errors import InvalidRequest, Problem
from services.modules.build import Code, compile_definition
from services.modules.emit import FACTORY
from services.modules.words import describe

Outputs = Any
"""What a model returns: a tensor, a tuple, a dict, or whatever its forward makes."""
Columns = Mapping[str, Tensor]
Getter = Callable[[Outputs, Columns], Any]
_TENSOR_ARGUMENTS = ("weight", "pos_weight")


class Compiled:
    """Checked expressions as a function: ``compiled(outputs, columns)`` returns a tuple of their values.

    It must be bound to the first outputs of the model before, and again when they change their form.
    """

    def __init__(self, formulas: Formulas, vocabulary: Vocabulary) -> None:
        self._formulas = formulas
        self._vocabulary = vocabulary
        self._code: Code = compile_definition(formulas.definition)
        module = self._code.namespace[FACTORY]()
        # The plain function: hooks and the like of a module have no part in a loss.
        self._forward: Callable[..., tuple[Any, ...]] = module.forward
        self._getters: list[Getter] = []

    def __call__(self, outputs: Outputs, columns: Columns) -> tuple[Any, ...]:
        """Return the value of each expression."""
        return self._forward(*[get(outputs, columns) for get in self._getters])

    def bind(self, outputs: Outputs) -> None:
        """Find out where in ``outputs`` each name is.

        Raises:
            InvalidRequest: ``unexpected_output``, ``unknown_name`` or ``ambiguous_name``, at the expression.
        """
        found = resolve_outputs(outputs, self._vocabulary)
        problems, getters = [], []
        for name, place in self._formulas.names.items():
            problem = found.ambiguous(name, place)
            if problem is None and not found.meanings(name):
                problem = _no_whole(outputs, place) if name == WHOLE else found.unknown(name, place)
            if problem is not None:
                problems.append(problem)
            else:
                getters.append(_getter(name, found, keyed=_is_keyed(outputs, self._vocabulary)))
        if problems:
            raise InvalidRequest(problems)
        self._getters = getters

    def place_of(self, error: BaseException) -> Place | None:
        """Return which expression an exception came from, and where in it."""
        place = None
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == self._code.filename and frame.lineno is not None:
                position = (frame.lineno, frame.colno or 0, frame.end_lineno or frame.lineno, frame.end_colno or 0)
                found = self._code.place_at(*position)
                place = locate(found, self._formulas.lines) if found is not None else place
        return place

    def named_values(self, outputs: Outputs, columns: Columns) -> dict[str, Any]:
        """Return what each name stands for."""
        return {name: get(outputs, columns) for name, get in zip(self._formulas.names, self._getters, strict=True)}


def resolve_outputs(outputs: Outputs, vocabulary: Vocabulary) -> Vocabulary:
    """Return the vocabulary with the outputs that there are.

    Raises:
        InvalidRequest: ``unexpected_output``: forward does not return what the definition says.
    """
    declared = vocabulary.outputs
    if _is_keyed(outputs, vocabulary):
        keys = tuple(key for key in outputs if isinstance(key, str))
        missing = [name for name in declared if name not in keys]
        if missing:
            raise _unexpected(f"forward returns a dict with {', '.join(keys)}, without {', '.join(missing)}")
        return Vocabulary(keys, vocabulary.columns)
    if len(declared) > 1:
        count = len(outputs) if isinstance(outputs, list | tuple) else 1
        if count != len(declared):
            raise _unexpected(f"the definition names {len(declared)} outputs, but forward returns {describe(outputs)}")
    return Vocabulary(declared, vocabulary.columns)


def _unexpected(what: str) -> InvalidRequest:
    hint = 'Let "outputs" in the definition name what forward returns, in order.'
    return InvalidRequest([Problem("unexpected_output", f"{what[0].upper()}{what[1:]}.", "/model/outputs", hint)])


def _is_keyed(outputs: Outputs, vocabulary: Vocabulary) -> bool:
    """Return whether names are keys of what forward returns; a single declared name is the whole of it."""
    return isinstance(outputs, dict) and len(vocabulary.outputs) != 1


def _no_whole(outputs: Outputs, place: Place) -> Problem:
    detail = f"The model returns {describe(outputs)}; which of them is meant must be said."
    hint = 'Name it, for example with "inputs" of the loss or metric.'
    return Problem("unexpected_output", detail, place.pointer, hint, place.column)


def _getter(name: str, vocabulary: Vocabulary, *, keyed: bool) -> Getter:
    names = vocabulary.outputs
    if name in names and keyed:
        return lambda outputs, columns: outputs[name]
    if name in names and len(names) > 1:
        index = names.index(name)
        return lambda outputs, columns: outputs[index]
    if name not in vocabulary.columns:
        return lambda outputs, columns: outputs
    column = vocabulary.columns[name]
    return lambda outputs, columns: columns[column]


def build_criterion(loss: Mapping[str, Any], device: torch.device | str) -> nn.Module:
    """Return the loss of torch that a plan names, with its arguments."""
    CATALOG.classes[loss["type"]]  # the closed list comes first
    arguments = {name: value for name, value in loss.items() if name not in ("type", "inputs")}
    for name in _TENSOR_ARGUMENTS:
        if arguments.get(name) is not None:
            arguments[name] = torch.tensor(arguments[name], dtype=torch.float32)
    kind: type[nn.Module] = getattr(nn, loss["type"])
    return kind(**arguments).to(device)
