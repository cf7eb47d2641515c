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


def test_packing_and_unpacking_return_the_same_points_over_several_segments() -> None:
    first = series.pack([1, 2], [0.5, float("nan")])
    second = series.pack([3], [float("inf")])
    steps, values = series.unpack(first["steps"] + second["steps"], first["values"] + second["values"])
    assert steps.tolist() == [1, 2, 3]
    assert np.array_equal(values, [0.5, float("nan"), float("inf")], equal_nan=True)
    assert (first["first_step"], first["last_step"], first["count"]) == (1, 2, 2)


def test_what_json_cannot_say_is_null_and_named() -> None:
    shown = series.to_json(np.array([7, 8, 9]), np.array([float("nan"), 1.0, float("-inf")]))
    assert shown["values"] == [None, 1.0, None]
    assert shown["non_finite"] == [{"step": 7, "value": "nan"}, {"step": 9, "value": "-infinity"}]
