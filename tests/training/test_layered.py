"""The fused way of an MLP, and the one pass for each batch where that is not to be had.

Both do what the step-by-step way does, so every test runs in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_models import Stepwise

from softstep import (
    MLP,
    SGD,
    Adam,
    AdamW,
    ArrayDataModule,
    Digits,
    RMSprop,
    Trainer,
    evaluate,
)
from softstep.training import ways
from softstep.training.fused import FusedTraining
from softstep.training.layered import LayeredTraining

RULES: dict[str, Any] = {
    "sgd": lambda params: SGD(params, 0.2),
    "momentum": lambda params: SGD(params, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "rmsprop": lambda params: RMSprop(params, 1e-3),
    "adam": lambda params: Adam(params, 1e-3),
    "adamw": lambda params: AdamW(params, 1e-3),
}


@pytest.fixture(params=["fused", "layered"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "layered":
        monkeypatch.setattr(ways, "fused_training", lambda *arguments: None)
    return str(request.param)


def bytes_of(model: MLP) -> bytes:
    return b"".join(parameter.data.tobytes() for parameter in model.parameters())


def both(data: Any, epochs: int = 3, clip: float = 0.0, rule: Any = None, **options: Any) -> Any:
    """The same training in both ways: models, trainers, histories."""
    found = []
    for trainer_class in (Trainer, Stepwise):
        model = MLP(10, (32, 16), 0.2, **options)
        trainer = trainer_class(epochs, clip, optimizer=rule)
        found.append((model, trainer, trainer.fit(model, data)))
    assert found[0][1].fused
    assert not found[1][1].fused
    return found


def check_agreement(found: Any, tolerance: float) -> None:
    (mine, _, history), (other, _, expected) = found
    for a, b in zip(mine.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=tolerance)
    for a, b in zip(history, expected, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-4)
        assert a.val_loss == pytest.approx(b.val_loss, rel=1e-4)
        assert a.val_accuracy == pytest.approx(b.val_accuracy, abs=0.01)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_every_optimizer_agrees(rule: str, clip: float) -> None:
    """In float64, so that no rounding is large enough to look like a mistake."""
    found = both(Digits(batch_size=100), clip=clip, rule=RULES[rule], dtype=np.float64)
    # Bytes are scaled inside of the kernel here, and outside in float32 there: 1e-7 of a feature
    check_agreement(found, 1e-4)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", None])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activations_and_dropout_agree(activation: Any, dropout: float) -> None:
    """The same masks, too: with others the losses would differ in the second digit."""
    data = Digits(batch_size=100)
    check_agreement(both(data, activation=activation, dropout=dropout, dtype=np.float64), 1e-4)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("rule", RULES)
def test_both_ways_are_equal_to_the_bit(
    rule: str, clip: float, dtype: Any, activation: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "layered":
        return  # it is the other one here
    models, optimizers = [], []
    for kind in (FusedTraining, LayeredTraining):
        if kind is LayeredTraining:
            monkeypatch.setattr(ways, "fused_training", lambda *arguments: None)
        model = MLP(10, (24, 16), 0.2, activation, dtype=dtype)
        seen = []

        class Watched(Trainer):
            def fit_epoch(self, seen: Any = seen) -> None:
                seen.append(type(self._training))
                super().fit_epoch()

        trainer = Watched(2, clip, optimizer=RULES[rule])
        trainer.fit(model, Digits(batch_size=100))
        assert seen == [kind, kind]
        models.append((bytes_of(model), model.batches))
        optimizers.append(repr(trainer.optim.state_dict()))
    assert models[0] == models[1]
    assert optimizers[0] == optimizers[1]


def test_the_training_accuracy_is_that_of_the_rows_as_they_were_met() -> None:
    (model, _, history), _ = both(Digits(batch_size=1797), epochs=2)
    data = Digits(batch_size=1797)
    fresh = MLP(10, (32, 16), 0.2)
    x, y = next(iter(data.train_dataloader()))
    assert history[0].train_accuracy == pytest.approx(fresh.accuracy(fresh(x), y), abs=1e-9)
    assert history[1].train_accuracy != history[0].train_accuracy
    assert model.batches == 2


def test_two_runs_and_thread_counts_give_equal_bytes() -> None:
    models = []
    for threads in (1, 1, 2, 3):
        model = MLP(10, 64, 0.2, dropout=0.2)
        Trainer(2, threads=threads).fit(model, Digits(batch_size=64))
        models.append(bytes_of(model))
    assert len(set(models)) == 1


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("affine", [False, True])
def test_rows_of_every_type(kind: Any, affine: bool, rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (150, 12)).astype(kind)
    y = (x.astype(float).sum(axis=1) > 12 * 127).astype(np.int64)
    options: Any = {"scale": 1 / 256, "shift": rng.normal(size=12)} if affine else {}
    if not affine:
        x = (x // 64).astype(kind)
    data = ArrayDataModule(x, y, x[:40], y[:40], batch_size=32, **options)
    histories = []
    for trainer in (Trainer(4), Stepwise(4)):
        model = MLP(2, 8, 0.1, seed=1)
        histories.append([(r.train_loss, r.val_loss) for r in trainer.fit(model, data)])
        assert evaluate(model, data).mean_loss == pytest.approx(histories[-1][-1][1], rel=1e-6)
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-4)


def test_data_with_loaders_alone() -> None:
    """Without arrays the batches of the loader take the same pass."""

    class Loaded(Digits):
        def train_dataloader(self) -> Any:
            return super().train_dataloader()

    data = Loaded(batch_size=100)
    assert data.arrays(True) is None
    check_agreement(both(data, dtype=np.float64), 1e-12)


def test_mapped_rows(tmp_path: Path) -> None:
    """The file is looked at first: rows of one that has shrunk would end the process."""
    x, y = np.random.default_rng(0).random((60, 5), np.float32), np.arange(60) % 3
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    results = []
    for rows in (x, mapped):
        model = MLP(3, 4, 0.5)
        trainer = Trainer(2)
        trainer.fit(model, ArrayDataModule(rows, y, batch_size=16))
        assert trainer.fused
        results.append(bytes_of(model))
    assert results[0] == results[1]


def test_what_was_replaced_is_heard() -> None:
    """A method of one's own, on the class or the object, is called: step by step."""

    class Doubled(MLP):
        def loss(self, y_hat: Any, y: Any, averaged: bool = True) -> Any:
            return 2 * super().loss(y_hat, y, averaged)

    class Hooked(SGD):
        def step(self) -> None:
            super().step()

    data = Digits(batch_size=100)
    trainer = Trainer(1)
    once = trainer.fit(MLP(10, 8, 0.1), data)[0]
    assert trainer.fused
    twice = trainer.fit(Doubled(10, 8, 0.1), data)[0]
    assert not trainer.fused
    assert twice.train_loss == pytest.approx(2 * once.train_loss, rel=1e-5)
    model = MLP(10, 8, 0.1)
    model.backward = lambda batch: None  # type: ignore[method-assign]
    trainer.fit(model, data)
    assert not trainer.fused
    layered = MLP(10, 8, 0.1)
    layered.layers[0].forward = lambda x: x  # type: ignore[method-assign]
    trainer.fit(layered, data)
    assert not trainer.fused
    for rule, fused in ((lambda params: Hooked(params, 0.1), False), (None, True)):
        trainer = Trainer(1, optimizer=rule)
        trainer.fit(MLP(10, 8, 0.1), data)
        assert trainer.fused == fused


