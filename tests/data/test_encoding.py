"""One-hot vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softstep.data import from_one_hot, one_hot


@given(
    hnp.arrays(st.sampled_from(["u1", "i1", "i4", "i8", "u8"]), hnp.array_shapes(max_dims=3),
               elements=st.integers(0, 9)),
    st.sampled_from([np.float32, np.float64, np.uint8, np.bool_]),
)  # fmt: skip
def test_round_trip(labels: Any, dtype: Any) -> None:
    vectors = one_hot(labels, 10, dtype)
    assert vectors.shape == (*labels.shape, 10)
    assert vectors.dtype == dtype
    assert (vectors.sum(axis=-1) == 1).all()
    assert np.array_equal(from_one_hot(vectors), labels)
    assert from_one_hot(vectors).dtype == np.int64


def test_number_of_classes() -> None:
    assert one_hot([0, 4]).shape == (2, 5)
    assert one_hot([], 3).shape == (0, 3)
    assert one_hot(2, 3).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="num_classes must be given when there are no labels"):
        one_hot([])


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0, 3], 3, IndexError, "row 1 holds 3, accepted: 0 to 2"),
        ([0, -1, 5], 3, IndexError, "row 1 holds -1, accepted: 0 to 2"),
        (np.array([[0, 1], [0, 200]], np.uint8), 3, IndexError, "row 1, 1 holds 200"),
        (np.array([2**63 + 1], np.uint64), 3, IndexError, f"row 0 holds {2**63 + 1}"),
        (7, 3, IndexError, "labels: 7, accepted: 0 to 2"),
        ([-1], None, IndexError, "row 0 holds -1, accepted: 0 to 0"),
        ([0.0], 3, TypeError, "labels must hold integers, got float64"),
        ([True], 3, TypeError, "got bool"),
        (["a"], 3, TypeError, "labels must hold integers"),
        ([0], 0, ValueError, "num_classes must be >= 1"),
        ([0], 1.5, TypeError, "num_classes must be an integer"),
    ],
)
def test_refused_labels(labels: Any, classes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        one_hot(labels, classes)


@pytest.mark.parametrize("dtype", [complex, "no dtype", ",loat32", "f4,f4", object])
def test_refused_dtype(dtype: Any) -> None:
    with pytest.raises(TypeError, match="dtype must be a type of real numbers"):
        one_hot([0], 1, dtype)


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        ([[0, 1], [1, 1]], ValueError, r"row 1 is not one-hot: \[1 1\]"),
        ([[0, 1], [0, 0]], ValueError, "row 1 is not one-hot"),
        ([[0, 1], [0, 2]], ValueError, "row 1 is not one-hot"),
        ([[[0.5, 0.5]]], ValueError, "row 0, 0 is not one-hot"),
        ([[np.nan, 1.0]], ValueError, "row 0 is not one-hot"),
        ([0, 0], ValueError, "the vector is not one-hot"),
        (1, ValueError, r"shape \(\.\.\., C\)"),
        (np.zeros((3, 0)), ValueError, r"got \(3, 0\)"),
        ([["a"]], TypeError, "vectors must hold real numbers"),
    ],
)
def test_not_one_hot(vectors: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_one_hot(vectors)
