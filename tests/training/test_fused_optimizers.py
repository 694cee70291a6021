"""Every optimizer of the library trains in the fused path, as it does step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training_models import Stepwise

import softstep
from softstep import RMSprop, SoftmaxRegression, Trainer
from softstep.optimizers import Adam, AdamW

# eps is large enough that the rounding of a tiny gradient is not blown up to a whole step.
OPTIMIZERS = {
    "RMSprop": (RMSprop, {"lr": 0.01, "eps": 1e-3}),
    "RMSprop, centered": (
        RMSprop, {"lr": 0.003, "eps": 1e-2, "centered": True, "momentum": 0.5}
    ),
    "Adam": (Adam, {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.01}),
    "Adam, amsgrad": (Adam, {"lr": 0.01, "eps": 1e-3, "amsgrad": True}),
    "AdamW": (AdamW, {"lr": 0.01, "eps": 1e-3}),
}  # fmt: skip


class Model(SoftmaxRegression):
    """A softmax regression whose optimizer is named."""

    def __init__(self, name: str) -> None:
        super().__init__(10, 0.1, dtype=np.float64)
        self.name = name

    def configure_optimizers(self) -> Any:
        owner, settings = OPTIMIZERS[self.name]
        return owner(self.parameters(), **settings)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_and_step_by_step_agree(name: str) -> None:
    """Three epochs of digits: 3 x 6 steps, each of which rounds numbers of about 1 a few times."""
    results = []
    for trainer in (Trainer(3), Stepwise(3)):
        model = Model(name)
        trainer.fit(model, softstep.Digits(batch_size=256))
        results.append((trainer, model))
    (fused, one), (plain, other) = results
    assert fused.fused
    assert not plain.fused
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-9, atol=1e-9)
    assert fused.optim.state.keys() == plain.optim.state.keys()
    for key, arrays in fused.optim.state.items():
        for mine, theirs in zip(arrays, plain.optim.state[key], strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)
    if isinstance(fused.optim, Adam):
        assert fused.optim.steps == plain.optim.steps
        assert fused.optim.steps[0] > 3
    assert fused.history[-1].val_accuracy == plain.history[-1].val_accuracy


def test_parameters_that_are_not_equally_far_on_go_step_by_step() -> None:
    class Ahead(Model):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            optimizer.steps[0] = 4
            return optimizer

    trainer = Trainer(1)
    trainer.fit(Ahead("Adam"), softstep.Digits())
    assert not trainer.fused


def test_a_stop_counts_the_steps_that_were_made() -> None:
    model, data = Model("Adam"), softstep.Digits(batch_size=256)
    x, y, *rest = data.arrays(True)  # type: ignore[misc]
    bad = x.astype(np.float64)
    order = np.asarray(softstep.data.permutation(len(x), data.seed, 0))
    bad[order[600]] = np.nan  # in the third minibatch
    data.arrays = lambda train: (bad, y, *rest)  # type: ignore[method-assign]
    trainer = Trainer(1)
    with pytest.raises(FloatingPointError, match="step 2 of epoch 0"):
        trainer.fit(model, data)
    assert trainer.optim.steps == [2, 2]
