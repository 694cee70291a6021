"""The models from scratch: they learn what the models on the kernels learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import softstep
from softstep import (
    MLP,
    Digits,
    LinearRegression,
    LinearRegressionScratch,
    MLPScratch,
    ModelFileError,
    SoftmaxRegression,
    SoftmaxRegressionScratch,
    SyntheticRegressionData,
    Trainer,
    WeightDecay,
    WeightDecayScratch,
)
from softstep.data import ArrayDataModule

MAKE: dict[str, Any] = {
    "linear": lambda: LinearRegressionScratch(4, 0.1),
    "weight decay": lambda: WeightDecayScratch(4, 3.0, 0.1),
    "softmax": lambda: SoftmaxRegressionScratch(4, 3, 0.1),
    "mlp": lambda: MLPScratch(4, 3, 5, 0.1),
}


def batch(rng: np.random.Generator, model: Any, rows: int = 6) -> tuple[Any, Any]:
    x = rng.normal(size=(rows, 4))
    if isinstance(model, LinearRegressionScratch):
        return x, rng.normal(size=(rows, 1))
    return x, rng.integers(0, 3, rows)


def widen(model: Any, rng: np.random.Generator) -> None:
    """Parameters of any size, in float64."""
    for parameter in model.parameters():
        parameter.data = rng.normal(size=parameter.shape)


@pytest.mark.parametrize("name", MAKE)
def test_gradient_is_that_of_the_loss(name: str, rng: np.random.Generator) -> None:
    model = MAKE[name]()
    widen(model, rng)
    given = batch(rng, model)
    while name == "mlp" and np.abs(given[0] @ model.W1.data + model.b1.data).min() < 2e-3:
        given = batch(rng, model)  # no difference may reach across the kink of a ReLU
    model.backward(given)
    for parameter in model.parameters():
        flat, gradient = parameter.data.reshape(-1), parameter.grad.reshape(-1)
        for i in range(flat.size):
            h, value = 1e-4, flat[i]
            terms = []
            for step, factor in ((2, -1), (1, 8), (-1, -8), (-2, 1)):  # fourth order
                flat[i] = value + step * h
                terms.append(factor * float(model.training_step(given)))
            flat[i] = value
            numeric = sum(terms) / (12 * h)
            assert abs(numeric - gradient[i]) <= 1e-9 + 1e-6 * abs(gradient[i])


def test_linear_regression_learns_the_same() -> None:
    """Half the squared error with twice the learning rate is the squared error."""
    data = SyntheticRegressionData([2, -3.4], 4.2, seed=1)
    scratch, concise = LinearRegressionScratch(2, lr=0.06), LinearRegression(lr=0.03)
    concise.infer(2)
    concise.weight.data[:] = scratch.w.data.T
    Trainer(3).fit(scratch, data)
    Trainer(3).fit(concise, data)
    weight, bias = concise.get_w_b()
    # 96 steps that each round a sum of 32 terms of size 1 and shrink what was there before
    close = {"rtol": 0, "atol": 32 * np.finfo(np.float32).eps}
    np.testing.assert_allclose(scratch.w.data.T, weight, **close)
    np.testing.assert_allclose(scratch.b.data, bias, **close)


def test_weight_decay_learns_the_same() -> None:
    """As above; the penalty counts twice beside half the error."""
    data = SyntheticRegressionData(np.full(20, 0.1), 0.5, num_train=40, batch_size=8)
    scratch, concise = WeightDecayScratch(20, lambd=1.5, lr=0.02), WeightDecay(wd=3, lr=0.01)
    concise.infer(20)
    concise.weight.data[:] = scratch.w.data.T
    Trainer(5).fit(scratch, data)
    Trainer(5).fit(concise, data)
    weight, bias = concise.get_w_b()
    close = {"rtol": 0, "atol": 32 * np.finfo(np.float32).eps}
    np.testing.assert_allclose(scratch.w.data.T, weight, **close)
    np.testing.assert_allclose(scratch.b.data, bias, **close)
    assert np.abs(weight).max() > 100 * close["atol"]


def test_softmax_regression_learns_the_same() -> None:
    data = Digits(batch_size=100)
    scratch, concise = SoftmaxRegressionScratch(64, 10, lr=0.2), SoftmaxRegression(10, lr=0.2)
    concise.infer(64)
    concise.weight.data[:] = scratch.W.data.T
    first = Trainer(4).fit(scratch, data)
    second = Trainer(4).fit(concise, data)
    # 4 epochs of lr .2: the gradients' roundings, a few eps each, add up
    close = {"rtol": 0, "atol": 200 * np.finfo(np.float32).eps}
    np.testing.assert_allclose(scratch.W.data.T, concise.weight.data, **close)
    np.testing.assert_allclose(scratch.b.data, concise.bias.data, **close)
    for mine, other in zip(first, second, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert mine.val_accuracy == pytest.approx(other.val_accuracy, abs=0.01)


def test_mlp_learns_the_same() -> None:
    data = Digits(batch_size=100)
    scratch = MLPScratch(64, 10, 32, lr=0.2, sigma=0.1)
    concise = MLP(10, 32, lr=0.2)
    concise.infer(64)
    pairs = (("W1", "b1"), ("W2", "b2"))
    for layer, names in zip(concise.layers, pairs, strict=True):
        layer.weight.data[:] = getattr(scratch, names[0]).data.T
    first = Trainer(4).fit(scratch, data)
    second = Trainer(4).fit(concise, data)
    # As above, with roundings that a second layer multiplies by its weights of up to about 1
    close = {"rtol": 0, "atol": 1000 * np.finfo(np.float32).eps}
    for layer, names in zip(concise.layers, pairs, strict=True):
        np.testing.assert_allclose(getattr(scratch, names[0]).data.T, layer.weight.data, **close)
        np.testing.assert_allclose(getattr(scratch, names[1]).data, layer.bias.data, **close)
    for mine, other in zip(first, second, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert mine.val_accuracy == pytest.approx(other.val_accuracy, abs=0.01)


def test_large_logits_stay_finite() -> None:
    """What the course code does not do: subtract the maximum."""
    softmax = SoftmaxRegressionScratch(2, 2, 0.1)
    softmax.W.data = np.array([[1e4, -1e4], [0, 0]], np.float32)
    x = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    assert softmax(x).tolist() == [[1, 0], [0, 1]]
    assert np.isfinite(softmax.loss(softmax(x), [1, 0]))  # quite wrong, and still a number
    assert softmax.loss(softmax(x), [0, 1]) == 0
    mlp = MLPScratch(2, 2, 2, 0.1)
    mlp.W1.data = np.eye(2, dtype=np.float32)
    mlp.W2.data = np.array([[1e4, -1e4], [0, 0]], np.float32)
    assert mlp.loss(mlp(x[:1]), [1]) == 2e4
    mlp.backward((x, [1, 0]))
    assert all(np.isfinite(parameter.grad).all() for parameter in mlp.parameters())


@pytest.mark.parametrize("name", ["softmax", "mlp"])
def test_labels_do_not_wrap(name: str, rng: np.random.Generator) -> None:
    model = MAKE[name]()
    x, _ = batch(rng, model)
    for labels, row in (([0, 1, 2, 3, 0, 1], 3), ([0, -1, 2, 7, 0, 1], 1)):
        with pytest.raises(IndexError, match=rf"y\[{row}\] is {labels[row]}; accepted: 0 to 2"):
            model.loss(model(x), labels)
        with pytest.raises(IndexError, match=rf"y\[{row}\]"):
            model.backward((x, labels))
    with pytest.raises(ValueError, match=r"y has the shape \(5,\); accepted: \(6,\)"):
        model.loss(model(x), [0, 1, 2, 0, 1])
    with pytest.raises(TypeError, match="integer"):
        model.loss(model(x), [0.5] * 6)


def test_targets_do_not_broadcast() -> None:
    model = LinearRegressionScratch(2, 0.1)
    y_hat = np.array([[1.0], [3.0]], np.float32)
    assert model.loss(y_hat, [1, 1]) == model.loss(y_hat, [[1], [1]]) == 1.0
    for y in (np.zeros((1, 2)), np.zeros(3), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="y has the shape"):
            model.loss(y_hat, y)


@pytest.mark.parametrize("name", MAKE)
def test_round_trip(name: str, tmp_path: Any) -> None:
    model = MAKE[name]()
    model.save(tmp_path / "model")
    again = softstep.load(tmp_path / "model")
    assert type(again) is type(model)
    assert again.hyperparameters() == model.hyperparameters()
    for mine, other in zip(again.parameters(), model.parameters(), strict=True):
        assert np.array_equal(mine.data, other.data)


def test_a_file_does_not_make_a_model_allocate(tmp_path: Any) -> None:
    """The shapes are compared with the file's before the constructor draws its parameters."""
    model = MLPScratch(4, 3, 5, 0.1)
    model.hparams = dict(model.hparams) | {"num_inputs": 2**50}
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"W1 is float32 \(4, 5\); accepted"):
        softstep.load(tmp_path / "model")
    model.hparams = {"num_inputs": 4}
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="'num_hiddens' is missing"):
        softstep.load(tmp_path / "model")


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_inputs", 0), ("num_inputs", 1.5), ("lr", -1), ("sigma", float("nan")), ("seed", -1)],
)
def test_arguments_are_checked(name: str, argument: str, value: Any) -> None:
    model = MAKE[name]()
    options = model.hyperparameters() | {argument: value}
    with pytest.raises((TypeError, ValueError), match=f"{argument} is .*; accepted: "):
        type(model)(**options)


