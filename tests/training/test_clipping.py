"""Clipping by the common norm, in both ways through the data."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Stepwise, small, state

from softstep import Module, Parameter, SoftmaxRegression, Trainer
from softstep.training import clip_gradients

EPS = float(np.finfo(np.float32).eps)


def train(trainer: Any) -> Any:
    """Train on a few rows whose features are large, so that gradients are."""
    model, data = SoftmaxRegression(2, 0.1), small(40)
    data.train.tensors[0][:] *= 50
    trainer.fit(model, data)
    return model


@pytest.mark.parametrize("norm", [0.01, 1.0, 30.0, 1e9])
def test_both_ways_clip_alike(norm: float) -> None:
    fused, plain = Trainer(1, norm), Stepwise(1, norm)
    one, other = train(fused), train(plain)
    assert (fused.fused, plain.fused) == (True, False)
    # 10 steps, each no longer than lr * min(norm, 100), rounded in a sum of some 10 terms
    bound = 10 * 0.1 * min(norm, 100) * 10 * EPS
    np.testing.assert_allclose(one.weight, other.weight, rtol=0, atol=bound)
    same = state(one) == state(train(Trainer(1)))
    assert same is (norm == 1e9)


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_no_step_is_longer_than_the_norm_allows(trainer_class: Any) -> None:
    lengths = []
    for epochs in range(1, 4):
        model = SoftmaxRegression(2, 0.1)
        data = small(4)
        data.train.tensors[0][:] *= 1000
        trainer_class(epochs, gradient_clip_val=0.5).fit(model, data)
        lengths.append(np.concatenate([model.weight.data.ravel(), model.bias.data]))
    for before, after in itertools.pairwise(lengths):
        step = math.sqrt(float(((after - before).astype(np.float64) ** 2).sum()))
        assert step <= 0.1 * 0.5 * (1 + 1e-4)
    assert np.linalg.norm(lengths[0]) > 0.04


def test_the_gradients_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((3, 4), (3,), (5,))]
    for norm in (0.1, 1.0, 100.0):
        mine = [Parameter(np.zeros_like(a), grad=a.copy()) for a in arrays]
        theirs = [torch.zeros(a.shape, dtype=torch.float64, requires_grad=True) for a in arrays]
        for tensor, a in zip(theirs, arrays, strict=True):
            tensor.grad = torch.from_numpy(a.copy())
        before = float(torch.nn.utils.clip_grad_norm_(theirs, norm))
        assert clip_gradients(mine, norm) == pytest.approx(before, rel=1e-14)
        for parameter, tensor in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-14)


def test_mixed_dtypes_have_one_norm() -> None:
    single = Parameter(np.zeros(1, np.float32), grad=np.array([3.0]))
    double = Parameter(np.zeros(1, np.float64), grad=np.array([4.0]))
    none = Parameter(np.zeros(1))
    assert clip_gradients([single, none, double], 2.5) == pytest.approx(5.0)
    assert single.grad is not None
    assert double.grad is not None
    np.testing.assert_allclose([single.grad[0], double.grad[0]], [1.5, 2.0], rtol=1e-6)
    assert (single.grad.dtype, double.grad.dtype, none.grad) == (np.float32, np.float64, None)
    assert clip_gradients([none], 1.0) == 0.0


def test_the_callers_arrays_are_left_alone() -> None:
    x = np.array([[3.0, 0.0], [4.0, 0.0]])
    parameter = Parameter(np.zeros(2))
    parameter.grad = x[:, 0]
    clip_gradients([parameter], 1.0)
    assert x[:, 0].tolist() == [3, 4]
    assert parameter.grad == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, "1", True])
def test_wrong_values(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="gradient_clip_val is"):
        Trainer(1, gradient_clip_val=wrong)


def test_clipping_of_ones_own_goes_step_by_step() -> None:
    seen = []

    class Clipping(Trainer):
        def clip_gradients(self, grad_clip_val: float, model: Module) -> None:
            seen.append(grad_clip_val)
            super().clip_gradients(grad_clip_val, model)

    trainer = Clipping(1, 0.5)
    trainer.fit(SoftmaxRegression(2, 0.1), small())
    assert seen == [0.5] * 3
    assert not trainer.fused
    seen.clear()
    without = Clipping(1)
    without.fit(SoftmaxRegression(2, 0.1), small())
    assert without.fused
    assert seen == []


def test_own_models_are_clipped() -> None:
    model = Mean()
    data = small()
    Trainer(1, gradient_clip_val=1e-3).fit(model, data)
    assert 0 < abs(model.w.data[0]) <= 3 * 0.1 * 1e-3


def test_wrong_norms_of_any_dtypes() -> None:
    parameters = [Parameter(np.ones(2, dtype)) for dtype in (np.float32, np.float64)]
    for parameter in parameters:
        parameter.grad = np.ones_like(parameter.data)
    for params in (parameters, parameters[:1], []):
        for wrong in (-1.0, math.nan):
            with pytest.raises(ValueError, match="max_norm is"):
                clip_gradients(params, wrong)
        with pytest.raises(TypeError, match="max_norm is 'a'"):
            clip_gradients(params, "a")  # type: ignore[arg-type]
    assert all((parameter.grad == 1).all() for parameter in parameters)
