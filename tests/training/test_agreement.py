"""The fused path, the step-by-step path and the NumPy reference agree; threads change no bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training_models import Stepwise, problem, state

from softstep import LinearRegression, SyntheticRegressionData, Trainer
from softstep.training import fused

SETTINGS = [
    pytest.param({}, id="plain"),
    pytest.param({"momentum": 0.5, "dampening": 0.25, "weight_decay": 0.01}, id="momentum"),
    pytest.param({"momentum": 0.5, "nesterov": True}, id="nesterov"),
]


def bound(model: Any, data: Any, sgd: Any, steps: int) -> float:
    """How far two trainings may be apart.

    With the learning rates used here a step of gradient descent on these convex losses brings two
    parameters no further apart, so that the roundings of the steps add up. The gradient of a step
    is a mean over rows of (error of the output) * x. Its rounding is at most that of the sums
    behind it, (K + B) terms, relative to the largest terms: |x| and the largest output or target.
    Momentum multiplies a step by 1 / (1 - momentum) at most, and two paths both round.
    """
    x, y = data.train[:]
    rows = x.reshape(len(x), -1).astype(np.float64)
    weight, bias = (array.astype(np.float64) for array in model.get_w_b())
    outputs = np.abs(rows @ weight.T + bias).max()
    largest = max(outputs, 1.0 if y.dtype.kind == "i" else np.abs(y).max())
    terms = rows.shape[1] + data.batch_size
    gradient = terms * np.finfo(model.dtype).eps * max(1.0, np.abs(rows).max()) * largest
    return float(2 * steps * model.lr / (1 - sgd.get("momentum", 0)) * gradient)


@pytest.mark.parametrize("sgd", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("other", ["library", "reference"])
def test_fused_and_step_by_step_agree_over_3_epochs(
    kind: str, other: str, dtype: Any, sgd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "rows_per_call", lambda shapes, batch: 3 * batch)  # many calls
    model, data = problem(kind, "library", sgd, dtype)
    trainer = Trainer(3)
    history = trainer.fit(model, data)
    assert trainer.fused

    twin, data = problem(kind, other, sgd, dtype)
    plain = (Stepwise if other == "library" else Trainer)(3)
    records = plain.fit(twin, data)
    assert not plain.fused

    steps = 3 * len(data.train_dataloader())
    limit = bound(model, data, sgd, steps)
    # The bound says something: it is far below what was learned.
    assert limit < (1e-11 if dtype == np.float64 else 1e-2)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert np.abs(mine.data - theirs.data).max() <= limit
    for mine, theirs in zip(
        trainer.optim.momentum_buffers, plain.optim.momentum_buffers, strict=True
    ):
        assert (mine is None) == (theirs is None) == ("momentum" not in sgd)
        if mine is not None:  # a sum of steps, not multiplied by the learning rate
            assert np.abs(mine - theirs).max() <= limit / model.lr
    # A loss moves by its slope times the parameters' difference, and by its own rounding.
    x, y = data.train[:]
    slope = 4 * x[0].size * max(1.0, np.abs(x).max()) * max(1.0, np.abs(y).max())
    for mine, theirs in zip(history, records, strict=True):
        scale = 1 + abs(mine.train_loss)
        assert abs(mine.train_loss - theirs.train_loss) <= limit * slope * scale
        assert mine.val_loss is not None
        assert theirs.val_loss is not None
        assert abs(mine.val_loss - theirs.val_loss) <= limit * slope * scale
        if kind == "softmax":
            assert mine.val_accuracy is not None
            assert theirs.val_accuracy is not None
            assert abs(mine.val_accuracy - theirs.val_accuracy) <= 1.5 / len(data.val)
            assert mine.train_accuracy is not None
        else:
            assert mine.val_accuracy is theirs.val_accuracy is None
            assert mine.train_accuracy is None


@pytest.mark.parametrize("sgd", SETTINGS)
@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_threads_and_repetition_change_no_bit(kind: str, sgd: Any, trainer_class: Any) -> None:
    found = set()
    for threads in (1, 2, 2, 3):
        model, data = problem(kind, "library", sgd)
        trainer = trainer_class(4, threads=threads)
        losses = [
            (r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy)
            for r in trainer.fit(model, data)
        ]
        found.add((state(model, trainer), repr(losses)))
        assert model.threads is None
    assert len(found) == 1


@pytest.mark.parametrize("sgd", SETTINGS)
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_the_length_of_calls_changes_no_bit_of_the_model(
    kind: str, sgd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for batches in (1, 2, 5, 1000):
        monkeypatch.setattr(fused, "rows_per_call", lambda shapes, batch, k=batches: k * batch)
        model, data = problem(kind, "library", sgd)
        trainer = Trainer(3)
        trainer.fit(model, data)
        found.add(state(model, trainer))
    assert len(found) == 1


def test_calls_are_whole_minibatches_of_bounded_length() -> None:
    for shape in ((1, 1), (10, 64), (10, 784), (1000, 100_000)):
        for batch in (1, 7, 32, 256, 10**7):
            rows = fused.rows_per_call([shape], batch)
            assert rows % batch == 0
            assert batch <= rows <= max(batch, 1 << 20)
    assert fused.rows_per_call([(10, 784)], 256) >= 60_000  # MNIST: an epoch is one call


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_linear_regression_lands_where_the_course_says(trainer_class: Any) -> None:
    data = SyntheticRegressionData(w=[2, -3.4], b=4.2)
    model = LinearRegression(lr=0.03)
    history = trainer_class(3).fit(model, data)
    (w,), (b,) = model.get_w_b()
    # In expectation .94^96 of each parameter is left: errors of (.005, -.009) and .011. The 32
    # rows of a minibatch have a covariance that is not exactly 1; 3 times covers that.
    left = 0.94**96
    assert abs(left - 0.0026) < 0.0001
    errors = np.abs([2 - w[0], -3.4 - w[1], 4.2 - b])
    assert (errors < 3 * left * 4.2).all()
    assert np.linalg.norm(errors) > left  # not smaller, either
    assert history[-1].val_loss is not None
    assert history[-1].val_loss < 0.001
