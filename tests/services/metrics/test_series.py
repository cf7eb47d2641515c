"""Packing and down-sampling of series."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.metrics import series


@given(st.lists(st.floats(width=64), min_size=1, max_size=300), st.integers(1, 60))
def test_down_sampling_keeps_the_ends_the_extremes_and_the_bound(values: list[float], max_points: int) -> None:
    steps = np.arange(len(values), dtype=np.int64)
    array = np.array(values)
    fewer_steps, fewer = series.downsample(steps, array, max_points)
    assert len(fewer_steps) <= max(max_points, 1)
    assert list(fewer_steps) == sorted(set(fewer_steps.tolist()))
    if max_points >= 4:
        assert fewer_steps[0] == steps[0]
        assert fewer_steps[-1] == steps[-1]
        if not np.isnan(array).any():
            assert fewer.max() == array.max()
            assert fewer.min() == array.min()
        else:
            assert np.isnan(fewer).any()


@given(st.lists(st.lists(st.floats(width=64), min_size=1, max_size=9), min_size=3, max_size=60), st.integers(4, 20))
def test_drawing_from_extremes_keeps_the_ends_the_extremes_and_the_bound(
    runs: list[list[float]], max_points: int
) -> None:
    values = np.concatenate(runs)
    steps = np.arange(len(values))
    borders = np.cumsum([len(run) for run in runs])[:-1]
    packed = [series.pack(one, run) for one, run in zip(np.split(steps, borders), runs, strict=True)]
    lows, highs = (
        (np.array([one[f"{name}_step"] for one in packed]), np.array([one[name] for one in packed]))
        for name in ("low", "high")
    )
    counts = np.array([len(run) for run in runs])
    ends = steps[[0, -1]], values[[0, -1]]
    fewer_steps, fewer = series.downsample_extremes(counts, lows, highs, ends, max_points)
    assert len(fewer_steps) <= max_points
    assert list(fewer_steps) == sorted(set(fewer_steps.tolist()))
    assert (fewer_steps[0], fewer_steps[-1]) == (steps[0], steps[-1])
    assert np.array_equal(values[fewer_steps], fewer, equal_nan=True)
    if np.isnan(values).any():
        assert np.isnan(fewer).any()
    else:
        assert (fewer.min(), fewer.max()) == (values.min(), values.max())


def test_packing_and_unpacking_return_the_same_points() -> None:
    for steps in ([1, 2, 3], [7], [2, 4, 6], [0, 1, 9]):
        numbers = [0.5, float("nan"), float("inf")][: len(steps)]
        packed = series.pack(steps, numbers)
        found, values = series.unpack(packed["first_step"], packed["steps"], packed["values"])
        assert found.tolist() == steps
        assert np.array_equal(values, numbers, equal_nan=True)
        assert (packed["first_step"], packed["last_step"], packed["count"]) == (steps[0], steps[-1], len(steps))
        assert bool(packed["steps"]) == (steps[-1] - steps[0] >= len(steps))


def test_what_json_cannot_say_is_null_and_named() -> None:
    shown = series.to_json(np.array([7, 8, 9]), np.array([float("nan"), 1.0, float("-inf")]))
    assert shown["values"] == [None, 1.0, None]
    assert shown["non_finite"] == [{"step": 7, "value": "nan"}, {"step": 9, "value": "-infinity"}]
