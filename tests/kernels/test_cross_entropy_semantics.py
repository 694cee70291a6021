"""The decided semantics of cross_entropy's options, and what they refuse, on every level.

Kernels and reference decide alike.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_cases import (
    DTYPES,
    FEW_SIZES,
    assert_close,
    eps,
    random_labels,
    random_logits,
    same_bytes,
    tiny,
)

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

NAN, INF = np.nan, np.inf

dtypes = pytest.mark.parametrize("dtype", DTYPES)
both = pytest.mark.parametrize("module", [kernels, reference], ids=["kernels", "reference"])


@both
@dtypes
def test_mean_divides_by_the_weights_that_count(module: ModuleType, dtype: Any) -> None:
    x = np.zeros((4, 2), dtype)  # every row's loss is log(2) times its weight
    w, s = np.array([1, 3], dtype), np.array([1, 2, 4, 8], dtype)
    for options, labels in (
        ({"class_weight": w}, [0, 1, 1, 0]),
        ({"sample_weight": s}, [0, 1, 1, 0]),
        ({"class_weight": w, "sample_weight": s}, [0, 1, -100, 0]),
    ):
        loss, gradient = module.cross_entropy_with_grad(x, labels, **options)
        assert abs(loss / np.log(2) - 1) < 8 * eps(dtype)
        counted = np.array(labels) >= 0
        r = options.get("class_weight", np.ones(2))[np.where(counted, labels, 0)] * counted
        r = r * options.get("sample_weight", 1)
        np.testing.assert_allclose(np.abs(gradient[:, 0]), r / r.sum() / 2, rtol=4 * eps(dtype))
    half = np.full((4, 2), 0.5, dtype)
    # Distributions: by N, whatever the class weights; with sample weights by their sum.
    assert abs(module.cross_entropy(x, half, class_weight=w) / (2 * np.log(2)) - 1) < 8 * eps(dtype)
    assert abs(module.cross_entropy(x, half, sample_weight=s) / np.log(2) - 1) < 8 * eps(dtype)


@both
@dtypes
def test_label_smoothing_with_class_weights_is_pytorchs(module: ModuleType, dtype: Any) -> None:
    """(1 - e) w_t nll_t + e / C sum_c w_c nll_c, the sum of rows divided by that of w_t."""
    x = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]])).astype(dtype)
    w = np.array([1, 2, 4], dtype)
    nll = -x.astype(float)
    rows = [0.7 * w[t] * nll[i, t] + 0.1 * (w * nll[i]).sum() for i, t in enumerate((2, 0))]
    got = module.cross_entropy(x, [2, 0], class_weight=w, label_smoothing=0.3)
    np.testing.assert_allclose(got, sum(rows) / 5, rtol=32 * eps(dtype))


@both
@dtypes
def test_no_mass_on_minus_infinity_contributes_nothing(
    module: ModuleType, dtype: Any, rng: np.random.Generator
) -> None:
    for classes in FEW_SIZES[1:]:
        x = random_logits(rng, (5, classes), dtype)
        p = rng.random((5, classes)).astype(dtype) + dtype(0.1)
        column = int(rng.integers(classes))
        x[:, column], p[:, column] = -INF, 0
        p /= p.sum(1, keepdims=True)
        rest = np.arange(classes) != column
        loss, gradient = module.cross_entropy_with_grad(x, p, reduction="none")
        wanted, others = module.cross_entropy_with_grad(
            np.ascontiguousarray(x[:, rest]), np.ascontiguousarray(p[:, rest]), reduction="none"
        )
        # Two evaluations of the loss's bound at distance 60.
        np.testing.assert_allclose(loss, wanted, rtol=128 * eps(dtype))
        np.testing.assert_allclose(gradient[:, rest], others, atol=128 * eps(dtype))
        assert not gradient[:, column].any()
        # With mass there, the loss is infinite and the gradient is not.
        w = np.ones(classes, dtype)
        for options, finite in (({}, False), ({"class_weight": w * rest}, True)):
            loss, gradient = module.cross_entropy_with_grad(
                x, p, reduction="none", label_smoothing=0.5, **options
            )
            assert (np.isfinite(loss) if finite else loss == INF).all()
            assert np.isfinite(gradient).all()


@both
@dtypes
def test_rows_of_weight_zero(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    """Loss and gradient 0, even for a target at -inf, but NaN stays NaN."""
    for classes in FEW_SIZES[1:]:
        x = random_logits(rng, (6, classes), dtype)
        x[1, 0], x[2, -1], x[3] = -INF, NAN, -INF
        for target in (np.zeros(6, int), np.full((6, classes), 1 / classes, dtype)):
            s = np.array([0, 0, 0, 0, 2, 0], dtype)
            loss, gradient = module.cross_entropy_with_grad(
                x, target, sample_weight=s, reduction="none"
            )
            assert not loss[[0, 1, 5]].any()
            assert not gradient[[0, 1, 5]].any()
            assert np.isnan(loss[[2, 3]]).all()
            assert np.isnan(gradient[[2, 3]]).all()
            assert loss[4] > 0
        finite = x[[0, 1, 5]]
        for options in ({"sample_weight": [0.0] * 3}, {"class_weight": [0.0] * classes}):
            loss, gradient = module.cross_entropy_with_grad(finite, [0] * 3, **options)
            assert np.isnan(loss)  # a mean over no weight
            assert not gradient.any()
            assert module.cross_entropy(finite, [0] * 3, reduction="sum", **options) == 0


@both
@dtypes
def test_ignored_rows_with_options(
    module: ModuleType, dtype: Any, rng: np.random.Generator
) -> None:
    for classes in FEW_SIZES[1:]:
        x = random_logits(rng, (6, classes), dtype)
        labels = random_labels(rng, 6, classes)
        labels[[1, 4]] = -100
        given: dict[str, Any] = {
            "class_weight": np.linspace(1, 2, classes).astype(dtype),
            "sample_weight": np.arange(1, 7).astype(dtype),
            "label_smoothing": 0.25,
            "byproducts": ("row_loss", "logsumexp", "predicted", "correct"),
        }
        keep = labels != -100
        clean = module.cross_entropy_with_grad(x, labels, **given)
        x[1], x[4, 0] = NAN, INF
        loss, gradient, found = module.cross_entropy_with_grad(x, labels, **given)
        assert same_bytes((loss, gradient, found.row_loss), (*clean[:2], clean[2].row_loss))
        assert not gradient[~keep].any()
        assert not found.row_loss[~keep].any()
        # What is known of the logits alone is told of every row.
        assert np.isnan(found.logsumexp[1])
        assert found.logsumexp[4] == INF
        assert found.predicted[1] == -1
        assert found.predicted[4] == 0
        assert found.correct == clean[2].correct == (x.argmax(1) == labels)[keep].sum()
        one = {**given, "sample_weight": given["sample_weight"][keep]}
        alone = module.cross_entropy_with_grad(x[keep], labels[keep], **one)
        np.testing.assert_allclose(loss, alone[0], rtol=8 * eps(dtype))
        everywhere = module.cross_entropy_with_grad(x, np.full(6, -100), **given)
        assert np.isnan(everywhere[0])
        assert not everywhere[1].any()
        assert everywhere[2].correct == 0


@both
@dtypes
def test_predictions(module: ModuleType, dtype: Any) -> None:
    """The first of equals, -1 with NaN, which is never correct; in lanes and along the row."""
    for classes in (4, 130, 3000):
        x = np.zeros((5, classes), dtype)
        x[1, [2, 3]], x[2, -1], x[3, -1] = 5, NAN, INF
        for labels in ([0, 2, 0, classes - 1, 1], np.eye(classes)[[0, 2, 0, classes - 1, 1]]):
            _, found = module.cross_entropy(x, labels, byproducts=("predicted", "correct"))
            assert found.predicted.tolist() == [0, 2, -1, classes - 1, 0]
            assert found.correct == 3
        x[2] = NAN
        x[4] = -INF
        _, found = module.cross_entropy(x, [0] * 5, byproducts=("predicted", "correct"))
        assert found.predicted.tolist() == [0, 2, -1, classes - 1, 0]
        assert found.correct == 2
        # A distribution's class is its first maximum.
        half = np.zeros((5, classes), dtype)
        half[:, [1, 2]] = 0.5
        assert module.cross_entropy(x, half, byproducts="correct")[1].correct == 0


@both
@dtypes
def test_row_of_minus_infinity_or_with_plus_infinity(module: ModuleType, dtype: Any) -> None:
    for classes in FEW_SIZES[1:]:
        x = np.zeros((4, classes), dtype)
        x[1], x[2, 0] = -INF, INF
        p = np.full((4, classes), 1 / classes, dtype)
        for target, smoothing in ((p, 0.0), ([0] * 4, 0.5)):
            loss, gradient, found = module.cross_entropy_with_grad(
                x, target, label_smoothing=smoothing, reduction="none", byproducts="logsumexp"
            )
            assert np.isnan(loss[[1, 2]]).all()
            assert np.isnan(gradient[[1, 2]]).all()
            assert np.isfinite(loss[[0, 3]]).all()
            assert found.logsumexp[1] == -INF
            assert found.logsumexp[2] == INF


@both
@dtypes
def test_what_is_no_distribution(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    """ValueError with the row, before anything is written; sqrt(eps) off 1 is still one."""
    tolerance = float(np.sqrt(np.finfo(dtype).eps))
    for classes in (*FEW_SIZES, 1000):
        x = random_logits(rng, (40, classes), dtype)
        good = np.full((40, classes), 1 / classes, dtype)
        good[3] *= dtype(1 + tolerance / 2)
        module.cross_entropy(x, good)
        column = int(rng.integers(classes))
        bad = {"sum": 2 * good[23], "short": good[23] * dtype(1 - 4 * tolerance)}
        for value in (-0.5, NAN, INF):
            bad[str(value)] = good[23].copy()
            bad[str(value)][column] = value
        if classes > 1:
            bad["negative, sum 1"] = good[23].copy()
            bad["negative, sum 1"][:2] += np.array([-2, 2], dtype)
        for what, row in bad.items():
            p = good.copy()
            p[[23, 31]] = row
            out = np.full((40, classes), 5, dtype)
            with pytest.raises(ValueError, match="23"):
                pytest.fail(f"{what} was accepted: {module.cross_entropy_with_grad(x, p, out=out)}")
            assert (out == 5).all(), what
            with pytest.raises(ValueError, match="target"):
                module.cross_entropy(x, p)


@both
@dtypes
def test_bad_options(module: ModuleType, dtype: Any, rng: np.random.Generator) -> None:
    x, labels = random_logits(rng, (4, 3), dtype), [0, 1, 2, 0]
    cases: list[tuple[type[Exception], str, Any]] = [
        (ValueError, "label_smoothing", -0.1), (ValueError, "label_smoothing", 1.1),
        (ValueError, "label_smoothing", NAN), (TypeError, "label_smoothing", None),
        (ValueError, "byproducts", ["losses"]),
    ]  # fmt: skip
    for name, count in (("class_weight", 3), ("sample_weight", 4)):
        for value in (-1, NAN, INF):
            weights = np.ones(count, dtype)
            weights[-1] = value
            cases.append((ValueError, name, weights))
        cases += [
            (ValueError, name, np.ones(count + 1, dtype)), (ValueError, name, np.ones((count, 1))),
            (ValueError, name, 1.0), (TypeError, name, np.ones(count, complex)),
            (TypeError, name, np.ones(count, bool)), (TypeError, name, ["a"] * count),
        ]  # fmt: skip
    for error, name, value in cases:
        out = np.full((4, 3), 5, dtype)
        with pytest.raises((error, TypeError), match=name):
            module.cross_entropy_with_grad(x, labels, **{name: value}, out=out)
        assert (out == 5).all()
        with pytest.raises((error, TypeError), match=name):
            module.cross_entropy(x, labels, **{name: value})
    for p in (np.ones((4, 3), bool), np.ones((4, 3), complex), np.full((4, 3), "a")):
        with pytest.raises(TypeError, match="target"):
            module.cross_entropy(x, p)
    for shape in ((4, 2), (3, 3), (4, 1), (4, 3, 1)):
        with pytest.raises((ValueError, TypeError), match="target"):
            module.cross_entropy(x, np.ones(shape, dtype))


@dtypes
def test_outputs_apart_from_every_input(dtype: Any) -> None:
    """`out` may be the logits, and nothing else that is read."""
    memory = np.full(64, 0.25, dtype)
    x = np.zeros((4, 4), dtype)
    target, weight = memory[:16].reshape(4, 4), memory[16:20]
    for start in (0, 1, 15):
        out = memory[start : start + 16].reshape(4, 4)
        with pytest.raises(ValueError, match="out"):
            kernels.cross_entropy_with_grad(x, target, out=out)
    for name in ("class_weight", "sample_weight"):
        out = memory[18:34].reshape(4, 4)
        for given in (weight, memory[12:20][::2]):  # the second one is copied
            with pytest.raises(ValueError, match="out"):
                kernels.cross_entropy_with_grad(x, [0] * 4, **{name: given}, out=out)
            with pytest.raises(ValueError, match="out"):
                kernels.cross_entropy(
                    x, [0] * 4, **{name: given}, out=memory[17:21], reduction="none"
                )
    assert (memory == 0.25).all()


@both
@dtypes
def test_no_rows(module: ModuleType, dtype: Any) -> None:
    x = np.zeros((0, 3), dtype)
    given: dict[str, Any] = {
        "class_weight": np.ones(3),
        "sample_weight": np.ones(0),
        "byproducts": ("row_loss", "logsumexp", "predicted", "correct"),
    }
    for target in (np.zeros(0, int), np.zeros((0, 3), dtype)):
        loss, gradient, found = module.cross_entropy_with_grad(x, target, **given)
        assert np.isnan(loss)
        assert gradient.shape == (0, 3)
        assert found.row_loss.shape == found.logsumexp.shape == found.predicted.shape == (0,)
        assert found.correct == 0
        assert module.cross_entropy(x, target, reduction="sum", **given)[0] == 0


@dtypes
def test_weights_whose_sum_is_no_number_of_the_dtype(dtype: Any, rng: np.random.Generator) -> None:
    """The gradient of a mean does not see how large the weights are."""
    # Of 60 rows; the weighted losses are numbers of the dtype, and in float64 the sum is one.
    weight = float(np.finfo(dtype).max) / 50 if dtype is np.float32 else 2.0**1000
    for classes in (*FEW_SIZES, 300):
        x, labels = random_logits(rng, (60, classes), dtype), rng.integers(0, classes, 60)
        spread = np.full((60, classes), 1 / classes)
        for target in (labels, spread):
            wanted = kernels.cross_entropy_with_grad(x, target)
            got = kernels.cross_entropy_with_grad(
                x, target, sample_weight=np.full(60, weight, dtype)
            )
            # Weights and their sum are rounded, and divided: 4 halves of an eps.
            assert_close(got[1], wanted[1], 2 * eps(dtype) * np.abs(wanted[1]) + tiny(dtype))
            assert abs(got[0] - wanted[0]) <= 2 * eps(dtype) * wanted[0]


@both
def test_distributions_of_fewer_digits_than_the_logits(module: ModuleType) -> None:
    """The sum of a third, three times, is 1 to within the eps of its own dtype."""
    x = np.zeros((1, 3))
    for given in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
        third = np.full((1, 3), 1 / 3).astype(given)
        assert abs(module.cross_entropy(x, third) - np.log(3)) < 0.01
        with pytest.raises(ValueError, match="target"):
            module.cross_entropy(x, third * given(1.25))


@both
@dtypes
def test_rows_of_weight_zero_without_a_softmax(module: ModuleType, dtype: Any) -> None:
    """As the docstring says: +inf, or nothing but -inf."""
    for classes in (2, 20, 300):
        x = np.zeros((3, classes), dtype)
        x[0, 0], x[1] = INF, -INF
        loss, gradient = module.cross_entropy_with_grad(
            x, [1, 1, 1], sample_weight=[0, 0, 1], reduction="none"
        )
        assert np.isnan(loss[:2]).all()
        assert np.isnan(gradient[:2]).all()
        assert np.isfinite(gradient[2]).all()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"class_weight": [-1e-9, 1]}, ValueError, r"class_weight\[0\] is -1e-09"),
        ({"class_weight": [1, np.inf]}, ValueError, r"class_weight\[1\] is inf"),
        ({"label_smoothing": 1.0000001}, ValueError, "label_smoothing is 1.0000001"),
        ({"target": [[-1e-9, 1]]}, ValueError, r"target\[0\]\[0\] is -1e-09"),
        ({"target": np.array([2**64 - 1], np.uint64)}, IndexError,
         r"target\[0\] is 18446744073709551615; accepted: 0 to 1"),
        ({"target": np.array([2**63], np.uint64), "ignore_index": 2**63 - 1}, IndexError,
         r"target\[0\] is 9223372036854775808; accepted: a class, or ignore_index"),
        ({"ignore_index": 2**63}, ValueError, "ignore_index is 9223372036854775808"),
        ({"byproducts": 3}, TypeError, "byproducts is 3"),
        ({"byproducts": [np.zeros(2)]}, ValueError, r"byproducts has array\(\[0., 0.\]\)"),
    ],
)  # fmt: skip
def test_what_came_is_named(options: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        kernels.cross_entropy(np.zeros((1, 2)), **{"target": [0], **options})


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"class_weight": [1, 1e39]}, r"class_weight\[1\]"),
        ({"sample_weight": np.array([1e39])}, r"sample_weight\[0\]"),
        ({"target": [[0, 1e39]]}, r"target\[0\]\[1\]"),
        ({"class_weight": np.array([np.longdouble("1e39"), 1])}, r"class_weight\[0\]"),
    ],
)
def test_what_float32_cannot_hold_is_named(options: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=place + r" is 1e\+39; .* finite in float32"):
        kernels.cross_entropy(np.zeros((1, 2), np.float32), **{"target": [0], **options})


def test_what_float32_cannot_hold_is_named_elsewhere() -> None:
    x = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match=r"bias\[0\] is 1e\+39; .* finite in float32"):
        kernels.linear(x, x, [1e39])
    with pytest.raises(ValueError, match=r"scale is 1e\+39; .* finite in float32"):
        kernels.gather_rows(x, [0], scale=1e39)
    with pytest.raises(ValueError, match=r"shift\[1\] is -1e\+39; .* finite in float32"):
        kernels.gather_rows(x, [0], shift=[0, -1e39])


def test_the_largest_label_may_be_ignored() -> None:
    target = np.array([0, 2**63 - 1], np.uint64)
    loss = kernels.cross_entropy(np.zeros((2, 2)), target, ignore_index=2**63 - 1, reduction="none")
    assert loss.tolist() == [np.log(2), 0]


def test_the_first_bad_label_is_named() -> None:
    with pytest.raises(IndexError, match=r"target\[0\] is 5"):
        kernels.cross_entropy(np.zeros((2, 2)), np.array([5, 2**64 - 1], np.uint64))
