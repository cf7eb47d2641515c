"""What a client can ask about models and the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelwright.live import as_definition
from modelwright.requests import Moment, Requests, filters, path

Json = dict[str, Any]


class ModelCalls(Requests):
    """The methods for ``/v1/models`` and ``/v1/catalog``."""

    def create_model(self, model: object) -> Json:
        """Check a definition, an expression, or a live ``nn.Module``, and keep it; the same content is the same model.

        Raises:
            InvalidRequest: the definition is wrong; ``problems`` names every place.
            CannotDescribe: the live module does something that the language cannot say.
        """
        return self._post("/v1/models", _document(model), None)

    def validate_model(self, model: object) -> Json:
        """Check a definition, an expression, or a live ``nn.Module``, and return the preflight report and the tree.

        Raises:
            InvalidRequest, CannotDescribe: as `create_model`.
        """
        return self._post("/v1/models/validate", _document(model), None)

    def get_model(self, model_id: str) -> Json:
        """Return a model.

        Raises:
            NotFound: you have no such model.
        """
        return self._get(path("models", model_id))

    def list_models(self, *, created_after: Moment | None = None, limit: int | None = None) -> Iterator[Json]:
        """Yield models, newest first, page by page as you take them; at most ``limit``."""
        return self._pages("/v1/models", filters(created_after=created_after), limit)

    def model_source(self, model_id: str) -> str:
        """Return a model as plain PyTorch source; ``build_model()`` in it is the model.

        Raises:
            NotFound: you have no such model.
        """
        return self._get_text(path("models", model_id, "source"))

    def model_summary(self, model_id: str) -> str:
        """Return the tree of a model as text, with shapes and counts.

        Raises:
            NotFound: you have no such model.
        """
        return self._get_text(path("models", model_id, "summary"), [("format", "text")])

    def edit_model(
        self, model_id: str, operations: Sequence[Mapping[str, Any]], *, checkpoint: str | None = None
    ) -> Json:
        """Add, remove, replace, rename or freeze layers by path; return the new model and what carries over.

        Raises:
            NotFound: you have no such model.
            InvalidRequest: an operation cannot be made, or its result is wrong.
        """
        body: Json = {"operations": [dict(operation) for operation in operations]}
        return self._post(
            path("models", model_id, "edit"), body | ({"checkpoint": checkpoint} if checkpoint else {}), None
        )

    def catalog(self, *, kind: str | None = None, search: str | None = None) -> list[Json]:
        """Return what a request may name: layers, functions, losses, optimizers, schedulers, metrics, data sets."""
        entries: list[Json] = self._get("/v1/catalog", filters(kind=kind or None, search=search or None))["data"]
        return entries

    def catalog_entry(self, name: str) -> Json:
        """Return one entry with the JSON Schema of its arguments.

        Raises:
            NotFound: nothing is called that.
        """
        return self._get(path("catalog", name))

    def model_schema(self) -> Json:
        """Return the JSON Schema of model documents."""
        return self._get("/v1/schema/model.json")


def _document(model: object) -> object:
    """Return a body for ``/v1/models``, which takes objects alone."""
    definition = as_definition(model)
    return {"model": definition} if isinstance(definition, str) else definition