def test_layers_of_different_activations() -> None:
    """The layers say what is computed, not what the model was made with."""
    models = []
    for trainer_class in (Trainer, Stepwise):
        model = MLP(10, (16, 12), 0.2, "tanh", dtype=np.float64)
        model.layers[1].activation = "sigmoid"
        trainer_class(2).fit(model, Digits(batch_size=100))
        models.append(model)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-4)
    other = MLP(10, (16, 12), 0.2, "tanh", dtype=np.float64)
    Trainer(2).fit(other, Digits(batch_size=100))
    assert bytes_of(other) != bytes_of(models[0])


def test_layers_are_taken_in_their_order() -> None:
    """And not in that in which a subclass made them its attributes."""

    class Headed(MLP):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.head: Any = None
            super().__init__(*arguments, **options)
            self.head = self.layers[-1]

    losses = []
    for model_class in (MLP, Headed):
        data = ArrayDataModule(np.eye(12, dtype=np.float32), np.arange(12), batch_size=4)
        history = Trainer(2).fit(model_class(12, 12, 0.5), data)
        losses.append([record.train_loss for record in history])
    assert losses[0] == losses[1]


def test_older_gradients_are_gone() -> None:
    model = MLP(10, 8, 0.1)
    x, y = next(iter(Digits(batch_size=50).train_dataloader()))
    model.backward((x, y))
    Trainer(1).fit(model, Digits(batch_size=100))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_features_that_the_dtype_cannot_hold() -> None:
    x, y = np.ones((10, 3)), np.arange(10) % 2
    x[5, 1] = 1e300
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="row 5 of the"):
        Trainer(1).fit(MLP(2, 4, 0.1), ArrayDataModule(x, y, batch_size=4))


