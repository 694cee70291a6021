"""Callbacks: order of the events, early stopping, learning rates; the fused path stays."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Softmax, Stepwise, small, state

from softstep import (
    SGD,
    Adam,
    AdamW,
    Callback,
    ConstantLR,
    CosineLR,
    Digits,
    EarlyStopping,
    EpochRecord,
    LearningRateSchedule,
    LinearRegression,
    RMSprop,
    SoftmaxRegression,
    StepLR,
    SyntheticRegressionData,
    Trainer,
    WarmUp,
    make_optimizer,
)
from softstep.training.early_stopping import Best

BOTH_WAYS = pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])


def record(epoch: int, **values: Any) -> EpochRecord:
    given = {"train_loss": 1.0, "train_accuracy": None, "val_loss": None, "val_accuracy": None}
    return EpochRecord(epoch=epoch, seconds=0.1, rows_per_second=1.0, **{**given, **values})


class Noting(Callback):
    """Notes every event; every other step."""

    every_steps = 2

    def __init__(self, name: str = "", notes: list[Any] | None = None) -> None:
        self.name = name
        self.notes: list[Any] = [] if notes is None else notes

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.notes.append((self.name + "fit begin", trainer.num_train_batches))

    def on_epoch_begin(self, trainer: Trainer) -> None:
        self.notes.append((self.name + "epoch begin", trainer.epoch, trainer.epoch_step))

    def on_step_begin(self, trainer: Trainer) -> None:
        self.notes.append((self.name + "step", trainer.step, trainer.epoch_step))

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        assert trainer.history[-1] is record
        self.notes.append((self.name + "epoch end", record.epoch, trainer.epoch))

    def on_fit_end(self, trainer: Trainer) -> None:
        self.notes.append((self.name + "fit end", trainer.step))


@BOTH_WAYS
def test_events_come_in_order_and_the_fused_path_stays(trainer_class: Any) -> None:
    noting = Noting()
    trainer = trainer_class(2, callbacks=[noting])
    trainer.fit(SoftmaxRegression(2, 0.1), small())  # 3 batches an epoch
    assert trainer.fused is (trainer_class is Trainer)
    assert noting.notes == [
        ("fit begin", 3),
        ("epoch begin", 0, 0), ("step", 0, 0), ("step", 2, 2), ("epoch end", 0, 1),
        ("epoch begin", 1, 0), ("step", 4, 1), ("epoch end", 1, 2),
        ("fit end", 6),
    ]  # fmt: skip
    assert (trainer.step, trainer.epoch_step) == (6, 0)


def test_callbacks_come_in_their_order_and_last_ones_last() -> None:
    notes: list[Any] = []
    first, second, third = (Noting(name, notes) for name in "abc")
    first.last = True
    Trainer(1, callbacks=[first, second, third]).fit(SoftmaxRegression(2, 0.1), small())
    assert [note[0][0] for note in notes[:3]] == ["b", "c", "a"]
    assert [note[0][0] for note in notes[-3:]] == ["b", "c", "a"]


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_callbacks_change_no_bit_of_the_model(kind: str) -> None:
    found = set()
    for callbacks in ([], [Noting()], [LearningRateSchedule(ConstantLR(0.03), per="step")]):
        if kind == "softmax":
            model, data = SoftmaxRegression(10, 0.03), Digits()
        else:
            model, data = LinearRegression(0.03), SyntheticRegressionData([2, -3.4], 4.2)
        trainer = Trainer(2, callbacks=callbacks)
        trainer.fit(model, data)
        assert trainer.fused
        found.add(state(model))
    assert len(found) == 1


def test_wrong_callbacks() -> None:
    stopping = EarlyStopping()
    with pytest.raises(TypeError, match=r"callbacks\[1\] is a int; accepted: a Callback"):
        Trainer(1, callbacks=[stopping, 5])
    for wrong in (stopping, 5):
        with pytest.raises(TypeError, match=r"callbacks is a .*; accepted: a list of callbacks"):
            Trainer(1, callbacks=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds a callback twice"):
        Trainer(1, callbacks=[stopping, stopping])
    noting = Noting()
    noting.every_steps = 0
    with pytest.raises(ValueError, match=r"callbacks\[0\].every_steps is 0"):
        Trainer(1, callbacks=[noting]).fit(SoftmaxRegression(2, 0.1), small())


@BOTH_WAYS
def test_an_error_in_a_callback_ends_the_fit(trainer_class: Any) -> None:
    class Failing(Callback):
        def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
            raise ZeroDivisionError

    model, trainer = SoftmaxRegression(2, 0.1), trainer_class(3, callbacks=[Failing()])
    with pytest.raises(ZeroDivisionError):
        trainer.fit(model, small())
    assert len(trainer.history) == 1
    assert "trainer" not in vars(model)
    trainer_class(1).fit(model, small())  # the model is free again


def test_the_model_knows_its_trainer_while_it_is_fitted() -> None:
    seen = []

    class Looking(Mean):
        def training_step(self, batch: Any) -> Any:
            trainer = vars(self)["trainer"]
            seen.append((trainer.step, trainer.num_train_batches, trainer.num_val_batches))
            return super().training_step(batch)

    model, trainer = Looking(), Trainer(1)
    trainer.fit(model, small())
    assert seen == [(0, 3, 2), (1, 3, 2), (2, 3, 2)]
    assert "trainer" not in vars(model)
    assert trainer.num_train_batches is trainer.num_val_batches is None
    assert not trainer.has_validation


# Early stopping


class Scripted(Mean):
    """Its validation losses are given; its parameter counts the epochs."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = iter(losses)

    def backward(self, batch: Any) -> None:
        self.w.accumulate(np.full(1, -1 / (3 * self.lr)))  # three steps are 1

    def validation_step(self, batch: Any) -> Any:
        if len(batch[1]) == 4:  # the first of two batches
            self.loss_now = next(self.losses)
        return {"loss": self.loss_now, "accuracy": 1 - self.loss_now}


