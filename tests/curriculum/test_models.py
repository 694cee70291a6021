"""The course material's section on models and training, row by row: what the models must do."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from softstep import (
    MLP,
    MNIST,
    Classifier,
    Digits,
    FashionMNIST,
    LinearRegression,
    LinearRegressionScratch,
    Module,
    Parameter,
    SoftmaxRegression,
    SoftmaxRegressionScratch,
    SyntheticRegressionData,
    Trainer,
    WeightDecay,
    WeightDecayScratch,
    add_to_class,
    kernels,
)

row = pytest.mark.curriculum
W, B = np.array([2, -3.4]), 4.2


def images(kind: Any) -> Any:
    """MNIST or Fashion-MNIST in batches of 256, if its files are there."""
    if not os.environ.get("SOFTSTEP_DATA"):
        pytest.skip("MNIST files not found (set SOFTSTEP_DATA)")
    try:
        return kind(batch_size=256)
    except FileNotFoundError:
        name = "Fashion-MNIST" if kind is FashionMNIST else "MNIST"
        pytest.skip(f"{name} files not found (set SOFTSTEP_DATA)")


class Line(Module):
    """A model of one's own, with every method the row names."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.w = Parameter(np.zeros(1))
        self.steps = 0

    def forward(self, x: Any) -> Any:
        return x * self.w.data

    def loss(self, y_hat: Any, y: Any) -> Any:
        return ((y_hat - y) ** 2).mean() / 2

    def backward(self, batch: Any) -> None:
        x, y = batch
        self.w.accumulate(((self(x) - y) * x).mean(axis=0))

    def training_step(self, batch: Any) -> Any:
        self.steps += 1
        return super().training_step(batch)


@row("models", "Module and Classifier")
def test_module_and_classifier() -> None:
    """Module (forward, loss, training_step, validation_step, configure_optimizers, plot,
    parameters), Classifier (accuracy(averaged=))."""
    model = Line()
    x = np.linspace(-1, 1, 64).reshape(-1, 1)
    assert model.parameters() == [model.w]
    assert model.validation_step((x, 2 * x))["loss"] == model.loss(model(x), 2 * x)
    optimizer = model.configure_optimizers()
    for _ in range(200):
        optimizer.zero_grad()
        model.training_step((x, 2 * x))
        model.backward((x, 2 * x))
        optimizer.step()
    # the curvature is the mean of x^2: each step leaves 1 - lr * curvature of the error
    left = 2 * (1 - 0.1 * (x**2).mean()) ** 200
    assert model.w.data[0] == pytest.approx(2 - left, abs=1e-12)
    assert model.steps == 200
    assert callable(model.plot)
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert Classifier().accuracy(logits, [1, 0, 0]) == pytest.approx(2 / 3)
    assert Classifier().accuracy(logits, [1, 0, 0], averaged=False).tolist() == [1, 1, 0]


@row("models", "save_hyperparameters")
def test_save_hyperparameters() -> None:
    """Attributes from the constructor's arguments."""
    model = Line(lr=0.25)
    assert model.lr == 0.25
    assert dict(model.hparams) == {"lr": 0.25}


@row("models", "add_to_class")
def test_add_to_class() -> None:
    """A method added after the object exists."""
    model = Line()

    @add_to_class(Line)
    def doubled(self: Line) -> Any:
        return 2 * self.lr

    try:
        assert model.doubled() == 0.2  # type: ignore[attr-defined]
    finally:
        del Line.doubled  # type: ignore[attr-defined]


def errors(make: Any, seed: int) -> Any:
    """How far the parameters are from (2, -3.4) and 4.2 after 3 epochs."""
    model, data = make(seed), SyntheticRegressionData(W, B, seed=seed)
    Trainer(max_epochs=3).fit(model, data)
    return [*(W - parameters(model)[:2]), B - parameters(model)[2]]


def parameters(model: Any) -> Any:
    """The two weights and the bias."""
    if isinstance(model, LinearRegressionScratch):
        return np.concatenate([model.w.data.ravel(), model.b.data])
    return np.concatenate([part.ravel() for part in model.get_w_b()])


@row("models", "LinearRegressionScratch")
def test_linear_regression_scratch() -> None:
    """w = (2, -3.4), b = 4.2, lr .03, 3 epochs, batch 32, half squared error: 96 steps leave
    (1 - .03)^96 = 5.4 % of each parameter: errors near (.107, -.183) and .226, not smaller."""
    assert pytest.approx(5.4, abs=0.05) == 100 * 0.97**96
    found = [errors(lambda seed: LinearRegressionScratch(2, 0.03, seed=seed), s) for s in range(12)]
    # The mean square of 32 features is 1 +- .25, which spreads single runs by a quarter.
    assert np.mean(found, axis=0) == pytest.approx([0.107, -0.183, 0.226], rel=0.15)
    assert np.all(np.abs(found) > 0.02)


@row("models", "LinearRegression")
def test_linear_regression() -> None:
    """Mean squared error: .94^96 = .26 %, errors near (.005, -.009) and .011; get_w_b()."""
    assert pytest.approx(0.26, abs=0.005) == 100 * 0.94**96
    found = [errors(lambda seed: LinearRegression(0.03, seed=seed), s) for s in range(12)]
    assert np.mean(found, axis=0) == pytest.approx([0.005, -0.009, 0.011], abs=0.0025)
    model = LinearRegression(0.03)
    Trainer(max_epochs=1).fit(model, SyntheticRegressionData(W, B))
    w, b = model.get_w_b()
    assert (w.shape, b.shape) == ((1, 2), (1,))
    assert w is model.weight.data