def test_a_part_of_the_parameters() -> None:
    """An optimizer of the last layer alone leaves the others as they are."""
    model = MLP(10, 16, 0.2)
    model.infer(64)
    before = model.layers[0].weight.data.copy()
    Trainer(1, optimizer=lambda params: SGD(params[2:], 0.2)).fit(model, Digits())
    assert np.array_equal(model.layers[0].weight.data, before)
    assert model.layers[1].bias.data.any()


def small(x: Any, y: Any) -> ArrayDataModule:
    return ArrayDataModule(x, y, batch_size=4)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "an infinite value")])
@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])  # read where they lie, and converted
def test_bad_features_are_named(value: float, what: str, trainer_class: Any, dtype: Any) -> None:
    x, y = np.ones((10, 3), dtype), np.arange(10) % 2
    x[7, 1] = value
    model = MLP(2, 4, 0.1)
    model.infer(3)
    with pytest.raises(
        FloatingPointError, match=f"row 7 of the training data holds {what}"
    ) as caught:
        trainer_class(3).fit(model, small(x, y))
    assert "was not applied" in str(caught.value)
    assert all(np.isfinite(parameter.data).all() for parameter in model.parameters())


def test_bad_features_of_a_loader_are_named() -> None:
    class Loaded(ArrayDataModule):
        def train_dataloader(self) -> Any:
            return list(super().train_dataloader())  # which rows they are, a list does not tell

    x = np.ones((10, 3), np.float32)
    x[7, 1] = -np.inf
    data = Loaded(x, np.arange(10) % 2, batch_size=10)
    (row,) = np.flatnonzero(np.isinf(next(iter(data.train_dataloader()))[0]).any(axis=1))
    text = rf"row {row} of the batch in step 0 of epoch 0 .* holds an infinite value"
    with pytest.raises(FloatingPointError, match=text):
        Trainer(1).fit(MLP(2, 4, 0.1), data)


def test_a_loss_that_grows_beyond_all_numbers() -> None:
    x, y = np.full((8, 3), 1e30, np.float32), np.arange(8) % 2
    model = MLP(2, 4, 1e10)
    model.infer(3)
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            FloatingPointError, match=r"loss is (nan|inf|not finite) in step \d+ of epoch \d"
        ),
    ):
        Trainer(5).fit(model, small(x, y))


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], [0, -1, 1, 1]])
def test_labels_outside_the_classes(labels: Any) -> None:
    model = MLP(2, 4, 0.1)
    row = 2 if 2 in labels else 1
    with pytest.raises(IndexError, match=rf"y\[{row}\] is {labels[row]}; accepted: 0 to 1"):
        Trainer(1).fit(model, small(np.ones((4, 3), np.float32), labels))
    assert not model.layers[0].weight.is_initialized
    model.infer(3)
    with pytest.raises(IndexError, match=rf"y\[{row}\]"):
        evaluate(model, ArrayDataModule(np.ones((4, 3)), [0, 1, 0, 1], np.ones((4, 3)), labels))


def test_distributions_are_no_targets_here() -> None:
    with pytest.raises((TypeError, ValueError), match=r"y has|integer"):
        Trainer(1).fit(MLP(2, 4, 0.1), small(np.ones((4, 3), np.float32), np.full((4, 2), 0.5)))


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="the training data have no rows"):
        Trainer(1).fit(MLP(2, 4, 0.1), small(np.ones((0, 3), np.float32), np.zeros(0, np.int64)))
