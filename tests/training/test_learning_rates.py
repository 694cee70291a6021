"""Several learning rates, one history each."""

from __future__ import annotations

from typing import Any

import pytest
from training_models import small

from softstep import (
    ArrayDataModule,
    Digits,
    EarlyStopping,
    SoftmaxRegression,
    Trainer,
    compare_learning_rates,
)


def make(lr: float) -> SoftmaxRegression:
    return SoftmaxRegression(2, lr)


def test_each_history_is_that_of_a_training_alone() -> None:
    found = compare_learning_rates(make, small(), (0.5, 0.1), 3, gradient_clip_val=1.0)
    assert list(found) == [0.5, 0.1]
    for lr, history in found.items():
        alone = Trainer(3, gradient_clip_val=1.0).fit(make(lr), small())
        assert [r.train_loss for r in history] == [r.train_loss for r in alone]


def test_a_rate_that_is_too_large_ends_with_its_whole_epochs() -> None:
    data = Digits()
    large = data.train.tensors[0].astype("f4") * 1e20  # type: ignore[union-attr]
    wild = ArrayDataModule(large, data.train.tensors[1], batch_size=512)  # type: ignore[union-attr]
    found = compare_learning_rates(lambda lr: SoftmaxRegression(10, lr), wild, [0.0, 1e25], 2)
    assert len(found[0.0]) == 2
    assert len(found[1e25]) < 2


def test_callbacks_serve_each_training() -> None:
    stopping = EarlyStopping("train_loss", patience=1)
    found = compare_learning_rates(make, small(), [0.0, 0.1], 5, callbacks=[stopping])
    assert [len(history) for history in found.values()] == [2, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((make, small(), []), r"lrs is \[\]; accepted: at least one"),
        ((make, small(), [0.1, 0.1]), "each of them once"),
        ((make, small(), [0.1, -1]), r"lrs\[1\] is -1"),
        ((5, small(), [0.1]), "make_model is a int"),
        ((make, small(), [0.1], 0), "max_epochs is 0"),
    ],
)
def test_wrong_arguments(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        compare_learning_rates(*arguments)
