"""What a client can do with sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelwright.live import as_definition
from modelwright.requests import Moment, Requests, filters, path

Json = dict[str, Any]


class SweepCalls(Requests):
    """The methods for ``/v1/sweeps``. `Client.watch`, `Client.wait` take a sweep's id as they take a job's."""

    def sweep(
        self, /, sweep: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None, **members: object
    ) -> Json:
        """Begin a sweep and return it; with the same ``idempotency_key``, the one begun before.

        Args:
            sweep: the whole request, or what is left of it beside ``members``.
            members: ``base=``, a job as for `Client.submit` (its ``model`` may be a live ``nn.Module``), ``space=``,
                ``strategy=``, ``objective=``, ``asha=``, ``budget=``, ``seed=``, ``name=``.

        Raises:
            InvalidRequest: it is wrong; ``problems`` names every place.
            CannotDescribe: the live module does something that the language cannot say.
        """
        return self._post("/v1/sweeps", _request(sweep, members), idempotency_key)

    def validate_sweep(self, /, sweep: Mapping[str, Any] | None = None, **members: object) -> Json:
        """Check a sweep as `sweep` does, without running it.

        Raises:
            InvalidRequest, CannotDescribe: as `sweep`.
        """
        return self._post("/v1/sweeps", _request(sweep, members), None, params=[("validate_only", "true")])

    def get_sweep(self, sweep_id: str) -> Json:
        """Return a sweep: state, counts of its trials, the best of them.

        Raises:
            NotFound: you have no such sweep.
        """
        return self._get(path("sweeps", sweep_id))

    def sweeps(
        self, *, states: Sequence[str] = (), created_after: Moment | None = None, limit: int | None = None
    ) -> Iterator[Json]:
        """Yield sweeps, newest first; at most ``limit``."""
        return self._pages("/v1/sweeps", filters(status=states, created_after=created_after), limit)

    def trials(self, sweep_id: str, *, states: Sequence[str] = (), limit: int | None = None) -> Iterator[Json]:
        """Yield the trials of a sweep by number: parameters, state, objective, steps, duration."""
        return self._pages(path("sweeps", sweep_id, "trials"), filters(status=states), limit)

    def parallel_coordinates(self, sweep_id: str) -> Json:
        """Return a sweep as ``dimensions`` and ``lines`` over them."""
        return self._get(path("sweeps", sweep_id, "parallel-coordinates"))

    def sweep_picture(self, sweep_id: str) -> str:
        """Return a sweep drawn as parallel coordinates, as SVG."""
        return self._get_text(path("sweeps", sweep_id, "parallel-coordinates"), [("format", "svg")])

    def cancel_sweep(self, sweep_id: str) -> Json:
        """Ask for the end of a sweep and its jobs, and return it; what it found stays.

        Raises:
            StateConflict: it has already ended.
        """
        return self._post(path("sweeps", sweep_id, "cancel"), None, None)


def _request(sweep: Mapping[str, Any] | None, members: Mapping[str, object]) -> Json:
    request: Json = {**(sweep or {}), **members}
    base = request.get("base")
    if isinstance(base, Mapping) and "model" in base:
        request["base"] = {**base, "model": as_definition(base["model"])}
    return request
