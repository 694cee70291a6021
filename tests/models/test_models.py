"""Parameters, modules, classifiers and the two models of the library."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from softstep import (
    MLP,
    SGD,
    Classifier,
    LinearRegression,
    LinearRegressionScratch,
    MLPScratch,
    Module,
    Parameter,
    SoftmaxRegression,
    SoftmaxRegressionScratch,
    WeightDecayScratch,
    reference,
)

MODELS = [
    pytest.param(lambda **options: SoftmaxRegression(3, 0.1, **options), id="softmax"),
    pytest.param(lambda **options: LinearRegression(0.1, num_outputs=3, **options), id="linear"),
]


# Parameter


def test_parameter_keeps_the_array() -> None:
    data = np.zeros((2, 3))
    assert Parameter(data).data is data
    assert Parameter([1.0, 2.0]).dtype == np.float32
    assert np.array_equal(np.asarray(Parameter([1.0, 2.0])), [1, 2])


@pytest.mark.parametrize("wrong", ["transposed", "read-only", "big-endian"])
def test_parameter_makes_an_array_that_kernels_can_change(wrong: str) -> None:
    data = np.arange(6.0).reshape(2, 3)
    given = {"transposed": data.T, "read-only": data.copy(), "big-endian": data.astype(">f8")}[
        wrong
    ]
    if wrong == "read-only":
        given.flags.writeable = False
    kept = Parameter(given).data
    assert np.array_equal(kept, given)
    assert kept.flags.c_contiguous
    assert kept.flags.writeable
    assert kept.dtype.isnative


@pytest.mark.parametrize("data", [[1, 2], np.zeros(2, np.float16), "ab", [None]])
def test_parameter_refuses_what_is_no_float(data: Any) -> None:
    with pytest.raises(TypeError, match="data has the dtype"):
        Parameter(data)


def test_parameter_checks_its_gradient() -> None:
    with pytest.raises(ValueError, match=r"grad has the shape \(2,\); accepted: \(3,\)"):
        Parameter(np.zeros(3), grad=np.zeros(2))


def test_parameter_without_values_says_so() -> None:
    with pytest.raises(RuntimeError, match="has no values yet"):
        _ = Parameter().data


def test_gradients_add_up() -> None:
    p = Parameter(np.zeros(2))
    p.accumulate(np.array([1.0, 2.0]))
    p.accumulate(np.array([1.0, 1.0]))
    assert p.grad is not None
    assert np.array_equal(p.grad, [2, 3])


# Module


class Empty(Module):
    def __init__(self) -> None:  # as a learner may forget to call the base class
        self.lr = 0.1
        self.w = Parameter([1.0])


@pytest.mark.parametrize("method", ["forward(x)", "loss(y_hat, y)", "backward(batch)"])
def test_missing_method_is_named(method: str) -> None:
    name, _, rest = method.partition("(")
    with pytest.raises(NotImplementedError, match="Empty defines no " + name) as caught:
        getattr(Empty(), name)(*[None] * (rest.count(",") + 1))
    assert ("no automatic differentiation" in str(caught.value)) == (name == "backward")


def test_module_finds_parameters_in_modules_and_lists_once() -> None:
    class Outer(Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Empty()
            self.more = [Parameter([2.0]), [Parameter([3.0])], 5, "text"]
            self.again = self.inner.w
            self.inner.outer = self  # type: ignore[attr-defined]

    outer = Outer()
    assert list(outer.named_parameters()) == ["inner.w", "more.0", "more.1.0"]
    assert [float(p.data[0]) for p in outer.parameters()] == [1, 2, 3]
    assert outer.eval() is outer
    assert (outer.training, outer.inner.training) == (False, False)
    outer.train()
    assert outer.inner.training


def test_default_optimizer_is_sgd_with_the_models_lr() -> None:
    model = Empty()
    optimizer = model.configure_optimizers()
    assert type(optimizer) is SGD
    assert optimizer.lr == 0.1
    assert optimizer.params == [model.w]


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_seed_is_checked(seed: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seed is"):
        SoftmaxRegression(2, 0.1, seed=seed)


# Classifier


def test_accuracy_ties_and_nan() -> None:
    logits = np.array([[1, 1, 0], [0, 1, 1], [np.nan, 5, 0], [0, 5, np.nan], [0, 0, 3]])
    each = Classifier().accuracy(logits, [0, 2, 1, 1, 2], averaged=False)
    assert each.tolist() == [1, 0, 0, 0, 1]
    assert each.dtype == np.float32
    assert Classifier().accuracy(logits, [0, 2, 1, 1, 2]) == 2 / 5
    assert np.isnan(Classifier().accuracy(np.zeros((0, 2)), np.zeros(0, int)))


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 2), (2,)), ((3, 0), (3,)), ((3, 2), (3, 1))])
def test_accuracy_checks_shapes(shapes: Any) -> None:
    with pytest.raises(ValueError, match="y_hat has the shape"):
        Classifier().accuracy(np.zeros(shapes[0]), np.zeros(shapes[1], int))


def test_classifier_loss_and_validation_step(rng: np.random.Generator) -> None:
    model = SoftmaxRegression(4, 0.1)
    x, y = rng.normal(size=(7, 5)).astype(np.float32), rng.integers(0, 4, 7)
    logits = model(x)
    rows = model.loss(logits, y, averaged=False)
    assert rows.shape == (7,)
    # the mean of 7 float32 losses near log(4): 8 roundings
    assert abs(model.loss(logits, y) - rows.mean()) <= 8 * np.finfo(np.float32).eps * 2
    measured = model.validation_step((x, y))
    assert measured["loss"] == model.loss(logits, y)
    assert measured["accuracy"] == model.accuracy(logits, y)


# Library models


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("dtype", [np.float32, "float64"])
def test_first_parameters(make: Any, dtype: Any) -> None:
    model = make(dtype=dtype, seed=3)
    assert not model.weight.is_initialized
    model(np.zeros((2, 1, 40, 50), np.float32))  # an image: flattened
    weight, bias = model.get_w_b()
    assert (weight.shape, bias.shape) == ((3, 2000), (3,))
    assert weight.dtype == bias.dtype == np.dtype(dtype)
    assert not bias.any()
    # 6000 draws: the deviation of their standard deviation is .01 / sqrt(12000); six of these
    assert abs(weight.std() - 0.01) < 6 * 0.01 / np.sqrt(12000)
    assert abs(weight.mean()) < 6 * 0.01 / np.sqrt(6000)
    again, other = make(dtype=dtype, seed=3), make(dtype=dtype, seed=4)
    again(np.zeros((2, 2000))), other(np.zeros((2, 2000)))
    assert np.array_equal(again.weight, weight)
    assert not np.array_equal(other.weight, weight)


@pytest.mark.parametrize("make", MODELS)
def test_gradient_is_that_of_the_loss(make: Any, rng: np.random.Generator) -> None:
    model = make(dtype=np.float64)
    x = rng.normal(size=(6, 4))
    y = rng.integers(0, 3, 6) if isinstance(model, Classifier) else rng.normal(size=(6, 3))
    model(x)
    model.weight.data[:] = rng.normal(size=(3, 4))
    model.backward((x, y))
    for parameter in model.parameters():
        flat, gradient = parameter.data.reshape(-1), parameter.grad.reshape(-1)
        for i in range(flat.size):
            h, value = 1e-4, flat[i]
            terms = []
            for step, factor in ((2, -1), (1, 8), (-1, -8), (-2, 1)):  # fourth order
                flat[i] = value + step * h
                terms.append(factor * float(model.training_step((x, y))))
            flat[i] = value
            numeric = sum(terms) / (12 * h)
            assert abs(numeric - gradient[i]) <= 1e-9 + 1e-6 * abs(gradient[i])


def test_forward_is_the_reference(rng: np.random.Generator) -> None:
    model = SoftmaxRegression(3, 0.1, dtype=np.float64)
    x = rng.normal(size=(6, 2, 2))
    y_hat = model(x)
    expected = reference.linear(x.reshape(6, 4), *model.get_w_b())
    # |w| < .1 and |x| < 10, sums of 5 terms
    np.testing.assert_allclose(y_hat, expected, rtol=0, atol=5 * np.finfo(float).eps * 5)
    assert np.array_equal(model.predict(x), y_hat.argmax(1))
    proba = model.predict_proba(x)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=0, atol=8 * np.finfo(float).eps)
    assert np.array_equal(proba.argmax(1), model.predict(x))


def test_linear_regression_predicts_values() -> None:
    model = LinearRegression(0.1)
    model.infer(2)
    model.weight.data[:], model.bias.data[:] = [[2.0, -1.0]], 0.5
    assert np.array_equal(model.predict([[1.0, 1.0], [0.0, 3.0]]), [[1.5], [-2.5]])


def test_linear_regression_targets() -> None:
    model = LinearRegression(0.1)
    y_hat = np.array([[1.0], [3.0]], np.float32)
    assert model.loss(y_hat, [1, 1]) == model.loss(y_hat, [[1], [1]]) == 2.0
    for y in (np.zeros((2, 2)), np.zeros((1, 2)), np.zeros(3)):  # what NumPy would broadcast
        with pytest.raises(ValueError, match="target"):
            model.loss(y_hat, y)
    with pytest.raises(TypeError, match="y has the dtype"):
        model.loss(y_hat, ["a", "b"])


@pytest.mark.parametrize("make", MODELS)
def test_unseen_data_is_a_clear_error(make: Any, tmp_path: Any) -> None:
    model = make()
    uses = [
        lambda: model.predict(np.zeros((1, 2))),
        lambda: model.get_w_b(),
        lambda: model.save(tmp_path / "model"),
    ]
    if isinstance(model, Classifier):
        uses.append(lambda: model.predict_proba(np.zeros((1, 2))))
    for use in uses:
        with pytest.raises(RuntimeError, match="has seen no data"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", MODELS)
def test_rows_are_checked(make: Any) -> None:
    model = make()
    model(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="the rows have 5 features; accepted: 4"):
        model.predict(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"x has the shape \(4,\)"):
        model.predict(np.zeros(4))
    with pytest.raises(TypeError, match="x has the dtype"):
        model.predict(np.full((2, 4), "a"))
    assert model.predict(np.zeros((0, 4))).shape[0] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_outputs", 0), ("num_outputs", 2.0), ("num_outputs", True), ("lr", -0.1),
        ("lr", float("nan")), ("lr", float("inf")), ("lr", "0.1"), ("lr", None), ("lr", 10**400),
        ("dtype", np.float16), ("dtype", int), ("dtype", None), ("dtype", "no dtype"),
        ("dtype", ",loat32"),
    ],
)  # fmt: skip
def test_arguments_are_checked(name: str, value: Any) -> None:
    options = {"num_outputs": 3, "lr": 0.1} | {name: value}
    for make in (SoftmaxRegression, LinearRegression):
        with pytest.raises((TypeError, ValueError), match=f"{name} is .*; accepted: "):
            make(**options)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("seen", [True, False])
def test_copies_are_equal_and_independent(make: Any, duplicate: Any, seen: bool) -> None:
    model = make(seed=5)
    if seen:
        model(np.zeros((1, 4)))
    twin = duplicate(model)
    assert twin.hyperparameters() == model.hyperparameters()
    model(np.zeros((1, 4))), twin(np.zeros((1, 4)))
    assert np.array_equal(twin.weight, model.weight)
    twin.weight.data += 1
    assert not np.array_equal(twin.weight, model.weight)


def test_a_row_of_nan_has_no_class() -> None:
    x = np.zeros((3, 4), np.float32)
    x[1, 2] = np.nan
    models = [
        SoftmaxRegression(num_outputs=2, lr=0.1),
        MLP(num_outputs=2, num_hiddens=3, lr=0.1, activation="tanh"),
        SoftmaxRegressionScratch(num_inputs=4, num_outputs=2, lr=0.1),
        MLPScratch(num_inputs=4, num_outputs=2, num_hiddens=3, lr=0.1),
    ]
    for model in models:
        assert model(x[:1]).shape == (1, 2)  # it has seen data
        assert model.predict(x[:1]).shape == (1,)
        with np.errstate(invalid="ignore"):
            if isinstance(model, MLPScratch):  # its ReLU keeps NaN, as NumPy's maximum does
                assert np.isnan(model(x)[1]).all()
            with pytest.raises(FloatingPointError, match="row 1 of x has NaN for its outputs"):
                model.predict(x)
    assert models[0].predict(np.zeros((0, 4), np.float32)).shape == (0,)


def test_scratch_models_name_a_wrong_number_of_features() -> None:
    for model in (
        LinearRegressionScratch(num_inputs=4, lr=0.1),
        WeightDecayScratch(num_inputs=4, lambd=1, lr=0.1),
        SoftmaxRegressionScratch(num_inputs=4, num_outputs=2, lr=0.1),
        MLPScratch(num_inputs=4, num_outputs=2, num_hiddens=3, lr=0.1),
    ):
        with pytest.raises(ValueError, match="x has 3 features in a row; accepted: 4"):
            model(np.zeros((2, 3)))


def test_losses_of_integers() -> None:
    """Predictions of integers do not make integers of the targets."""
    model, y_hat, y = LinearRegression(0.1), np.array([[1], [2]]), np.array([0.5, 0.5])
    assert model.loss(y_hat, y) == model.loss(y_hat.astype(float), y) == 1.25
    loss, gradient = model.loss_with_grad(y_hat.astype(np.uint8), y)
    assert loss == 1.25
    assert gradient.tolist() == [[0.5], [1.5]]


def test_every_row_has_a_class() -> None:
    """-100, which the kernels leave out, is no class of a model; texts and fractions are none."""
    model, logits = SoftmaxRegression(3, 0.1), np.zeros((2, 3), np.float32)
    for function in (model.loss, model.loss_with_grad, Classifier().loss):
        with pytest.raises(IndexError, match=r"y\[1\] is -100; accepted: 0 to 2"):
            function(logits, [0, -100])
        for wrong in (["0", "1"], [0.0, 1.5]):
            with pytest.raises(TypeError, match="y has dtype"):
                function(logits, wrong)
    for wrong in (["0", "1"], [0.0, 1.5], np.ma.masked_less([0, 1], 1)):
        with pytest.raises(TypeError, match=r"y has dtype|y is a masked array"):
            model.accuracy(logits, wrong)
    even = np.full((2, 3), 1 / 3, np.float32)
    assert model.loss(logits, even) == pytest.approx(np.log(3))
    assert np.abs(model.loss_with_grad(logits, even)[1]).max() < 1e-7
