"""Losses with classes: probabilities and logits, rows and batches, indices and distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from softstep import kernels, losses
from softstep.losses import (
    cross_entropy,
    cross_entropy_error,
    log_likelihood,
    negative_log_likelihood,
    perplexity,
)

EPS = np.finfo(np.float64).eps
DELTA = 1e-7


def case(rng: np.random.Generator, rows: int = 6, classes: int = 4) -> tuple[Any, Any, Any]:
    """Logits, their probabilities, labels."""
    logits = rng.normal(0, 3, (rows, classes))
    e = np.exp(logits)
    return logits, e / e.sum(axis=1, keepdims=True), rng.integers(0, classes, rows)


def test_cross_entropy_error_is_the_books_formula(rng: np.random.Generator) -> None:
    _, p, labels = case(rng)
    rows = [-np.log(p[i, labels[i]] + DELTA) for i in range(len(p))]
    bound = 8 * EPS
    assert cross_entropy_error(p, labels) == pytest.approx(np.mean(rows), rel=bound)
    assert cross_entropy_error(p, labels, reduction="sum") == pytest.approx(np.sum(rows), rel=bound)
    np.testing.assert_allclose(cross_entropy_error(p, labels, reduction="none"), rows, rtol=bound)
    others = [-np.log(p[i, labels[i]] + 0.5) for i in range(len(p))]
    found = cross_entropy_error(p, labels, delta=0.5, reduction="none")
    np.testing.assert_allclose(found, others, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, bool])
def test_one_hot_and_indices_are_the_same(rng: np.random.Generator, dtype: Any) -> None:
    logits, p, labels = case(rng)
    one_hot = np.eye(4)[labels].astype(dtype)
    for y, loss in (
        (p, cross_entropy_error), (p, negative_log_likelihood), (p, log_likelihood),
        (p, perplexity), (logits, lambda y, t: negative_log_likelihood(y, t, from_logits=True)),
    ):  # fmt: skip
        if y is logits and dtype is bool:
            continue
        assert loss(y, one_hot) == pytest.approx(loss(y, labels), rel=4 * EPS)
        assert loss(y[2], one_hot[2]) == pytest.approx(loss(y[2], labels[2]), rel=4 * EPS)


def test_a_row_alone_is_a_batch_of_one(rng: np.random.Generator) -> None:
    logits, p, labels = case(rng)
    for i in range(len(p)):
        for y, loss in ((p, cross_entropy_error), (p, negative_log_likelihood), (p, log_likelihood),
                        (p, perplexity), (logits, cross_entropy)):  # fmt: skip
            alone = loss(y[i], labels[i])
            assert np.ndim(alone) == 0
            assert alone == loss(y[i : i + 1], labels[i : i + 1])
            assert loss(y[i], int(labels[i])) == alone
        assert cross_entropy_error(p[i], labels[i], reduction="none") == alone_of(p[i], labels[i])


def alone_of(p: Any, label: Any) -> float:
    return cross_entropy_error(p, label, reduction="sum")


def test_soft_targets(rng: np.random.Generator) -> None:
    logits, p, _ = case(rng)
    t = rng.dirichlet(np.ones(4), size=6)
    expected = -(t * np.log(p)).sum(axis=1)
    found = negative_log_likelihood(p, t, reduction="none")
    np.testing.assert_allclose(found, expected, rtol=20 * EPS)
    found = negative_log_likelihood(logits, t, from_logits=True, reduction="none")
    np.testing.assert_allclose(found, expected, rtol=100 * EPS)


def test_probabilities_of_zero() -> None:
    with np.errstate(all="raise"):
        assert cross_entropy_error([1.0, 0.0], 1) == -np.log(DELTA)
        assert negative_log_likelihood([1.0, 0.0], 1) == np.inf
        assert negative_log_likelihood([1.0, 0.0], [1, 0]) == 0
        assert log_likelihood([[1.0, 0.0], [1.0, 0.0]], [0, 1]) == -np.inf
        assert perplexity([1.0, 0.0], 1) == np.inf
        assert cross_entropy_error([1.0, 0.0], 1, delta=0) == np.inf


def test_likelihoods_belong_together(rng: np.random.Generator) -> None:
    logits, p, labels = case(rng)
    together = np.prod(p[np.arange(6), labels])  # of independent rows
    assert log_likelihood(p, labels) == pytest.approx(np.log(together), rel=30 * EPS)
    assert negative_log_likelihood(p, labels) == pytest.approx(-np.log(together) / 6, rel=30 * EPS)
    assert perplexity(p, labels) == pytest.approx(together ** (-1 / 6), rel=60 * EPS)
    for y, more in ((p, {}), (logits, {"from_logits": True})):
        for reduction in ("mean", "sum", "none"):
            np.testing.assert_array_equal(
                log_likelihood(y, labels, reduction=reduction, **more),
                -negative_log_likelihood(y, labels, reduction=reduction, **more),
            )
    assert perplexity(logits, labels, from_logits=True) == pytest.approx(perplexity(p, labels))
    assert str(log_likelihood([1.0, 0.0], 0)) == "0.0"


def test_logits_keep_their_dtype(rng: np.random.Generator) -> None:
    logits, p, labels = case(rng)
    narrow = logits.astype(np.float32)
    for loss in (negative_log_likelihood, log_likelihood, perplexity):
        assert loss(narrow, labels, from_logits=True).dtype == np.float32
        assert loss(p.astype(np.float32), labels).dtype == np.float64
    assert cross_entropy(narrow[0], labels[0]).dtype == np.float32


def test_options_of_the_kernel_reach_it(rng: np.random.Generator) -> None:
    logits, _, labels = case(rng)
    options: dict[str, Any] = {"class_weight": [1.0, 2.0, 3.0, 4.0], "label_smoothing": 0.1}
    assert cross_entropy(logits, labels, **options) == kernels.cross_entropy(
        logits, labels, **options
    )
    loss, more = cross_entropy(logits[0], labels[0], byproducts=["predicted"], reduction="none")
    assert loss == kernels.cross_entropy(logits[:1], labels[:1])
    assert more.predicted == [logits[0].argmax()]
    assert cross_entropy(logits[0], 1, ignore_index=1, reduction="sum") == 0


def test_agrees_with_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    logits, p, labels = case(rng, 50, 7)
    theirs = torch.nn.functional.nll_loss(torch.tensor(p).log(), torch.tensor(labels))
    assert negative_log_likelihood(p, labels) == pytest.approx(theirs.item(), rel=20 * EPS)
    theirs = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    found = negative_log_likelihood(logits, labels, from_logits=True)
    assert found == pytest.approx(theirs.item(), rel=20 * EPS)


def test_no_rows() -> None:
    y, t = np.empty((0, 3)), np.empty(0, int)
    for loss in (cross_entropy_error, negative_log_likelihood):
        assert np.isnan(loss(y, t))
        assert loss(y, t, reduction="sum") == 0
        assert loss(y, t, reduction="none").shape == (0,)
    assert negative_log_likelihood(y, t, from_logits=True, reduction="sum") == 0
    assert cross_entropy_error(y, [], reduction="sum") == 0


LOSSES = [
    cross_entropy_error, negative_log_likelihood, log_likelihood, perplexity,
]  # fmt: skip
HALVES = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("y", "t", "error", "message"),
    [
        (HALVES, [0, 2], IndexError, r"^t\[1\] is 2; accepted: a class, 0 to 1$"),
        (HALVES, [-1, 0], IndexError, r"^t\[0\] is -1; accepted: a class, 0 to 1$"),
        ([0.5, 0.5], 2, IndexError, r"^t is 2; accepted: a class, 0 to 1$"),
        (HALVES, np.array([2**63, 0], np.uint64), IndexError, r"^t\[0\] is 9223372036854775808;"),
        (HALVES, [0.0, 1.0], TypeError, r"^t has dtype float64; accepted: an integer dtype"),
        (HALVES, [[1, 0], [1, 1]], ValueError, r"^t\[1, :\] sums to 2; accepted: a distribution"),
        (HALVES, [[1, 0], [2, -1]], ValueError, r"^t\[1, 1\] is -1\.0; accepted: probabilities"),
        ([0.5, 0.4], 0, ValueError, r"^[py] sums to 0\.9; accepted: a distribution"),
        ([[1, 0], [0.5, 0.4]], [0, 0], ValueError, r"^[py]\[1, :\] sums to 0\.9;"),
        ([[np.nan, 1.0]], [1], ValueError, r"^[py]\[0, 0\] is nan; accepted: probabilities"),
        ([[1.5, -0.5]], [1], ValueError, r"^[py]\[0, 1\] is -0\.5;"),
        (HALVES, [0], ValueError, r"^t has shape \(1,\); accepted: \(2,\) \(classes\) or \(2, 2\)"),
        ([0.5, 0.5], [0], ValueError, r"^t has shape \(1,\); accepted: \(\) \(classes\) or \(2,\)"),
        (0.5, 0, ValueError, r"^[py] has shape \(\); accepted: \(C,\), one row"),
        ([HALVES], [[0, 0]], ValueError, r"^[py] has shape \(1, 2, 2\);"),
        (np.empty((2, 0)), [0, 0], ValueError, r"^[py] has shape \(2, 0\); accepted: at least one"),
        (["a", "b"], 0, TypeError, r"^[py] has dtype"),
    ],
)
def test_bad_input(
    loss: Callable[..., Any], y: Any, t: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        loss(y, t)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match=r"^delta is -1; accepted: a finite number of at least 0"):
        cross_entropy_error(HALVES, [0, 1], delta=-1)
    with pytest.raises(ValueError, match=r"^reduction is 'average'"):
        cross_entropy_error(HALVES, [0, 1], reduction="average")  # type: ignore[arg-type]


def test_bad_labels_of_logits() -> None:
    """-100 is a label that `cross_entropy` ignores; a likelihood has no such label."""
    for label in (-100, 2):
        with pytest.raises(IndexError, match=rf"^t\[1\] is {label}; accepted: a class, 0 to 1$"):
            losses.negative_log_likelihood(HALVES, [0, label], from_logits=True)
        with pytest.raises(IndexError, match=rf"^t is {label}; accepted: a class"):
            losses.perplexity([0.5, 0.5], label, from_logits=True)
    with pytest.raises(ValueError, match=r"^target has shape \(1, 2\); accepted: an integer or"):
        cross_entropy([0.5, 0.5], [[1, 0]])


def test_probabilities_of_float32_may_be_off_by_their_eps(rng: np.random.Generator) -> None:
    p = kernels.softmax(rng.normal(0, 3, (5, 1000)).astype(np.float32))
    assert np.isfinite(cross_entropy_error(p, np.arange(5)))
    assert np.abs(p.astype(np.float64).sum(axis=1) - 1).max() > 0
