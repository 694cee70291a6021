"""binary_cross_entropy_with_logits, and the weights of both element losses, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, SIZES, LongDouble, assert_close, eps, same_bytes, sum_bound, tiny

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

SHAPES = (*((n,) for n in SIZES[::4]), (3, 5), (18, 64), (2, 3, 4), (600, 33), (), (16_385,))
# How weights broadcast to (N, C): every kind that is read in place, and one that is not.
WEIGHT_SHAPES: dict[str, tuple[int, ...]] = {
    "number": (), "one": (1, 1), "classes": (7,), "rows": (1201, 1), "all": (1201, 7),
    "one row": (1, 7),
}  # fmt: skip


def exact(x: Any, t: Any, weight: Any = 1.0, pos_weight: Any = 1.0) -> tuple[Any, Any]:
    """Losses and slopes in extended precision."""
    x, t = x.astype(LongDouble), t.astype(LongDouble)
    with np.errstate(over="ignore"):
        e = np.exp(-np.abs(x))
    yes, no = t * pos_weight, 1 - t
    loss = yes * (np.maximum(-x, 0) + np.log1p(e)) + no * (np.maximum(x, 0) + np.log1p(e))
    sigmoid, rest = np.where(x < 0, e, 1) / (1 + e), np.where(x < 0, 1, e) / (1 + e)
    # Beside the slope what it is the difference of, for the bound.
    return weight * loss, (
        weight * (no * sigmoid - yes * rest),
        weight * (no * sigmoid + yes * rest),
    )


def check_all(x: Any, t: Any, weight: Any = None, pos_weight: Any = None, **options: Any) -> None:
    dtype, size = x.dtype, max(x.size, 1)
    wide = [1.0 if w is None else np.asarray(w).astype(LongDouble) for w in (weight, pos_weight)]
    losses, (slopes, magnitude) = exact(x, t, *wide)
    # exp: 2 ulp, log1p: 3; a sum of positive terms, three products: 12 eps in all. exp(-|x|) is
    # also wrong by |x| eps where x itself is rounded, but it is not.
    bound = 12 * eps(dtype) * np.abs(losses) + 4 * tiny(dtype)
    slope_bound = 8 * eps(dtype) * magnitude + 4 * tiny(dtype)
    total_bound = bound.sum() + sum_bound(size, dtype) * np.abs(losses).sum()
    given = {"weight": weight, "pos_weight": pos_weight, **options}
    for reduction, loss, allowed, divisor in (
        ("none", losses, bound, 1),
        ("sum", losses.sum(), total_bound, 1),
        ("mean", losses.sum() / size, total_bound / size + tiny(dtype), size),
    ):
        what = f"{reduction}, {x.shape}"
        alone = kernels.binary_cross_entropy_with_logits(x, t, reduction=reduction, **given)
        both, slope = kernels.binary_cross_entropy_with_logits_with_grad(
            x, t, reduction=reduction, **given
        )
        assert same_bytes(alone, both), what
        assert both.dtype == slope.dtype == dtype
        assert_close(both, loss, allowed, f"loss, {what}")
        assert_close(slope, slopes / divisor, slope_bound / divisor + tiny(dtype), what)


def check_squared_errors(x: Any, t: Any, weight: Any) -> None:
    """The mean, which divides by the weights of all elements."""
    wide = np.broadcast_to(weight, x.shape).astype(LongDouble)
    difference, total = x.astype(LongDouble) - t, wide.sum()
    losses, slopes = wide * difference**2, 2 * wide * difference
    # A loss: the difference, which counts twice, the square and the weight. A slope: the
    # difference, the weight, the total's reciprocal and the product with it. Half an eps each. The
    # sums of losses and of weights come to that.
    weights_bound = sum_bound(x.size, np.float64)
    loss_bound = 2.1 * eps(x.dtype) + sum_bound(x.size, x.dtype) + weights_bound
    slope_bound = 2.1 * eps(x.dtype) + weights_bound
    loss, slope = kernels.mse_loss_with_grad(x, t, weight=weight)
    assert_close(loss, losses.sum() / total, loss_bound * losses.sum() / total)
    assert_close(slope, slopes / total, slope_bound * np.abs(slopes) / total)


def targets(rng: np.random.Generator, shape: Any, dtype: Any) -> Any:
    """Half of them 0 or 1, the others between."""
    t = np.asarray(rng.uniform(-0.5, 1.5, shape))
    return np.asarray(np.clip(t, 0, 1)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(dtype: Any, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        x = np.asarray(rng.normal(0, 5, shape)).astype(dtype)
        check_all(x, targets(rng, shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_from_zero(dtype: Any) -> None:
    """Small losses keep their digits, up to where they underflow; large ones are exact."""
    largest = 80 if dtype == np.float32 else 700
    x = np.concatenate([np.linspace(-largest, largest, 1001), [0.0, -0.0]]).astype(dtype)
    for t in (np.zeros_like(x), np.ones_like(x)):
        check_all(x, t)
        losses = kernels.binary_cross_entropy_with_logits(x, t, reduction="none")
        assert (losses > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", WEIGHT_SHAPES)
def test_weights(kind: str, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(0, 4, (1201, 7)).astype(dtype)
    t = targets(rng, x.shape, dtype)
    weight = np.asarray(rng.uniform(0, 3, WEIGHT_SHAPES[kind])).astype(dtype)
    for other in WEIGHT_SHAPES:
        positive = np.asarray(rng.uniform(0.1, 5, WEIGHT_SHAPES[other])).astype(dtype)
        check_all(x, t, weight, positive)
    check_all(x, t, weight)
    check_all(x, t, None, weight)
    # The squared error has the same weights; they are those of the whole array, to the bit.
    whole = np.broadcast_to(weight, x.shape).copy()
    for reduction in ("none", "sum"):
        assert same_bytes(
            kernels.mse_loss_with_grad(x, t, weight=weight, reduction=reduction),
            kernels.mse_loss_with_grad(x, t, weight=whole, reduction=reduction),
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_more_axes(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(0, 4, (5, 4, 1, 6)).astype(dtype)
    t = targets(rng, x.shape, dtype)
    for shape in ((5, 1, 1, 1), (4, 1, 1), (4, 1, 6), (5, 4, 1, 1), (5, 1, 1, 6), (5, 4, 1, 6)):
        weight = rng.uniform(0.5, 2, shape).astype(dtype)
        check_all(x, t, weight, weight)
        check_squared_errors(x, t, weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch(dtype: Any, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", exc_type=ImportError)
    functional = torch.nn.functional

    def tensor(array: Any) -> Any:
        return None if array is None else torch.tensor(np.asarray(array, np.float64))

    for _ in range(60):
        shape = tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 4)))
        x = (rng.normal(0, 1, shape) * rng.choice([0.1, 1, 10])).astype(dtype)
        t = targets(rng, shape, dtype)
        reduction = str(rng.choice(["mean", "sum", "none"]))
        some = [None, shape[-1:], (*shape[:-1], 1), shape, ()]
        given = [some[rng.integers(len(some))] for _ in range(2)]
        weight, positive = (
            None if s is None else np.asarray(rng.uniform(0.2, 3, s)).astype(dtype) for s in given
        )
        wide = tensor(x).requires_grad_()
        loss = functional.binary_cross_entropy_with_logits(
            wide, tensor(t), weight=tensor(weight), pos_weight=tensor(positive), reduction=reduction
        )
        loss.sum().backward()
        got, slope = kernels.binary_cross_entropy_with_logits_with_grad(
            x, t, weight=weight, pos_weight=positive, reduction=reduction
        )
        # Beside ours PyTorch's own cancellation in float64.
        scale = 15 * (1 + np.abs(x).max())
        bound = (40 * eps(dtype)) * np.abs(loss.detach().numpy()) + scale * x.size * eps(float)
        assert_close(got, loss.detach().numpy(), bound, f"{reduction}, {shape}, {given}")
        assert_close(slope, wide.grad.numpy(), 8 * eps(dtype) * 15 + scale * eps(float), "slope")

        full = np.asarray(rng.uniform(0.2, 3, shape)).astype(dtype)
        wide = tensor(x).requires_grad_()
        loss = functional.mse_loss(wide, tensor(t), reduction=reduction, weight=tensor(full))
        loss.sum().backward()
        got, slope = kernels.mse_loss_with_grad(x, t, weight=full, reduction=reduction)
        bound = (5 * eps(dtype) + 2 * sum_bound(x.size, dtype)) * np.abs(loss.detach().numpy())
        assert_close(got, loss.detach().numpy(), bound, f"squared error, {reduction}, {shape}")
        wanted = wide.grad.numpy()
        bound = (8 * eps(dtype) + sum_bound(x.size, dtype)) * np.abs(wanted) + tiny(dtype)
        assert_close(slope, wanted, bound, "slope of the squared error")


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_out_and_in_place(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(0, 3, (20_011, 5)).astype(dtype)
    t, weight = targets(rng, x.shape, dtype), rng.uniform(0, 2, (20_011, 1)).astype(dtype)
    for alone, both in (
        (
            kernels.binary_cross_entropy_with_logits,
            kernels.binary_cross_entropy_with_logits_with_grad,
        ),
        (kernels.mse_loss, kernels.mse_loss_with_grad),
    ):
        for reduction in ("mean", "sum", "none"):
            given = {"weight": weight, "reduction": reduction}
            wanted = both(x, t, **given, threads=1)
            for threads in (2, 3):
                assert same_bytes(both(x, t, **given, threads=threads), wanted)
            out = x.copy()
            got = both(out, t, **given, out=out)
            assert got[1] is out
            assert same_bytes(got, wanted)
        out = x.copy()
        assert alone(out, t, weight=weight, reduction="none", out=out) is out
        assert same_bytes(out, wanted[0])
        with pytest.raises(ValueError, match="out is given"):
            alone(x, t, out=out)
        for bad in (t, weight[:1]):
            with pytest.raises(ValueError, match="out"):
                both(x, t, weight=weight, out=bad)


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_semantics(module: Any, dtype: Any) -> None:
    """Infinite and missing logits, no elements, weights of zero."""
    inf, nan = np.inf, np.nan
    x = np.array([inf, -inf, inf, -inf, nan, nan, 0.0], dtype)
    t = np.array([1, 0, 0, 1, 0, 1, 0.5], dtype)
    loss, slope = module.binary_cross_entropy_with_logits_with_grad(x, t, reduction="none")
    np.testing.assert_array_equal(loss[:6], np.array([0, 0, inf, inf, nan, nan], dtype))
    np.testing.assert_array_equal(slope, np.array([0, 0, 1, -1, nan, nan, 0], dtype))
    empty = np.zeros((0, 3), dtype)
    for name in ("mse_loss", "binary_cross_entropy_with_logits"):
        function = getattr(module, name)
        assert np.isnan(function(empty, empty))
        assert function(empty, empty, reduction="sum") == 0
        assert function(empty, empty, weight=np.ones(3, dtype), reduction="none").shape == (0, 3)
    loss, slope = module.mse_loss_with_grad(x[6:], t[6:], weight=np.zeros(1, dtype))
    assert np.isnan(loss)
    assert slope.tolist() == [0]


@pytest.mark.parametrize("module", [kernels, reference])
def test_targets(module: Any) -> None:
    function = module.binary_cross_entropy_with_logits_with_grad
    x = np.zeros((3, 5))
    for t in (np.ones((3, 5), bool), np.ones((3, 5), np.uint8), np.ones((3, 5)).tolist()):
        assert (function(x, t)[1] == -0.5 / 15).all()
        assert (function(x.astype(np.float32), t)[1] == np.float32(-0.5 / 15)).all()
    for bad in (-1e-9, 1.0000001, np.nan, np.inf, 2):
        t, out = np.ones((3, 5)), np.full((3, 5), 7.0)
        t[2, 3] = bad
        with pytest.raises(ValueError, match="target"):
            function(x, t, out=out)
        assert (out == 7).all()
    with pytest.raises(ValueError, match=r"target\[2, 3\] is 2\.0; accepted: 0 to 1"):
        kernels.binary_cross_entropy_with_logits(x, t)
    for name, options in (
        ("weight", {"weight": np.ones(4)}),
        ("weight", {"weight": np.ones((1, 3, 5))}),
        ("pos_weight", {"pos_weight": np.ones((5, 3))}),
    ):
        with pytest.raises(ValueError, match=name):
            function(x, np.ones((3, 5)), **options)
    with pytest.raises(TypeError, match="pos_weight"):
        function(x, np.ones((3, 5)), pos_weight=np.ones(5, np.float32))
