"""A trained model for pictures."""

from __future__ import annotations

import pytest

from softstep import Digits, EpochRecord, SoftmaxRegression, Trainer


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits()


@pytest.fixture(scope="session")
def trained(digits: Digits) -> tuple[SoftmaxRegression, list[EpochRecord]]:
    model = SoftmaxRegression(num_outputs=10, lr=0.5)
    return model, Trainer(max_epochs=5, progress=False).fit(model, digits)