def test_images_are_flattened_and_probabilities_sum_to_one(rng: np.random.Generator) -> None:
    images = rng.random((7, 1, 2, 2)).astype(np.float32)
    for model in (SoftmaxRegressionScratch(4, 3, 0.1), MLPScratch(4, 3, 5, 0.1)):
        proba = model.predict_proba(images)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-6)
        assert np.array_equal(proba.argmax(axis=1), model.predict(images.reshape(7, 4)))


@pytest.mark.parametrize("rows", [np.float32, np.float64])
@pytest.mark.parametrize("targets", [np.float32, np.float64])
def test_regression_on_either_dtype(rows: Any, targets: Any) -> None:
    """Arrays as NumPy makes them, float64, train parameters of float32."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, 2.0, 3.0] + 0.5
    data = ArrayDataModule(x.astype(rows), y.astype(targets), batch_size=20)
    model = LinearRegressionScratch(3, lr=0.3)
    Trainer(max_epochs=5).fit(model, data)
    assert model.w.dtype == np.float32
    np.testing.assert_allclose(model.w.data.ravel(), [1, 2, 3], atol=1e-3)


def test_regression_of_images(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(40, 1, 2, 2)), rng.normal(size=40)
    for make in (LinearRegressionScratch, lambda *args: WeightDecayScratch(4, 0.5, 0.1)):
        one, other = make(4, 0.1), make(4, 0.1)
        Trainer(1).fit(one, ArrayDataModule(x, y, batch_size=8))
        Trainer(1).fit(other, ArrayDataModule(x.reshape(40, 4), y, batch_size=8))
        np.testing.assert_array_equal(one.w, other.w)
