"""The reference against formulas, known numbers and PyTorch; its signatures are the kernels'."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from softstep import kernels, reference

FUNCTIONS = [name for name in reference.__all__ if name != "TrainRun"]


def test_same_names() -> None:
    assert sorted(reference.__all__) == sorted(kernels.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_signature(name: str) -> None:
    """Names, kinds and defaults of the parameters; annotations may differ."""

    def parameters(module: Any) -> list[tuple[Any, ...]]:
        signature = inspect.signature(getattr(module, name))
        return [(p.name, p.kind, p.default) for p in signature.parameters.values()]

    assert parameters(reference) == parameters(kernels)


def test_same_fields_of_a_run() -> None:
    assert reference.TrainRun._fields == kernels.TrainRun._fields


def test_formulas(rng: np.random.Generator) -> None:
    """Small logits: the textbook formulas are exact to a few eps."""
    x, labels = rng.normal(0, 1, (7, 5)), rng.integers(0, 5, 7)
    exponentials = np.exp(x)
    soft = exponentials / exponentials.sum(1, keepdims=True)
    close = {"rtol": 1e-14, "atol": 1e-15}
    np.testing.assert_allclose(reference.softmax(x), soft, **close)
    np.testing.assert_allclose(reference.log_softmax(x), np.log(soft), **close)
    np.testing.assert_allclose(reference.logsumexp(x), np.log(exponentials.sum(1)), **close)
    losses = -np.log(soft[np.arange(7), labels])
    loss, gradient = reference.cross_entropy_with_grad(x, labels)
    np.testing.assert_allclose(loss, losses.mean(), **close)
    np.testing.assert_allclose(gradient, (soft - np.eye(5)[labels]) / 7, **close)


def test_two_classes_are_the_sigmoid_of_the_difference(rng: np.random.Generator) -> None:
    x = rng.normal(0, 3, (50, 2))
    sigmoid = 1 / (1 + np.exp(x[:, 1] - x[:, 0]))
    np.testing.assert_allclose(reference.softmax(x)[:, 0], sigmoid, rtol=1e-14)


def test_simple_net() -> None:
    """The tiny net of Deep Learning from Scratch, chapter 4: logits, loss and gradient."""
    weight = np.array(
        [[-0.48896906, -0.43767281, 0.94069236], [1.56181584, -0.6269286, -2.09184833]]
    ).T
    x = np.array([[0.6, 0.9]])
    logits = reference.linear(x, weight)
    np.testing.assert_allclose(logits, [[1.11225282, -0.82683942, -1.31824808]], atol=1e-8)
    loss, dlogits = reference.cross_entropy_with_grad(logits, [0])
    assert abs(loss - 0.20849860) < 1e-8
    _, dweight, _ = reference.linear_backward(x, weight, dlogits)
    wanted = [[-0.1129187, 0.07005907, 0.04285962], [-0.16937804, 0.10508861, 0.06428943]]
    np.testing.assert_allclose(dweight.T, wanted, atol=1e-8)


def test_results_are_in_the_input_dtype() -> None:
    for dtype in (np.float32, np.float64):
        x = np.ones((2, 3), dtype)
        assert reference.softmax(x).dtype == dtype
        assert reference.cross_entropy(x, [0, 1]).dtype == dtype
        assert reference.linear(x, x).dtype == dtype
        assert reference.mse_loss(x, x).dtype == dtype
    assert reference.softmax([[1, 2]]).dtype == np.float64


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01, "maximize": True},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ],
)
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_training_is_pytorchs(kind: str, options: Any, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", exc_type=ImportError)
    x, order = rng.normal(0, 1, (50, 4)), rng.permutation(50)
    target: Any = rng.integers(0, 3, 50) if kind == "softmax" else rng.normal(0, 1, (50, 3))
    weight, bias = rng.normal(0, 1, (3, 4)), rng.normal(0, 1, 3)
    theirs = [torch.tensor(array, requires_grad=True) for array in (weight, bias)]
    optimizer = torch.optim.SGD(theirs, **options)
    loss = torch.nn.functional.cross_entropy if kind == "softmax" else torch.nn.functional.mse_loss
    total = 0.0
    for start in range(0, 50, 8):
        rows = order[start : start + 8]
        optimizer.zero_grad()
        logits = torch.nn.functional.linear(torch.tensor(x[rows]), *theirs)
        mean = loss(logits, torch.tensor(target[rows]))
        mean.backward()
        optimizer.step()
        total += mean.item() * len(rows)
    train = getattr(reference, f"train_{kind}_regression")
    buffers = (np.full((3, 4), 9.0), np.full(3, 9.0))
    run = train(
        x, target, order, weight, bias, batch_size=8, momentum_buffers=buffers, first_step=True,
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(weight, theirs[0].detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(bias, theirs[1].detach().numpy(), rtol=1e-11, atol=1e-12)
    assert abs(run.loss - total) <= 1e-11 * abs(total)
    assert (run.rows, run.steps) == (50, 7)
