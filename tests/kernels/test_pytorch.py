"""Agreement with PyTorch on 2,000 random configurations (RELIABILITY.md, line 6).

PyTorch computes in float64 and is the oracle; the tolerances are the bounds of the kernels' dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_cases import affine_bounds, random_features, random_rest
from kernel_cases import DTYPES, Exact, assert_close, eps, sum_bound, tiny

from softstep import kernels

torch = pytest.importorskip("torch", exc_type=ImportError)
torch.set_num_threads(1)  # its waiting threads would take the processors from ours

pytestmark = pytest.mark.usefixtures("level")

REDUCTIONS = ("mean", "sum", "none")


def tensor(array: Any, *, grad: bool = False) -> Any:
    return torch.tensor(np.asarray(array, np.float64), requires_grad=grad)


def some(rng: np.random.Generator, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def random_size(rng: np.random.Generator, largest: int) -> int:
    return int(np.exp(rng.uniform(0, np.log(largest + 0.99))))


def check_softmax(rng: np.random.Generator, dtype: Any) -> None:
    shape = tuple(random_size(rng, 40) for _ in range(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape), len(shape)))
    x = (rng.normal(0, 1, shape) * rng.choice([0.1, 1, 10, 30])).astype(dtype)
    exact = Exact(np.moveaxis(x, axis, -1))
    bound = np.moveaxis(exact.softmax_bound(dtype), -1, axis)
    wanted = torch.softmax(tensor(x), axis).numpy()
    assert_close(kernels.softmax(x, axis), wanted, bound + 40 * eps(float), "softmax")
    wanted = torch.log_softmax(tensor(x), axis).numpy()
    relative = np.moveaxis(exact.relative_loss_bound(dtype)[..., None], -1, axis)
    # PyTorch's own log_softmax is off by eps of the maximum in float64.
    own = 40 * eps(float) * (1 + np.abs(x).max())
    assert_close(
        kernels.log_softmax(x, axis), wanted, relative * np.abs(wanted) + own + tiny(dtype), "log"
    )


def check_cross_entropy(rng: np.random.Generator, dtype: Any) -> None:
    n, classes = random_size(rng, 200), random_size(rng, 300)
    x = (rng.normal(0, 1, (n, classes)) * rng.choice([0.1, 1, 10])).astype(dtype)
    labels = rng.integers(0, classes, n)
    ignored = int(some(rng, -100, -1, 0, classes - 1, classes + 3))
    labels[rng.random(n) < some(rng, 0, 0.2, 1)] = ignored
    reduction = some(rng, *REDUCTIONS)
    if some(rng, True, False):
        check_cross_entropy_options(rng, x, labels, ignored, reduction)
        return
    wide = tensor(x, grad=True)
    loss = torch.nn.functional.cross_entropy(
        wide, torch.tensor(labels), ignore_index=ignored, reduction=reduction
    )
    loss.sum().backward()
    got, gradient = kernels.cross_entropy_with_grad(
        x, labels, ignore_index=ignored, reduction=reduction
    )
    keep = labels != ignored
    safe = np.where(keep, labels, 0)
    exact = Exact(x)
    rows = np.where(keep, exact.relative_loss_bound(dtype) * exact.losses(safe) + tiny(dtype), 0)
    own = 40 * eps(float) * (1 + np.abs(x).max())  # PyTorch's, as above
    divisor = max(int(keep.sum()), 1) if reduction == "mean" else 1
    bound: Any = rows + own
    if reduction != "none":
        bound = (bound.sum() + sum_bound(n, dtype) * exact.losses(safe)[keep].sum()) / divisor
    what = f"{reduction}, {(n, classes)}, ignore {ignored}"
    assert_close(got, loss.detach().numpy(), bound, f"loss, {what}")
    bound = exact.gradient_bound(safe, dtype) + eps(dtype) * np.abs(exact.gradients(safe)) + own
    wanted = np.nan_to_num(wide.grad.numpy())  # the gradient of a mean of nothing is 0 here
    assert_close(gradient, wanted, bound / divisor + tiny(dtype), f"gradient, {what}")


def check_cross_entropy_options(
    rng: np.random.Generator, x: Any, labels: Any, ignored: int, reduction: str
) -> None:
    """Class weights, label smoothing and distributions, together and alone."""
    (n, classes), dtype, unit = x.shape, x.dtype, eps(x.dtype)
    target, options = labels, {"ignore_index": ignored}
    if some(rng, True, False):
        p = (
            rng.random((n, classes)) * (rng.random((n, classes)) < 0.5)
            + np.eye(classes)[labels % classes]
        )
        target, options = (p / p.sum(1, keepdims=True)).astype(dtype), {}
    smoothing = float(some(rng, 0, 0.1, 0.7, 1))
    weight = some(rng, None, rng.uniform(0.1, 3, classes).astype(dtype))
    wide = tensor(x, grad=True)
    loss = torch.nn.functional.cross_entropy(
        wide,
        torch.tensor(labels) if target is labels else tensor(target),
        weight=None if weight is None else tensor(weight),
        label_smoothing=smoothing,
        reduction=reduction,
        **options,
    )
    loss.sum().backward()
    got, gradient = kernels.cross_entropy_with_grad(
        x, target, class_weight=weight, label_smoothing=smoothing, reduction=reduction, **options
    )
    what = f"{reduction}, {(n, classes)}, {target.ndim}-D target, {smoothing}, {weight is None}"
    # PyTorch's terms are off by eps of the largest logit, ours by their own bounds: the loss by
    # (8 + D / 2 + 24) eps (test_cross_entropy_options.py), D being at most twice that logit.
    largest = float(np.abs(x).max())
    relative, own = (32 + largest) * unit, 40 * eps(float) * (1 + largest)
    wanted = loss.detach().numpy()
    relative_sum = relative + (sum_bound(n, dtype) if reduction != "none" else 0)
    assert_close(
        got, wanted, relative_sum * np.abs(wanted) + 3 * own + tiny(dtype), f"loss, {what}"
    )
    # The gradient is the difference of two terms, neither above the largest mass of a row, 3,
    # and a mean divides by the smallest weight, 0.1, at the least.
    divisor = 1.0
    if reduction == "mean":
        counted = labels[labels != ignored]
        divisor = float(n)
        if target is labels:
            divisor = float(len(counted) if weight is None else weight[counted].sum()) or np.inf
    wanted = np.nan_to_num(wide.grad.numpy())
    bound = (4 * relative + own) * (3 / divisor) + 4 * unit * np.abs(wanted) + tiny(dtype)
    assert_close(gradient, wanted, bound, f"gradient, {what}")


def check_linear(rng: np.random.Generator, dtype: Any) -> None:
    """Every path, feature type and activation, scale and shift, and only some gradients."""
    n, k, c = random_size(rng, 150), random_size(rng, 300), random_size(rng, 150)
    name = some(rng, "uint8", "int8", "float16", *3 * [np.dtype(dtype).name])
    x = random_features(rng, (n, k), name)
    rest = random_rest(rng, n, k, c, dtype)
    weight, bias, dlogits = rest
    affine: dict[str, Any] = {
        "scale": some(rng, None, rng.uniform(0.001, 1), rng.uniform(0.001, 1, k).astype(dtype)),
        "shift": some(rng, None, rng.normal(), rng.normal(0, 1, k).astype(dtype)),
    }
    features = tensor(x)
    if affine["scale"] is not None:
        features = features * tensor(affine["scale"])
    if affine["shift"] is not None:
        features = features + tensor(affine["shift"])
    wide = [features.detach().requires_grad_(), tensor(weight, grad=True), tensor(bias, grad=True)]
    logits = torch.nn.functional.linear(*wide)
    logits.backward(tensor(dlogits))
    bounds = affine_bounds(x, rest, **affine)
    what = f"{name}, n={n}, k={k}, c={c}, {affine}"
    activation = some(rng, None, "relu", "sigmoid", "tanh")
    wanted = (getattr(torch, activation)(logits) if activation else logits).detach().numpy()
    got = kernels.linear(x, weight, bias, activation=activation, **affine)
    # None of the activations grows an error; their own are 4 eps.
    assert_close(got, wanted, bounds[0] + 4 * eps(dtype) * np.abs(wanted), f"{activation}, {what}")
    names = [name for name in ("dx", "dweight", "dbias") if rng.random() < 0.7]
    gradients = kernels.linear_backward(x, weight, dlogits, wanted=names, **affine)
    for name, got, input_, bound in zip(
        ("dx", "dweight", "dbias"), gradients, wide, bounds[1:], strict=True
    ):
        assert (got is not None) == (name in names)
        if got is not None:
            assert_close(got, input_.grad.numpy(), bound, f"{name}, {what}")


def check_mse(rng: np.random.Generator, dtype: Any) -> None:
    shape = tuple(random_size(rng, 60) for _ in range(rng.integers(1, 4)))
    prediction, target = rng.normal(0, 5, (2, *shape)).astype(dtype)
    reduction = some(rng, *REDUCTIONS)
    wide = tensor(prediction, grad=True)
    loss = torch.nn.functional.mse_loss(wide, tensor(target), reduction=reduction)
    loss.sum().backward()
    got, gradient = kernels.mse_loss_with_grad(prediction, target, reduction=reduction)
    # Three roundings of a square and the summation.
    relative = 2 * eps(dtype) + sum_bound(prediction.size, dtype)
    assert_close(got, loss.detach().numpy(), relative * np.abs(loss.detach().numpy()), "loss")
    wanted = wide.grad.numpy()
    assert_close(gradient, wanted, 2 * eps(dtype) * np.abs(wanted) + tiny(dtype), "gradient")


def check_sgd(rng: np.random.Generator, dtype: Any) -> None:
    size = random_size(rng, 300)
    options = {
        "lr": float(rng.uniform(0, 0.5)),
        "momentum": float(some(rng, 0, 0.5, 0.9)),
        "weight_decay": float(some(rng, 0, 0.01, 0.5)),
        "maximize": bool(some(rng, True, False)),
    }
    if options["momentum"] and some(rng, True, False):
        options["nesterov"] = True
    else:
        options["dampening"] = float(some(rng, 0, 0.3))
    param, buffer = rng.normal(0, 2, (2, size)).astype(dtype)
    wide = tensor(param, grad=True)
    optimizer = torch.optim.SGD([wide], **options)
    bound, buffer_bound = np.zeros(size), np.zeros(size)
    largest = np.abs(param).astype(float)
    for step in range(5):
        gradient = rng.normal(0, 3, size).astype(dtype)
        wide.grad = tensor(gradient)
        optimizer.step()
        kernels.sgd_step(param, gradient, buffer, **options, first_step=step == 0)
        wanted = wide.detach().numpy()
        # As in test_optimizers.py: roundings of what is added, and what was wrong before.
        largest = np.maximum(largest, np.abs(wanted))
        size_now = np.abs(gradient) + options["weight_decay"] * largest
        if options["momentum"]:
            size_now = size_now / (1 - options["momentum"]) + 30
        decay = options["weight_decay"]
        buffer_bound = options["momentum"] * buffer_bound + decay * bound
        buffer_bound = buffer_bound + 3 * eps(dtype) * size_now
        carried = (1 + options["momentum"]) * buffer_bound
        bound = bound + options["lr"] * (carried + 3 * eps(dtype) * size_now)
        bound = bound + 2 * eps(dtype) * largest + tiny(dtype)
        assert_close(param, wanted, bound, f"step {step}, {options}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "check", [check_softmax, check_cross_entropy, check_linear, check_mse, check_sgd]
)
def test_random_configurations(check: Any, dtype: Any, rng: np.random.Generator) -> None:
    """200 of each kind and dtype, 1,000 of linear: 3,600 on every level."""
    for _ in range(1_000 if check is check_linear else 200):
        check(rng, dtype)