@pytest.mark.parametrize(
    ("losses", "options", "epochs", "best_epoch"),
    [
        ([3, 2, 1, 2, 3, 0], {"patience": 2}, 5, 2),
        ([3, 2, 1, 2, 3, 0], {"patience": 3}, 6, 5),
        ([3, 2, 1, 1, 1, 0], {"patience": 2}, 5, 2),  # equal is not better
        ([3, 2.9, 2.8, 2.7, 0], {"patience": 3, "min_delta": 1}, 4, 0),
        ([3, 2.9, 2.8, 1.9, 3, 3, 3, 0], {"patience": 3, "min_delta": 1}, 7, 3),
        ([math.nan, 2, math.nan, 3, 0], {"patience": 2}, 4, 1),
        ([3, 2, 1], {"patience": 1}, 3, 2),  # not stopped
    ],
)
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(
    losses: list[float], options: Any, epochs: int, best_epoch: int, monitor: str, restore: bool
) -> None:
    stopping = EarlyStopping(monitor, restore_best=restore, **options)
    model = Scripted(losses)
    trainer = Trainer(len(losses), callbacks=[stopping])
    history = trainer.fit(model, small())
    assert len(history) == epochs
    assert stopping.best_epoch == best_epoch
    value = losses[best_epoch] if monitor == "val_loss" else 1 - losses[best_epoch]
    assert stopping.best == pytest.approx(value, abs=1e-12)
    assert stopping.stopped_epoch == (epochs - 1 if epochs < len(losses) else None)
    assert stopping.waited == epochs - 1 - best_epoch
    assert model.w.data[0] == pytest.approx(1 + best_epoch if restore else epochs)


def test_early_stopping_begins_anew_at_each_fit() -> None:
    stopping = EarlyStopping(patience=1)
    trainer = Trainer(9, callbacks=[stopping])
    assert len(trainer.fit(Scripted([1, 2]), small())) == 2
    assert len(trainer.fit(Scripted([9, 8, 9]), small())) == 3
    assert (stopping.best, stopping.best_epoch) == (8, 1)
    assert pickle.loads(pickle.dumps(stopping)).best == 8


def test_early_stopping_on_digits_gives_back_the_best_parameters() -> None:
    stopping = EarlyStopping("val_loss", patience=2)
    model, data = SoftmaxRegression(10, 40.0), Digits()  # so large a rate that the loss jumps
    trainer = Trainer(200, callbacks=[stopping])
    history = trainer.fit(model, data)
    assert trainer.fused
    assert len(history) < 200
    twin = SoftmaxRegression(10, 40.0)
    Trainer(stopping.best_epoch + 1).fit(twin, data)
    assert state(model) == state(twin)
    assert stopping.best == min(r.val_loss for r in history)


