"""The numbers of a job as the client returns them: what the service sent, and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import polars

Json = dict[str, Any]


class Metrics(Json):
    """Series by name under ``["series"]``, as the service sent them: ``steps``, ``values``, ``non_finite``, ``count``.

    ::

        metrics = job.metrics(names=["train/loss", "validation/accuracy"])
        metrics.records()[-1]           # {"step": 920, "train/loss": 0.0116, "validation/accuracy": 0.98}
        metrics.to_pandas().plot()
    """

    def records(self) -> list[Json]:
        """Return one record a step, in order; a series that has no number at that step is missing from it.

        What is not finite is ``nan``, ``inf`` or ``-inf``.
        """
        steps: dict[int, Json] = {}
        for name, one in self["series"].items():
            odd = {place["step"]: float(place["value"]) for place in one.get("non_finite") or ()}
            for step, value in zip(one["steps"], one["values"], strict=True):
                steps.setdefault(step, {"step": step})[name] = odd.get(step, value) if value is None else value
        return [steps[step] for step in sorted(steps)]

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row a step, indexed by it, and a column a series; pandas must be installed."""
        import pandas  # noqa: PLC0415 - only who asks for it needs it

        frame = pandas.DataFrame.from_records(self.records(), columns=["step", *self["series"]])
        return frame.set_index("step")

    def to_polars(self) -> polars.DataFrame:
        """Return a data frame with a row a step and a column a series; polars must be installed."""
        import polars  # noqa: PLC0415 - only who asks for it needs it

        schema = {"step": polars.Int64, **dict.fromkeys(self["series"], polars.Float64)}
        return polars.DataFrame(self.records(), schema=schema)
