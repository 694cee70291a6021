"""The folder of `training_models`, and a checkpoint to go on from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint after two epochs of `Softmax0` on `small()`."""
    from training_models import Softmax0, small

    from softstep import Checkpoint, Trainer

    path = tmp_path / "training"
    Trainer(2, callbacks=[Checkpoint(path)]).fit(Softmax0(), small())
    return path