def test_early_stopping_needs_what_it_monitors() -> None:
    data = small(val=False)
    with pytest.raises(ValueError, match="'val_loss', but the data module has no validation data"):
        Trainer(1, callbacks=[EarlyStopping()]).fit(SoftmaxRegression(2, 0.1), data)
    with pytest.raises(ValueError, match="'val_accuracy', which this training does not measure"):
        Trainer(1, callbacks=[EarlyStopping("val_accuracy")]).fit(Mean(), small())
    Trainer(1, callbacks=[EarlyStopping("train_accuracy")]).fit(SoftmaxRegression(2, 0.1), data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "loss"}, "monitor is 'loss'; accepted: 'val_loss'"),
        ({"patience": 0}, "patience is 0; accepted: an integer of at least 1"),
        ({"patience": 1.5}, "patience is 1.5"),
        ({"min_delta": -1}, "min_delta is -1"),
    ],
)
def test_wrong_settings_of_early_stopping(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        EarlyStopping(**options)


def test_best_compares_losses_downwards_and_accuracies_upwards() -> None:
    loss, accuracy = Best("train_loss"), Best("val_accuracy")
    assert loss.improves(record(0, train_loss=2.0))
    assert not loss.improves(record(1, train_loss=3.0))
    assert accuracy.improves(record(0, val_accuracy=0.2))
    assert accuracy.improves(record(1, val_accuracy=0.3))
    assert (loss.epoch, accuracy.epoch) == (0, 1)


# Learning rates

SCHEDULES = [
    ConstantLR(0.3),
    StepLR(0.3, 2),
    CosineLR(0.3, 7, 0.01),
    WarmUp(CosineLR(0.3, 5), 3, 0.1),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_schedules_are_small_values(schedule: Any) -> None:
    twin = pickle.loads(pickle.dumps(schedule))
    assert twin == schedule == copy.deepcopy(schedule)
    assert hash(twin) == hash(schedule)
    assert [twin(t) for t in range(20)] == [schedule(t) for t in range(20)]
    assert all(0 <= schedule(t) <= 0.3 for t in (0, 1, 10**9))


def test_schedules_agree_with_their_formulas() -> None:
    assert [StepLR(8.0, 3, 0.5)(t) for t in range(7)] == [8, 8, 8, 4, 4, 4, 2]
    cosine = CosineLR(2.0, 10, 1.0)
    for t in range(11):
        assert cosine(t) == pytest.approx(1 + (1 + math.cos(math.pi * t / 10)) / 2, rel=1e-15)
    assert cosine(10) == cosine(1000) == 1.0
    warm = WarmUp(ConstantLR(1.0), 4, 0.2)
    assert [warm(t) for t in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_schedules_agree_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for schedule, make in (
        (StepLR(0.8, 3, 0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
        (CosineLR(0.8, 9, 0.1), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9, 0.1)),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.8)
        theirs = make(optimizer)
        for epoch in range(10):
            # PyTorch multiplies what it has, ten times
            assert schedule(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
            optimizer.step()
            theirs.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantLR(-1), "lr is -1; accepted: a finite number of at least 0"),
        (lambda: ConstantLR("x"), "lr is 'x'"),  # type: ignore[arg-type]
        (lambda: StepLR(0.1, 0), "every is 0; accepted: an integer of at least 1"),
        (lambda: StepLR(0.1, 1, -0.1), "factor is -0.1"),
        (lambda: CosineLR(0.1, 1.5), "count is 1.5"),  # type: ignore[arg-type]
        (lambda: CosineLR(0.1, 2, math.nan), "final_lr is nan"),
        (lambda: WarmUp(0.1, 2), "schedule is a float"),  # type: ignore[arg-type]
        (lambda: WarmUp(ConstantLR(0.1), 2, -1), "first_lr is -1"),
        (lambda: LearningRateSchedule(0.1), "schedule is a float"),  # type: ignore[arg-type]
        (lambda: LearningRateSchedule(ConstantLR(1), per="row"), "per is 'row'"),
    ],
)
def test_wrong_settings_of_schedules(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@BOTH_WAYS
@pytest.mark.parametrize("per", ["epoch", "step"])
def test_the_learning_rate_follows_the_schedule(trainer_class: Any, per: str) -> None:
    rates: list[float] = []

    class Watching(Callback):
        every_steps = 1

        def on_step_begin(self, trainer: Trainer) -> None:
            rates.append(trainer.optim.lr)

    schedule = StepLR(0.8, 1, 0.5)
    trainer = trainer_class(3, callbacks=[LearningRateSchedule(schedule, per=per), Watching()])
    model = SoftmaxRegression(2, 0.1)
    trainer.fit(model, small())
    assert rates == [schedule(step // 3 if per == "epoch" else step) for step in range(9)]
    # Whose steps these rates were: the same by hand
    twin, loader = SoftmaxRegression(2, 0.1), small().train_dataloader()
    twin.infer(3)
    optimizer = SGD(twin.parameters(), 0.1)
    for step, batch in enumerate(batch for _ in range(3) for batch in loader):
        optimizer.lr = rates[step]
        optimizer.zero_grad()
        twin.backward(batch)
        optimizer.step()
    # 9 steps that move by at most 1 each, their sums of 7 terms rounded
    bound = 9 * 7 * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(model.weight, twin.weight, rtol=0, atol=bound)


def test_a_rate_that_is_none_is_refused() -> None:
    trainer = Trainer(3, callbacks=[LearningRateSchedule(lambda epoch: 1 - epoch)])
    model = SoftmaxRegression(2, 0.1)
    with pytest.raises(ValueError, match="the learning rate of epoch 2 is -1; accepted"):
        trainer.fit(model, small())
    assert len(trainer.history) == 2

    class NoRate:
        def step(self) -> None: ...
        def zero_grad(self) -> None: ...

    class Without(Mean):
        def configure_optimizers(self) -> Any:
            return NoRate()

    with pytest.raises(TypeError, match="a NoRate, which has no attribute lr"):
        Trainer(1, callbacks=[LearningRateSchedule(ConstantLR(1))]).fit(Without(), small())


# The trainer's optimizer


@pytest.mark.parametrize(
    ("name", "kind", "attributes"),
    [
        ("sgd", SGD, {"momentum": 0.0}),
        ("momentum", SGD, {"momentum": 0.9, "nesterov": False}),
        ("nesterov", SGD, {"momentum": 0.9, "nesterov": True}),
        ("rmsprop", RMSprop, {}),
        ("adam", Adam, {}),
        ("adamw", AdamW, {"weight_decay": 0.01}),
    ],
)
def test_optimizers_by_name(name: str, kind: Any, attributes: Any) -> None:
    trainer = Trainer(1, optimizer=name)
    trainer.fit(SoftmaxRegression(2, 0.25), small())
    assert type(trainer.optim) is kind
    assert trainer.optim.lr == 0.25
    assert trainer.fused
    for attribute, value in attributes.items():
        assert getattr(trainer.optim, attribute) == value


def test_an_optimizer_from_a_function() -> None:
    trainer = Trainer(1, optimizer=lambda params: make_optimizer("momentum", params, 0.5))
    trainer.fit(SoftmaxRegression(2, 0.25), small())
    assert (trainer.optim.lr, trainer.optim.momentum, trainer.fused) == (0.5, 0.9, True)
    assert make_optimizer("momentum", trainer.optim.params, 0.1, momentum=0.5).momentum == 0.5


def test_unknown_optimizers_and_wrong_rates() -> None:
    with pytest.raises(ValueError, match="optimizer is 'adma'; accepted: 'sgd', 'momentum'"):
        Trainer(1, optimizer="adma")
    with pytest.raises(ValueError, match="optimizer is None; accepted: 'sgd'"):
        make_optimizer(None, [], 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optimizer is a int"):
        Trainer(1, optimizer=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"optimizer\(parameters\) returned a NoneType"):
        Trainer(1, optimizer=lambda params: None).fit(Mean(), small())
    for wrong in (-0.1, math.inf, math.nan, "fast"):
        with pytest.raises((TypeError, ValueError), match="lr is"):
            SoftmaxRegression(2, wrong)  # type: ignore[arg-type]
        with pytest.raises((TypeError, ValueError), match="lr is"):
            make_optimizer("adam", Mean().parameters(), wrong)  # type: ignore[arg-type]

    class NoRate(Mean):
        def __init__(self) -> None:
            super().__init__()
            del self.lr

    with pytest.raises(TypeError, match="this NoRate has no attribute lr"):
        Trainer(1, optimizer="sgd").fit(NoRate(), small())


def test_the_settings_of_an_optimizer_do_not_reach_another_fit() -> None:
    trainer = Trainer(2, callbacks=[LearningRateSchedule(StepLR(0.5, 1))])
    first, second = Softmax(2, 0.1), Softmax(2, 0.1)
    first.sgd = second.sgd = {}
    trainer.fit(first, small())
    trainer.fit(second, small())
    assert state(first) == state(second)