@row("models", "closed-form least squares")
def test_closed_form() -> None:
    """Trained long enough, linear regression ends at the closed-form least squares."""
    data = SyntheticRegressionData(W, B, noise=0.1, num_train=500, batch_size=500)
    design = np.column_stack([data.X[:500], np.ones(500)]).astype(np.float64)
    exact, *_ = np.linalg.lstsq(design, data.y[:500].astype(np.float64), rcond=None)
    for model in (LinearRegression(0.2), LinearRegressionScratch(2, 0.4)):
        Trainer(max_epochs=3).fit(model, data)  # 3 steps: not there yet
        assert np.abs(parameters(model) - exact.ravel()).max() > 0.1
        Trainer(max_epochs=200).fit(model, data)
        # float32: roundings of the gradient, sums of 500 terms of about 3, over the curvature of 1
        np.testing.assert_allclose(parameters(model), exact.ravel(), rtol=0, atol=2e-6)


@row("models", "SoftmaxRegressionScratch and SoftmaxRegression")
@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        pytest.param(MNIST, 0.915, 0.925, id="mnist"),
        pytest.param(FashionMNIST, 0.82, 0.85, id="fashion-mnist"),
    ],
)
def test_softmax_regression(kind: Any, low: float, high: float) -> None:
    """Weights N(0, .01), bias 0; lr .1, batch 256, 10 epochs: validation accuracy .82 to .85 on
    Fashion-MNIST, .915 to .925 on MNIST."""
    data = images(kind)
    model = SoftmaxRegression(num_outputs=10, lr=0.1)
    history = Trainer(max_epochs=10).fit(model, data)
    assert low <= history[-1].val_accuracy <= high
    scratch = SoftmaxRegressionScratch(num_inputs=784, num_outputs=10, lr=0.1)
    assert scratch.W.data.std() == pytest.approx(0.01, rel=0.05)
    assert not scratch.b.data.any()
    history = Trainer(max_epochs=10).fit(scratch, data)
    assert low <= history[-1].val_accuracy <= high


@row("models", "weight decay")
def test_weight_decay() -> None:
    """L2 on the weight only; 20 training rows, 200 inputs, lambda 3 against 0: validation loss
    falls with lambda 3."""
    data = SyntheticRegressionData(
        np.full((200, 1), 0.01), 0.05, num_train=20, num_val=100, batch_size=5
    )
    for make in (
        lambda lambd: WeightDecayScratch(200, lambd=lambd, lr=0.01),
        lambda lambd: WeightDecay(wd=lambd, lr=0.01),
    ):
        final = {}
        for lambd in (0, 3):
            model = make(lambd)
            history = Trainer(max_epochs=10).fit(model, data)
            weight = model.w if isinstance(model, WeightDecayScratch) else model.weight
            final[lambd] = history[-1].val_loss, float((weight.data**2).sum())
            assert lambd == 0 or history[-1].val_loss < history[0].val_loss
        assert final[3][0] < 0.75 * final[0][0]
        assert final[3][1] < 0.5 * final[0][1]
    model = WeightDecay(wd=3, lr=0.01)
    model.infer(2)
    model.weight.data[:], model.bias.data[:] = 1, 7
    model.backward((np.zeros((4, 2), np.float32), np.full(4, 7)))  # no error: the penalty alone
    assert model.weight.grad.tolist() == [[3, 3]]
    assert model.bias.grad.tolist() == [0]


@row("models", "MLP")
def test_mlp() -> None:
    """MLP(num_outputs, num_hiddens, lr) with ReLU, sigmoid or tanh; a stack of linear layers
    without them is one linear layer."""
    data = Digits()
    softmax = Trainer(max_epochs=20).fit(SoftmaxRegression(10, lr=0.5), data)[-1].val_accuracy
    for activation, lr in (("relu", 0.5), ("sigmoid", 2.0), ("tanh", 0.5)):
        model = MLP(num_outputs=10, num_hiddens=64, lr=lr, activation=activation)
        history = Trainer(max_epochs=20).fit(model, data)
        assert history[-1].val_accuracy > softmax
    linear = MLP(10, (32, 16), lr=0.1, activation=None, dtype=np.float64)
    Trainer(max_epochs=2).fit(linear, data)
    weight, bias = np.eye(64), np.zeros(64)
    for layer in linear.layers:
        weight, bias = layer.weight.data @ weight, layer.weight.data @ bias + layer.bias.data
    x, _ = next(iter(data.val_dataloader()))
    x = x.reshape(len(x), -1).astype(np.float64)
    np.testing.assert_allclose(linear(x), kernels.linear(x, weight, bias), rtol=1e-12, atol=1e-12)


def test_mlp_on_mnist() -> None:
    """256 hidden units, lr .1, batch 256, 10 epochs: test accuracy at least .94."""
    model = MLP(num_outputs=10, num_hiddens=256, lr=0.1)
    trainer = Trainer(max_epochs=10)
    history = trainer.fit(model, images(MNIST))
    assert trainer.fused
    assert history[-1].val_accuracy >= 0.94


@row("models", "model(X), train(), eval()")
def test_calls() -> None:
    """model(X), train(), eval(), flattening of images, input size inferred at the first batch."""
    x = np.random.default_rng(0).random((5, 1, 4, 6), np.float32)
    for make in (lambda: SoftmaxRegression(3, 0.1), lambda: MLP(3, 8, 0.1, dropout=0.5)):
        model = make()
        with pytest.raises(RuntimeError, match="has seen no data"):
            model.predict(x)
        model.eval()
        assert not model.training
        logits = model(x)
        assert logits.shape == (5, 3)
        assert np.array_equal(logits, model(x.reshape(5, 24)))
        first = model.weight if isinstance(model, SoftmaxRegression) else model.layers[0].weight
        assert first.shape[1] == 24
        model.train()
        assert model.training
        assert np.array_equal(model(x), logits) == isinstance(model, SoftmaxRegression)
