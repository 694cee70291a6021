"""The table "Semantics, decided" of DESIGN.md, line by line, on every level.

The fused path's lines are in test_train_step.py (ties) and test_train_step_errors.py.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, FEW_SIZES, Array, random_labels, random_logits

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

NAN, INF = np.nan, np.inf
REDUCTIONS = ("mean", "sum", "none")

dtypes = pytest.mark.parametrize("dtype", DTYPES)
both = pytest.mark.parametrize("module", [kernels, reference], ids=["kernels", "reference"])


def rows_with(rng: np.random.Generator, classes: int, dtype: Any) -> Array:
    return random_logits(rng, (5, classes), dtype)


@both
@dtypes
def test_row_of_minus_infinity(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    for classes in FEW_SIZES:
        x = rows_with(rng, classes, dtype)
        x[2] = -INF
        assert np.isnan(module.softmax(x)[2]).all()
        assert np.isnan(module.log_softmax(x)[2]).all()
        assert module.logsumexp(x)[2] == -INF
        loss, gradient = module.cross_entropy_with_grad(x, [0] * 5, reduction="none")
        assert np.isnan(loss[2])
        assert np.isnan(gradient[2]).all()


@both
@dtypes
def test_one_plus_infinity(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    for classes in FEW_SIZES:
        for column in {0, classes // 2, classes - 1}:
            x = rows_with(rng, classes, dtype)
            x[2, column] = INF
            assert np.isnan(module.softmax(x)[2]).all()
            assert np.isnan(module.log_softmax(x)[2]).all()
            assert module.logsumexp(x)[2] == INF
            for label in (0, classes - 1):
                labels = [label] * 5
                loss, gradient = module.cross_entropy_with_grad(x, labels, reduction="none")
                assert np.isnan(loss[2])
                assert np.isnan(gradient[2]).all()


@both
@dtypes
def test_several_infinities(module: ModuleType, dtype: Any) -> None:
    x = np.array([[INF, INF, 0], [INF, -INF, 0], [-INF, INF, INF]], dtype)
    assert np.isnan(module.softmax(x)).all()
    assert np.isnan(module.log_softmax(x)).all()
    assert (module.logsumexp(x) == INF).all()


@both
@dtypes
def test_some_minus_infinity_is_probability_zero(
    module: ModuleType, dtype: Any, rng: np.random.Generator
) -> None:
    for classes in FEW_SIZES[1:]:
        x = rows_with(rng, classes, dtype)
        masked = rng.random(classes) < 0.5
        masked[rng.integers(classes)] = False
        x[:, masked] = -INF
        probabilities, logs = module.softmax(x), module.log_softmax(x)
        assert (probabilities[:, masked] == 0).all()
        assert (logs[:, masked] == -INF).all()
        kept = np.ascontiguousarray(x[:, ~masked])
        # Two evaluations of softmax's bound at distance 60.
        limit = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(probabilities[:, ~masked], module.softmax(kept), rtol=limit)
        np.testing.assert_allclose(
            module.logsumexp(x), module.logsumexp(kept), rtol=limit, atol=8 * limit
        )


@both
@dtypes
def test_target_logit_of_minus_infinity(
    module: ModuleType, dtype: Any, rng: np.random.Generator
) -> None:
    """Loss +inf, gradient softmax - target."""
    for classes in FEW_SIZES[1:]:
        for label in {0, classes // 2, classes - 1}:
            x = rows_with(rng, classes, dtype)
            x[2, label] = -INF
            for reduction in REDUCTIONS:
                loss, gradient = module.cross_entropy_with_grad(x, [label] * 5, reduction=reduction)
                assert (loss[2] if reduction == "none" else loss) == INF
                divisor = 5 if reduction == "mean" else 1
                wanted = reference.softmax(x[2].astype(np.float64))
                wanted[label] = -1
                # Softmax's bound at distance 60 and the division.
                limit = 70 * np.finfo(dtype).eps
                np.testing.assert_allclose(gradient[2], wanted / divisor, rtol=limit, atol=limit)
                assert module.cross_entropy(x, [label] * 5, reduction="sum") == INF


@both
@dtypes
def test_nan_anywhere_in_a_row(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    for classes in FEW_SIZES:
        for column in range(classes):
            for company in (0, INF, -INF):
                x = rows_with(rng, classes, dtype)
                if company:
                    x[2, -1] = company
                x[2, column] = NAN
                assert np.isnan(module.softmax(x)[2]).all()
                assert np.isnan(module.log_softmax(x)[2]).all()
                assert np.isnan(module.logsumexp(x)[2])
                label = (column + 1) % classes
                loss, gradient = module.cross_entropy_with_grad(x, [label] * 5, reduction="none")
                assert np.isnan(loss[2])
                assert np.isnan(gradient[2]).all()
                assert np.isfinite(np.delete(loss, 2)).all()
                assert np.isfinite(np.delete(gradient, 2, 0)).all()
                assert np.isnan(module.cross_entropy(x, [label] * 5))


@both
@dtypes
def test_nan_row_is_never_correct(module: ModuleType, dtype: Any) -> None:
    weight, bias = np.eye(3, dtype=dtype), np.zeros(3, dtype)
    for poison in (NAN, INF, -INF):
        x = np.eye(3, dtype=dtype)[[0, 1, 2, 0]]
        x[1, 2] = poison  # the logits of this row: with NaN
        for label in range(3):
            run = module.evaluate_softmax_regression(x, [0, label, 2, 1], weight, bias)
            assert run.correct == 2
            assert np.isnan(run.loss)
            assert run.rows == 4


@both
@dtypes
def test_no_rows(module: ModuleType, dtype: Any) -> None:
    x, labels = np.zeros((0, 3), dtype), np.zeros(0, np.int64)
    assert module.softmax(x).shape == (0, 3)
    assert module.log_softmax(x).shape == (0, 3)
    assert module.logsumexp(x).shape == (0,)
    assert module.logsumexp(x, keepdims=True).shape == (0, 1)
    assert module.softmax(np.zeros((2, 0, 3), dtype)).shape == (2, 0, 3)
    for with_gradient in (False, True):
        losses = {}
        for reduction in REDUCTIONS:
            if with_gradient:
                losses[reduction], gradient = module.cross_entropy_with_grad(
                    x, labels, reduction=reduction
                )
                assert gradient.shape == (0, 3)
            else:
                losses[reduction] = module.cross_entropy(x, labels, reduction=reduction)
        assert np.isnan(losses["mean"])
        assert losses["sum"] == 0
        assert losses["none"].shape == (0,)
        assert all(loss.dtype == dtype for loss in losses.values())
    assert module.linear(x, np.ones((2, 3), dtype)).shape == (0, 2)
    weight, bias = np.ones((2, 3), dtype), np.ones(2, dtype)
    assert module.evaluate_softmax_regression(x, labels, weight, bias)[:3] == (0.0, 0, 0)
    run = module.train_softmax_regression(x, labels, labels, weight, bias, batch_size=2, lr=0.1)
    assert run == (0.0, 0, 0, 0)
    assert (weight == 1).all()


@both
@dtypes
def test_no_classes(module: ModuleType, dtype: Any) -> None:
    for rows in (0, 3):
        x = np.zeros((rows, 0), dtype)
        for function in (module.softmax, module.log_softmax, module.logsumexp):
            with pytest.raises(ValueError, match="logits"):
                function(x)
            with pytest.raises(ValueError, match="logits"):
                function(np.zeros((0, rows + 1), dtype), 0)
        for function in (module.cross_entropy, module.cross_entropy_with_grad):
            with pytest.raises(ValueError, match="logits"):
                function(x, np.zeros(rows, int))
        with pytest.raises(ValueError, match="weight"):
            module.linear(np.zeros((rows, 4), dtype), np.zeros((0, 4), dtype))


@both
@dtypes
def test_label_out_of_range(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    """IndexError with the first row and its value, before anything is written."""
    cases = [
        (np.int64, -1), (np.int64, 7), (np.int64, -(2**62)), (np.int64, 2**40), (np.int8, -100),
        (np.uint8, 255), (np.uint8, 156), (np.uint64, 2**64 - 1), (np.uint64, 2**64 - 100),
        (np.int32, -(2**31)), (np.uint16, 7),
    ]  # fmt: skip
    for label_dtype, value in cases:
        x = random_logits(rng, (40, 7), dtype)
        labels = random_labels(rng, 40, 7).astype(label_dtype)
        labels[[23, 31]] = value
        ignored = -1 if value == -100 else -100
        for reduction in REDUCTIONS:
            given = {"reduction": reduction, "ignore_index": ignored}
            out = np.full((40, 7), 5, dtype)
            with pytest.raises(IndexError) as caught:
                module.cross_entropy_with_grad(x, labels, **given, out=out)
            assert (out == 5).all()
            for part in ("target", "23", str(value)):
                assert part in str(caught.value), f"{part} not in {caught.value}"
            with pytest.raises(IndexError, match="23"):
                module.cross_entropy(x, labels, **given)
            before = x.copy()
            with pytest.raises(IndexError, match="23"):
                module.cross_entropy_with_grad(x, labels, **given, out=x)
            assert (x == before).all()


@both
@dtypes
def test_every_row_ignored(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (6, 4), dtype)
    x[1] = NAN
    for ignored in (-100, 2):
        labels = np.full(6, ignored)
        for reduction in REDUCTIONS:
            given = {"reduction": reduction, "ignore_index": ignored}
            loss, gradient = module.cross_entropy_with_grad(x, labels, **given)
            alone = module.cross_entropy(x, labels, **given)
            np.testing.assert_array_equal(loss, alone)
            if reduction == "mean":
                assert np.isnan(loss)
            else:
                assert not np.any(loss)
            assert not gradient.any()


@both
@dtypes
def test_ignored_rows(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    """Loss 0 and gradient exactly 0, even if the logits are NaN; the mean does not count them."""
    x = random_logits(rng, (6, 4), dtype)
    labels = random_labels(rng, 6, 4)
    labels[[1, 4]] = -100
    x[1], x[4, 2] = NAN, INF
    keep = labels != -100
    losses, gradient = module.cross_entropy_with_grad(x, labels, reduction="none")
    assert not losses[~keep].any()
    assert not gradient[~keep].any()
    assert np.isfinite(losses).all()
    mean = module.cross_entropy(x, labels)
    # A mean of four numbers: three additions and a division.
    np.testing.assert_allclose(mean, losses[keep].mean(), rtol=4 * np.finfo(dtype).eps)
    _, scaled = module.cross_entropy_with_grad(x, labels)
    np.testing.assert_allclose(scaled, gradient / 4, rtol=2 * np.finfo(dtype).eps)


@both
@dtypes
def test_default_axis_is_the_last(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (3, 4, 5), dtype)
    for function in (module.softmax, module.log_softmax, module.logsumexp):
        assert (function(x) == function(x, -1)).all()
        assert (function(x) == function(x, 2)).all()


@both
@dtypes
def test_large_margins(module: ModuleType, dtype: Any) -> None:
    """At a margin of 20 the loss of two classes is 2.06e-9, in float32 too."""
    x = np.array([[20, 0]], dtype)
    loss, gradient = module.cross_entropy_with_grad(x, [0])
    exact, probability = 2.061153620314381e-09, 2.0611536181902037e-09
    # (8 + D / 2) eps with D = 20.
    assert abs(loss / exact - 1) <= 18 * np.finfo(dtype).eps
    assert gradient[0, 0] == -gradient[0, 1]
    assert abs(gradient[0, 1] / probability - 1) <= 24 * np.finfo(dtype).eps
    assert abs(-module.log_softmax(x)[0, 0] / exact - 1) <= 18 * np.finfo(dtype).eps


@both
def test_unknown_reduction(module: ModuleType) -> None:
    for reduction in ("average", "", None, 3):
        for function in (module.cross_entropy, module.cross_entropy_with_grad):
            with pytest.raises((ValueError, TypeError), match="reduction"):
                function(np.zeros((2, 3)), [0, 1], reduction=reduction)
        for function in (module.mse_loss, module.mse_loss_with_grad):
            with pytest.raises((ValueError, TypeError), match="reduction"):
                function(np.zeros(3), np.zeros(3), reduction=reduction)
