"""linear_cross_entropy against the reference, all options; PyTorch; threads; memory."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import fresh_python
import numpy as np
import pytest
from feature_cases import NARROW, affine_bounds, random_features, random_rest
from kernel_cases import (
    DTYPES,
    LABEL_DTYPES,
    Array,
    assert_close,
    eps,
    linear_bound,
    random_labels,
    same_bytes,
    sum_bound,
    tiny,
)

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

GRADIENTS = ("dx", "dweight", "dbias")
# few outputs, few rows, and large
SHAPES = ((1, 1, 1), (5, 17, 3), (70, 31, 10), (3, 20, 70), (33, 9, 50), (130, 40, 129))


class Problem:
    """A layer with targets; its float64 results and how far the kernel's may be from them."""

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int, int],
        dtype: Any,
        *,
        features: str | None = None,
        distribution: bool = False,
        affine: bool = False,
    ) -> None:
        n, k, c = shape
        self.dtype = np.dtype(dtype)
        self.x = random_features(rng, (n, k), features or self.dtype.name)
        self.options: dict[str, Any] = {}
        if features in ("uint8", "int8") or affine:
            self.options = {"scale": rng.uniform(0.002, 0.02, k), "shift": -0.5}
        self.weight, self.bias, _ = random_rest(rng, n, k, c, dtype)
        self.target: Array = random_labels(rng, n, c)
        if distribution:
            # 64ths, whose sum is exactly 1 in every dtype
            self.target = (rng.multinomial(64, np.full(c, 1 / c), n) / 64).astype(dtype)

    def run(self, module: Any, **options: Any) -> tuple[Any, Any, Any, Any]:
        weight, bias, x = self.weight, self.bias, self.x
        if module is reference:
            weight, bias = weight.astype(np.float64), bias.astype(np.float64)
            x = x.astype(np.float64)
        if options.pop("no_bias", False):
            bias = None
        result: tuple[Any, Any, Any, Any] = module.linear_cross_entropy_with_grad(
            x, weight, bias, self.target, **self.options, **options
        )
        return result

    def check(self, **options: Any) -> None:
        """The kernel's results against the reference's in float64, each within its bound."""
        exact = self.run(reference, **options)
        got = self.run(kernels, **options)
        what = f"{self.x.dtype} {self.x.shape} x {self.weight.shape}, {self.dtype}, {options}"
        for name, one, wanted, bound in zip(
            ("loss", *GRADIENTS), got, exact, self.bounds(exact[0], **options), strict=True
        ):
            if name in ("loss", *options.get("wanted", GRADIENTS)):
                assert one.dtype == self.dtype, f"{name}, {what}"
                assert_close(one, np.asarray(wanted), bound, f"{name}, {what}")
            else:
                assert one is None, f"{name}, {what}"

    def bounds(self, loss: Any, **options: Any) -> tuple[Any, ...]:
        """How far loss, dx, dweight and dbias may be off.

        A logit is off by its bound as `linear` gives it, d at most in a row, so that a row's loss
        is off by 2 d of its mass, a probability by 2 d of itself. To this come the kernels' own
        bounds, (8 + D / 2 + 24) eps (test_cross_entropy_options.py), D at most twice the largest
        logit. The gradients are sums of dlogits with the bounds of sums in any order.
        """
        n, c = len(self.x), len(self.weight)
        unit, affine = eps(self.dtype), self.options
        bias = np.zeros_like(self.bias) if options.get("no_bias") else self.bias
        rest = (self.weight, bias, np.zeros((n, c), self.dtype))
        off = affine_bounds(self.x, rest, **affine)[0].max(1)
        wide = [array.astype(np.float64) for array in (self.x, self.weight, bias)]
        logits = reference.linear(*wide, **affine)
        own = (32 + 2 * np.abs(logits).max(1)) * unit
        smoothing = options.get("label_smoothing", 0.0)
        p = self.target.astype(np.float64)
        counted = np.ones(n)
        w = np.asarray(options.get("class_weight", np.ones(c)), np.float64)
        s = np.broadcast_to(options.get("sample_weight", 1.0), n).astype(np.float64)
        divisor = s.sum() if "sample_weight" in options else float(n)
        if p.ndim == 1:
            counted = self.target != options.get("ignore_index", -100)
            safe = np.where(counted, self.target, 0)
            p = np.eye(c)[safe]
            divisor = (s * w[safe] * counted).sum()
        if options.get("reduction", "mean") != "mean":
            divisor = 1.0
        factor = s * counted * w.max() / (divisor or np.inf)
        mass = (1 - smoothing) * p + smoothing / c
        softmax = reference.softmax(logits)
        size = factor[:, None] * (softmax + mass)
        error = size * (2 * off + own)[:, None] + tiny(self.dtype)
        distances = (mass * -reference.log_softmax(logits)).sum(1)
        losses: Any = factor * (2 * off + own * distances) + tiny(self.dtype)
        if options.get("reduction", "mean") != "none":
            losses = losses.sum() + sum_bound(n, self.dtype) * np.abs(loss)
        scaled = np.abs(wide[0]) * np.abs(affine.get("scale", 1)) + np.abs(affine.get("shift", 0))
        weight = np.abs(wide[1])
        return (
            losses,
            error @ weight + (c + 2) * unit * (size @ weight) + tiny(self.dtype),
            error.T @ scaled + (n + 6) * unit * (size.T @ scaled) + tiny(self.dtype),
            error.sum(0) + (n + 2) * unit * size.sum(0) + tiny(self.dtype),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_shape(reduction: str, dtype: Any, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        Problem(rng, shape, dtype).check(reduction=reduction)
        Problem(rng, shape, dtype).check(reduction=reduction, no_bias=True)
        Problem(rng, shape, dtype, distribution=True).check(reduction=reduction)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distribution", [False, True], ids=["labels", "distributions"])
def test_every_option(distribution: bool, dtype: Any, rng: np.random.Generator) -> None:
    for n, k, c in ((40, 12, 10), (7, 12, 45), (60, 12, 45)):
        problem = Problem(rng, (n, k, c), dtype, distribution=distribution, affine=True)
        ignored: list[dict[str, Any]] = [{}]
        if not distribution:
            problem.target[::3] = -7
            ignored = [{"ignore_index": -7}]
        samples = rng.uniform(0.1, 2, n).astype(dtype)
        samples[1::4] = 0
        for smoothing, weighted, sampled, reduction in itertools.product(
            (0.0, 0.1, 1.0), (False, True), (False, True), ("mean", "sum", "none")
        ):
            options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
            if weighted:
                options["class_weight"] = rng.uniform(0.1, 3, c).astype(dtype)
            if sampled:
                options["sample_weight"] = samples
            problem.check(**options, **ignored[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", NARROW)
def test_every_feature_type(features: str, dtype: Any, rng: np.random.Generator) -> None:
    for shape in ((40, 30, 10), (9, 30, 40), (50, 30, 40)):
        for affine in (False, True):
            Problem(rng, shape, dtype, features=features, affine=affine).check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_wanted_gradients_only(dtype: Any, rng: np.random.Generator) -> None:
    for shape in ((40, 12, 10), (60, 12, 45)):
        problem = Problem(rng, shape, dtype)
        loss = kernels.linear_cross_entropy(
            problem.x, problem.weight, problem.bias, problem.target, **problem.options
        )
        for count in range(4):
            for wanted in itertools.combinations(GRADIENTS, count):
                problem.check(wanted=wanted)
                assert same_bytes(problem.run(kernels, wanted=wanted)[0], loss)
        assert problem.run(kernels, wanted="dweight")[1::2] == (None, None)


@pytest.mark.parametrize("label", LABEL_DTYPES)
def test_labels_of_every_type(label: Any, rng: np.random.Generator) -> None:
    problem = Problem(rng, (20, 5, 40), np.float32)
    wanted = problem.run(kernels)
    problem.target = problem.target.astype(label)
    assert same_bytes(problem.run(kernels), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_of_several_chunks(dtype: Any, rng: np.random.Generator) -> None:
    """More logits than are in memory at a time: 32 MB."""
    n, k, c = 100, 6, 100_000 * 4 // np.dtype(dtype).itemsize
    problem = Problem(rng, (n, k, c), dtype)
    problem.target[[3, 90]] = -100
    options = {"sample_weight": rng.uniform(0.5, 2, n), "label_smoothing": 0.1}
    results = [problem.run(kernels, **options, threads=threads) for threads in (1, 2, 3, 4, 7)]
    assert all(same_bytes(result, results[0]) for result in results[1:])
    logits = kernels.linear(problem.x, problem.weight, problem.bias)
    loss, dlogits = kernels.cross_entropy_with_grad(logits, problem.target, **options)
    exact = loss, *kernels.linear_backward(problem.x, problem.weight, dlogits)
    # The same kernels, but for the order of the sums over chunks: N + 2 roundings of half an eps.
    unit = eps(dtype)
    for one, wanted in zip(results[0], exact, strict=True):
        assert np.abs(one - wanted).max() <= (n + 2) * unit * np.abs(wanted).max()
    rows = problem.run(kernels, reduction="none", wanted=())[0]
    assert_close(
        rows, kernels.cross_entropy(logits, problem.target, reduction="none"), 8 * unit * rows
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distribution", [False, True], ids=["labels", "distributions"])
def test_threads_change_no_bit(distribution: bool, dtype: Any, rng: np.random.Generator) -> None:
    for shape in ((900, 70, 10), (20, 300, 500), (300, 70, 700)):
        problem = Problem(rng, shape, dtype, distribution=distribution)
        for reduction in ("mean", "none"):
            one = problem.run(kernels, reduction=reduction, threads=1)
            for threads in (2, 3, 4, 7):
                assert same_bytes(problem.run(kernels, reduction=reduction, threads=threads), one)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_rows(dtype: Any, rng: np.random.Generator) -> None:
    """Loss 0 and gradient exactly 0, also of a row of NaN; a mean of nothing is NaN."""
    for shape in ((10, 4, 5), (6, 4, 40), (40, 4, 40)):
        problem = Problem(rng, shape, dtype)
        problem.target[2] = -100
        problem.x[2] = np.nan
        loss, dx, _, dbias = problem.run(kernels, reduction="none")
        assert loss[2] == 0
        assert (dx[2] == 0).all()
        assert np.isfinite(loss).all()
        assert np.isfinite(dx).all()
        assert np.isfinite(dbias).all()
        problem = Problem(rng, shape, dtype)
        problem.target[:] = -100
        loss, *gradients = problem.run(kernels)
        assert np.isnan(loss)
        assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_no_rows(dtype: Any, rng: np.random.Generator) -> None:
    for shape in ((10, 4, 5), (40, 4, 40)):
        problem = Problem(rng, shape, dtype)
        wanted = problem.run(kernels, reduction="none")
        problem.x[3, 1] = np.nan
        loss, dx, _, _ = problem.run(kernels, reduction="none")
        keep = np.arange(shape[0]) != 3
        assert np.isnan(loss[3])
        assert np.isnan(dx[3]).all()
        assert same_bytes((loss[keep], dx[keep]), (wanted[0][keep], wanted[1][keep]))
        problem.x, problem.target = problem.x[:0], problem.target[:0]
        for reduction, value in (("sum", 0), ("mean", np.nan)):
            loss, dx, dweight, dbias = problem.run(kernels, reduction=reduction)
            assert np.array_equal(loss, value, equal_nan=True)
            assert dx.shape == (0, 4)
            assert (dweight == 0).all()
            assert (dbias == 0).all()
        assert problem.run(kernels, reduction="none")[0].shape == (0,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_losses_keep_their_digits(dtype: Any) -> None:
    """A margin of 20 and more: not 0, and the gradient is minus the other's."""
    for margin in (20, 40, 80):
        loss, _, _, dbias = kernels.linear_cross_entropy_with_grad(
            np.ones((1, 1), dtype), np.array([[margin], [0]], dtype), None, [0]
        )
        assert loss == pytest.approx(np.log1p(np.exp(-float(margin))), rel=8 * eps(dtype))
        assert dbias[0] == -dbias[1] != 0


X, W, B = np.ones((6, 5), np.float32), np.ones((3, 5), np.float32), np.ones(3, np.float32)
LABELS = [0, 1, 2, 0, 1, 2]
WRONG: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "a bad label": (IndexError, r"target.*4.*7|target.*row 4", {"target": [0, 1, 2, 0, 7, 9]}),
    "a negative label": (IndexError, "target", {"target": [0, 1, -1, 0, 1, 2]}),
    "labels of floats": (TypeError, "target", {"target": np.ones(6)}),
    "too few labels": (ValueError, "target", {"target": [0, 1]}),
    "no distribution": (ValueError, "target", {"target": np.ones((6, 3))}),
    "a distribution of another width": (ValueError, "target", {"target": np.ones((6, 1))}),
    "a class weight below 0": (ValueError, "class_weight", {"class_weight": [1, -1, 1]}),
    "class weights of another length": (ValueError, "class_weight", {"class_weight": [1, 1]}),
    "a sample weight of NaN": (ValueError, "sample_weight", {"sample_weight": [np.nan] * 6}),
    "a smoothing above 1": (ValueError, "label_smoothing", {"label_smoothing": 1.5}),
    "an unknown reduction": (ValueError, "reduction", {"reduction": "max"}),
    "an unknown gradient": (ValueError, "wanted", {"wanted": ["dlogits"]}),
    "a scale of another length": (ValueError, "scale", {"scale": [1.0, 2.0]}),
    "a weight of another type": (TypeError, "weight|x", {"weight": W.astype(np.float64)}),
    "a bias of another length": (ValueError, "bias", {"bias": np.ones(4, np.float32)}),
    "a bias of another type": (TypeError, "bias", {"bias": np.ones(3)}),
    "no classes": (ValueError, "weight", {"weight": W[:0], "bias": None}),
    "features of another width": (ValueError, "x|weight", {"x": X[:, :4]}),
}  # fmt: skip


@pytest.mark.parametrize("module", [kernels, reference], ids=["kernel", "reference"])
@pytest.mark.parametrize("case", WRONG)
def test_errors(case: str, module: Any) -> None:
    error, text, changed = WRONG[case]
    given: dict[str, Any] = {"x": X, "weight": W, "bias": B, "target": LABELS, **changed}
    with pytest.raises(error, match=text):
        module.linear_cross_entropy_with_grad(**given)
    if "wanted" not in changed:
        with pytest.raises(error, match=text):
            module.linear_cross_entropy(**given)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch(dtype: Any, rng: np.random.Generator) -> None:
    """200 random configurations; PyTorch's graph in float64 is the oracle."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    torch.set_num_threads(1)
    for _ in range(200):
        n, k, c = (int(np.exp(rng.uniform(0, np.log(m)))) for m in (80, 40, 120))
        distribution = bool(rng.integers(2))
        problem = Problem(rng, (n, k, c), dtype, distribution=distribution)
        options: dict[str, Any] = {
            "reduction": str(rng.choice(["mean", "sum", "none"])),
            "label_smoothing": float(rng.choice([0, 0.1, 0.7, 1])),
        }
        if rng.integers(2):
            options["class_weight"] = rng.uniform(0.1, 3, c).astype(dtype)
        if not distribution:
            options["ignore_index"] = int(rng.choice([-100, -1, 0, c + 3]))
            problem.target[rng.random(n) < rng.choice([0, 0.2, 1])] = options["ignore_index"]
        wide = [
            torch.tensor(array.astype(np.float64), requires_grad=True)
            for array in (problem.x, problem.weight, problem.bias)
        ]
        weight = options.get("class_weight")
        ignore = {name: options[name] for name in ("ignore_index",) if name in options}
        target = problem.target.astype(np.float64 if distribution else np.int64)
        loss = torch.nn.functional.cross_entropy(
            torch.nn.functional.linear(*wide),
            torch.tensor(target),
            weight=None if weight is None else torch.tensor(weight.astype(np.float64)),
            reduction=options["reduction"],
            label_smoothing=options["label_smoothing"],
            **ignore,
        )
        loss.sum().backward()
        wanted = loss.detach().numpy()
        got = problem.run(kernels, **options)
        # The gradient of a mean of nothing is 0 here.
        gradients = [np.nan_to_num(one.grad.numpy()) for one in wide]
        for one, exact, bound in zip(
            got, (wanted, *gradients), problem.bounds(wanted, **options), strict=True
        ):
            assert_close(one, exact, bound, f"{(n, k, c)}, {options}")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/status")
def test_memory(level: str) -> None:
    """At most 64 MB beyond inputs and outputs, where the logits would take 328."""
    program = r"""
        import re
        from pathlib import Path
        import numpy as np
        from softstep import kernels

        def status(name):
            text = Path("/proc/self/status").read_text(encoding="ascii")
            return 1024 * int(re.search(name + r":\s*(\d+) kB", text)[1])

        rng = np.random.default_rng(0)
        x = rng.standard_normal((4096, 64), dtype=np.float32)
        weight = rng.standard_normal((20_000, 64), dtype=np.float32)
        target = rng.integers(0, 20_000, 4096)
        before = status("VmRSS")
        results = kernels.linear_cross_entropy_with_grad(x, weight, weight[:, 0].copy(), target)
        outputs = sum(result.nbytes for result in results)
        print(status("VmHWM") - before - outputs)  # ru_maxrss would begin with the parent's
        """
    # The system may count more than was asked for: pages that it has just made huge, for example.
    grown = min(fresh_python.answer(program, SOFTSTEP_ISA=level) for _ in range(2))
    assert grown < 64e6


BY_PRODUCTS = ("row_loss", "logsumexp", "predicted", "correct")


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_products(dtype: Any, rng: np.random.Generator) -> None:
    """Those of the same logits, also where they are made in several chunks."""
    for shape in ((40, 12, 10), (30, 12, 45), (60, 3, 400_000 * 4 // np.dtype(dtype).itemsize)):
        problem = Problem(rng, shape, dtype)
        problem.target[[1, 20]] = -100
        logits = kernels.linear(problem.x, problem.weight, problem.bias)
        _, wanted = kernels.cross_entropy(logits, problem.target, byproducts=BY_PRODUCTS)
        loss, found = kernels.linear_cross_entropy(
            problem.x, problem.weight, problem.bias, problem.target, byproducts=BY_PRODUCTS
        )
        *results, more = problem.run(kernels, byproducts=BY_PRODUCTS)
        assert same_bytes(tuple(more[:3]), tuple(found[:3]))
        assert more.correct == found.correct == wanted.correct
        assert (found.predicted == wanted.predicted).all()
        # The product's rows may differ with their number, within its rounding.
        bound = sum_bound(shape[1], dtype) * (np.abs(logits).max() + 1)
        assert_close(found.row_loss, wanted.row_loss, 4 * bound)
        assert_close(found.logsumexp, wanted.logsumexp, 2 * bound)
        assert same_bytes(tuple(results), problem.run(kernels))
        assert same_bytes(loss, results[0])
        only = problem.run(kernels, byproducts="correct")[-1]
        assert only == (None, None, None, found.correct)
        if shape[2] < 100:
            same = reference.linear_cross_entropy(
                problem.x, problem.weight, problem.bias, problem.target, byproducts=BY_PRODUCTS
            )[1]
            assert same.correct == found.correct
            assert_close(found.row_loss, same.row_loss, 4 * bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_that_are_given(dtype: Any, rng: np.random.Generator) -> None:
    problem = Problem(rng, (40, 12, 45), dtype)
    wanted = problem.run(kernels)
    out = {"dx": np.empty((40, 12), dtype), "dbias": np.empty(45, dtype)}
    got = problem.run(kernels, out=out)
    assert got[1] is out["dx"]
    assert got[3] is out["dbias"]
    assert same_bytes(got, wanted)
    rows = np.empty(40, dtype)
    given = tuple(
        np.array(one) for one in (problem.x, problem.weight, problem.bias, problem.target)
    )
    x, weight, bias, _ = given
    for module in (kernels, reference):
        assert module.linear_cross_entropy(*given, reduction="none", out=rows) is rows
        # A loss is the difference of two numbers, each as wrong as the logits of both may be.
        bound = 4 * linear_bound(x, weight, bias, dtype).max(axis=1) + 16 * eps(dtype) * (rows + 1)
        assert_close(rows, problem.run(kernels, reduction="none")[0], bound)
        rows[:] = 5
        with pytest.raises(ValueError, match="out"):
            module.linear_cross_entropy(*given, out=rows)
        with pytest.raises((TypeError, ValueError), match="out"):
            module.linear_cross_entropy(*given, reduction="none", out=rows[1:])
        for shared in ({"dweight": weight}, {"dx": x}, {"dbias": bias}):
            before = tuple(np.copy(array) for array in given)
            with pytest.raises(ValueError, match=r"shares memory|overlaps"):
                module.linear_cross_entropy_with_grad(*given, out=shared)
            assert same_bytes(tuple(given), before)
        with pytest.raises(ValueError, match="out"):
            module.linear_cross_entropy_with_grad(*given, wanted=["dx"], out=out)
        assert (rows == 5).all()
