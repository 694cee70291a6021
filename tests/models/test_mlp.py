"""The multilayer perceptron on its own: parameters, gradients, dropout, files, what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import softstep
from softstep import MLP, ModelFileError, SoftmaxRegression, kernels, reference
from softstep.models.layers import keep_masks


def wide(num_hiddens: Any = (5, 4), **options: Any) -> MLP:
    """An MLP in float64 with weights of size 1."""
    model = MLP(3, num_hiddens, 0.1, **({"dtype": np.float64, "sigma": 1.0} | options))
    model.infer(6)
    for layer in model.layers:
        layer.bias.data[:] = np.random.default_rng(5).normal(size=layer.num_outputs)
    return model


@pytest.mark.parametrize("num_hiddens", [(), 7, (5, 4), [4, 3, 2, 5]])
def test_layers(num_hiddens: Any) -> None:
    model = MLP(3, num_hiddens, 0.1)
    assert not model.parameters()[0].is_initialized
    assert model(np.zeros((2, 1, 4, 5), np.float32)).shape == (2, 3)
    sizes = [20, *np.atleast_1d(num_hiddens).astype(int).tolist(), 3]
    expected = [*zip(sizes[1:], sizes[:-1], strict=True)]
    assert [layer.weight.shape for layer in model.layers] == expected
    assert [layer.bias.shape for layer in model.layers] == [(n,) for n in sizes[1:]]
    names = list(model.named_parameters())
    assert names[:2] == ["layers.0.weight", "layers.0.bias"]
    assert len(names) == 2 * len(model.layers)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("sigmoid", 1), ("tanh", 1)])
def test_first_parameters(activation: Any, gain: float) -> None:
    model = MLP(50, (100, 200), 0.1, activation, seed=3)
    model.infer(400)
    for layer, k, factor in zip(model.layers, (400, 100, 200), (gain, gain, 1), strict=True):
        deviation = np.sqrt(factor / k)
        count = layer.weight.data.size
        # the deviation of a standard deviation of n draws is 1 / sqrt(2 n) of it; five of these
        assert layer.weight.data.std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * count))
        assert abs(layer.weight.data.mean()) < 5 * deviation / np.sqrt(count)
        assert not layer.bias.data.any()
    again, other = MLP(50, (100, 200), 0.1, seed=3), MLP(50, (100, 200), 0.1, seed=4)
    again.infer(400), other.infer(400)
    assert np.array_equal(again.layers[2].weight, model.layers[2].weight)
    assert not np.array_equal(other.layers[2].weight, model.layers[2].weight)
    chosen = MLP(50, 100, 0.1, activation, sigma=0.01)
    chosen.infer(400)
    assert chosen.layers[0].weight.data.std() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", None])
@pytest.mark.parametrize("dropout", [0.0, (0.5, 0.25)])
@pytest.mark.parametrize("num_hiddens", [(5, 4), ()])
def test_gradient_is_that_of_the_loss(
    activation: Any, dropout: Any, num_hiddens: Any, rng: np.random.Generator
) -> None:
    if not num_hiddens:
        dropout = 0.0
    model = wide(num_hiddens, activation=activation, dropout=dropout)
    if activation == "relu":
        rng = np.random.default_rng(7)  # rows none of which is at a kink, which others may be
    batch = rng.normal(size=(7, 6)), rng.integers(0, 3, 7)
    before = copy.deepcopy(model)  # whose dropout masks are those of the first pass
    model.backward(batch)
    for mine, parameter in zip(model.parameters(), before.parameters(), strict=True):
        flat, gradient = parameter.data.reshape(-1), mine.grad.reshape(-1)  # type: ignore[union-attr]
        for i in range(flat.size):
            h, value = 1e-5, flat[i]
            terms = []
            for step, factor in ((2, -1), (1, 8), (-1, -8), (-2, 1)):  # fourth order
                flat[i] = value + step * h
                terms.append(factor * float(before.training_step(batch)))
            flat[i] = value
            assert abs(sum(terms) / (12 * h) - gradient[i]) <= 1e-9 + 1e-6 * abs(gradient[i])


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_forward_is_the_reference(activation: Any, rng: np.random.Generator) -> None:
    model = wide(activation=activation)
    x = h = rng.normal(size=(9, 6))
    for layer in model.layers:
        h = reference.linear(h, layer.weight.data, layer.bias.data, activation=layer.activation)
    np.testing.assert_allclose(model(x), h, rtol=1e-13, atol=1e-13)
    assert np.array_equal(model.predict(x), h.argmax(1))
    np.testing.assert_allclose(model.predict_proba(x), kernels.softmax(h), rtol=1e-12)


def test_without_hidden_layers_it_is_softmax_regression(rng: np.random.Generator) -> None:
    mlp, softmax = MLP(3, (), 0.1, sigma=0.01, seed=2), SoftmaxRegression(3, 0.1, seed=2)
    x, y = rng.normal(size=(8, 5)).astype(np.float32), rng.integers(0, 3, 8)
    assert np.array_equal(mlp(x), softmax(x))
    mlp.backward((x, y)), softmax.backward((x, y))
    assert np.array_equal(mlp.layers[0].weight.grad, softmax.weight.grad)
    assert np.array_equal(mlp.layers[0].bias.grad, softmax.bias.grad)


def test_gradients_add_up_in_arrays_of_their_own(rng: np.random.Generator) -> None:
    model = wide()
    first, second = (
        (rng.normal(size=(4, 6)), rng.integers(0, 3, 4)),
        (rng.normal(size=(4, 6)), rng.integers(0, 3, 4)),
    )
    model.backward(first)
    one = [parameter.grad for parameter in model.parameters()]
    kept = [grad.copy() for grad in one]  # type: ignore[union-attr]
    model.backward(second)
    for parameter, grad, copied in zip(model.parameters(), one, kept, strict=True):
        assert np.array_equal(grad, copied)
        assert not np.array_equal(parameter.grad, copied)
    two = [parameter.grad - grad for parameter, grad in zip(model.parameters(), kept, strict=True)]
    for parameter in model.parameters():
        parameter.grad = None
    model.backward(second)
    for parameter, grad in zip(model.parameters(), two, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, rtol=0, atol=1e-14)


def test_bytes_are_taken_as_they_are(rng: np.random.Generator) -> None:
    model = MLP(3, 4, 0.1)
    x = rng.integers(0, 256, (6, 8)).astype(np.uint8)
    np.testing.assert_allclose(model(x), model(x.astype(np.float32)), rtol=1e-5, atol=1e-4)


# Dropout


def test_masks() -> None:
    """Each unit is kept with probability 1 - rate and then divided by it."""
    model = MLP(2, (300, 200), 0.1, dropout=(0.25, 0.0))
    model.infer(3)
    masks = model.masks(500)
    assert masks[1] is None
    (mask,) = [mask for mask in masks if mask is not None]
    assert set(np.unique(mask).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    kept, n = float((mask > 0).mean()), mask.size
    assert abs(kept - 0.75) < 5 * np.sqrt(0.25 * 0.75 / n)
    # no unit and no row is favoured
    for axis in (0, 1):
        shares = (mask > 0).mean(axis=axis)
        assert shares.std() == pytest.approx(np.sqrt(0.25 * 0.75 / mask.shape[axis]), rel=0.25)


def test_masks_are_repeatable_and_change_with_each_pass(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 3, 20)
    model = MLP(3, 50, 0.1, dropout=0.5, seed=1)
    first = model(x)
    assert np.array_equal(model(x), first)
    model.backward((x, y))
    assert not np.array_equal(model(x), first)
    model.batches = 0
    assert np.array_equal(model(x), first)
    other = MLP(3, 50, 0.1, dropout=0.5, seed=2)
    other.infer(6)
    assert not np.array_equal(other.masks(20)[0], model.masks(20)[0])
    layers = MLP(3, (50, 50), 0.1, dropout=0.5).layers
    for layer in layers:
        layer.weight.data = np.zeros((layer.num_outputs, 1), np.float32)
    one, two = keep_masks(layers, 20, (0, 0))
    assert not np.array_equal(one, two)


def test_dropout_is_off_in_evaluation(rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 6)).astype(np.float32)
    dropped, plain = MLP(3, 50, 0.1, dropout=0.5), MLP(3, 50, 0.1)
    assert not np.array_equal(dropped(x), plain(x))
    assert np.array_equal(dropped.predict_proba(x), plain.predict_proba(x))
    assert np.array_equal(dropped.predict(x), plain.predict(x))
    assert dropped.training
    dropped.eval()
    assert np.array_equal(dropped(x), plain(x))


def test_dropout_keeps_the_mean(rng: np.random.Generator) -> None:
    """Over many masks the logits of one linear layer average to those without dropout."""
    model = wide(200, activation=None, dropout=0.5)
    x = rng.normal(size=(1, 6))
    many = np.array([model(np.repeat(x, 4000, axis=0))])[0]
    plain = model.predict_proba(x)
    deviation = many.std(axis=0) / np.sqrt(len(many))
    expected = model.eval()(x)[0]
    assert np.all(np.abs(many.mean(axis=0) - expected) < 5 * deviation)
    assert plain.shape == (1, 3)


# Files and copies


@pytest.mark.parametrize("num_hiddens", [(), 7, (5, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(num_hiddens: Any, dtype: Any, tmp_path: Any) -> None:
    dropout = 0.25 if num_hiddens else 0.0
    model = MLP(3, num_hiddens, 0.1, "tanh", dropout, seed=3, dtype=dtype)
    with pytest.raises(RuntimeError, match="has seen no data"):
        model.save(tmp_path / "model")
    x = np.ones((2, 6), dtype)
    model(x)
    model.save(tmp_path / "model")
    for again in (softstep.load(tmp_path / "model"), MLP.load(tmp_path / "model")):
        assert isinstance(again, MLP)
        assert again.hyperparameters() == model.hyperparameters()
        assert np.array_equal(again.predict_proba(x), model.predict_proba(x))
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_file_with_layers_that_do_not_fit(tmp_path: Any) -> None:
    model = MLP(3, (5, 4), 0.1)
    model.infer(6)
    model.layers[1].weight.data = np.zeros((4, 7), np.float32)
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"layers\.1\.weight is float32 \(4, 7\); accepted"):
        softstep.load(tmp_path / "model")


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_copies_are_equal_and_independent(duplicate: Any) -> None:
    model = wide()
    twin = duplicate(model)
    x = np.ones((1, 6))
    assert np.array_equal(twin(x), model(x))
    twin.layers[0].weight.data += 1
    assert not np.array_equal(twin(x), model(x))


# What it refuses


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_outputs", 0), ("num_hiddens", 0), ("num_hiddens", 2.5), ("num_hiddens", (4, -1)),
        ("num_hiddens", "64"), ("num_hiddens", None), ("num_hiddens", True), ("lr", -0.1),
        ("lr", float("nan")), ("activation", "gelu"), ("dropout", 1.0), ("dropout", -0.1),
        ("dropout", "0.5"), ("dropout", (0.5, 1.5)), ("dropout", float("nan")), ("sigma", -1),
        ("seed", -1), ("dtype", np.float16),
    ],
)  # fmt: skip
def test_arguments_are_checked(name: str, value: Any) -> None:
    options: Any = {"num_outputs": 3, "num_hiddens": (4, 4), "lr": 0.1} | {name: value}
    with pytest.raises((TypeError, ValueError), match=rf"{name}(\[\d\])? is .*; accepted: "):
        MLP(**options)


def test_one_rate_for_each_layer() -> None:
    with pytest.raises(ValueError, match="dropout has 3 numbers; accepted: 2, or one for all"):
        MLP(3, (4, 4), 0.1, dropout=(0.1, 0.2, 0.3))
    assert MLP(3, (4, 4), 0.1, dropout=0.5).dropout == (0.5, 0.5)


def test_use_before_data() -> None:
    for method in ("predict", "predict_proba"):
        with pytest.raises(RuntimeError, match="this MLP has seen no data"):
            getattr(MLP(3, 4, 0.1), method)(np.zeros((1, 2)))


def test_rows_are_checked() -> None:
    model = MLP(3, 4, 0.1)
    model(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="the rows have 5 features; accepted: 4, as this MLP"):
        model.predict(np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"x has the shape \(4,\)"):
        model.predict(np.zeros(4))
    with pytest.raises(TypeError, match="x has the dtype"):
        model.predict(np.full((2, 4), "a"))
    with pytest.raises(TypeError, match="integer"):
        model.backward((np.zeros((2, 4), np.float32), [0.5, 1.0]))
    with pytest.raises(IndexError, match=r"target\[1\] is 3"):
        model.backward((np.zeros((2, 4), np.float32), [0, 3]))
    with pytest.raises(IndexError, match=r"y\[0\] is -1"):
        model.loss(model(np.zeros((2, 4), np.float32)), [-1, 3])
    assert model.predict(np.zeros((0, 4), np.float32)).shape == (0,)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (-np.inf, "an infinite value")])
def test_bad_features_are_named(value: float, what: str) -> None:
    """-inf behind a ReLU gives a finite loss, and gradients of NaN."""
    model = MLP(3, 4, 0.1)
    x = np.ones((5, 4), np.float32)
    model(x)
    x[3, 2] = value
    with pytest.raises(FloatingPointError, match=f"row 3 of the batch holds {what}"):
        model.backward((x, [0, 1, 2, 0, 1]))
    assert model.batches == 0
    large = np.full((5, 4), 1e38, np.float32)  # their sum overflows, and they are finite
    with np.errstate(all="ignore"):
        model.backward((large, [0, 1, 2, 0, 1]))


# Summaries


def test_layer_summary(capsys: pytest.CaptureFixture[str]) -> None:
    model = MLP(10, (256, 64), 0.1, "tanh", dropout=(0.5, 0))
    model.layer_summary((2, 1, 28, 28))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == [
        "Flatten", "Linear", "Tanh", "Dropout", "Linear", "Tanh", "Linear",
    ]  # fmt: skip
    assert [eval(" ".join(line[3:])) for line in lines] == [
        (2, 784), (2, 256), (2, 256), (2, 256), (2, 64), (2, 64), (2, 10),
    ]  # fmt: skip
    assert not model.layers[0].weight.is_initialized
    assert model(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 10)
    SoftmaxRegression(3, 0.1).layer_summary((4, 7))
    assert capsys.readouterr().out.split() == ["Linear", "output", "shape:", "(4,", "3)"]
    for wrong in ((), (3,), (3, -1), (3, 2.5)):
        with pytest.raises((TypeError, ValueError), match="x_shape"):
            model.layer_summary(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 1, 6, 4), (5, 24)])
def test_layer_summary_from_scratch(
    capsys: pytest.CaptureFixture[str], shape: tuple[int, ...]
) -> None:
    """The same lines as those of an `MLP` of these sizes."""
    scratch = softstep.MLPScratch(24, 10, 16, lr=0.1)
    scratch.layer_summary(shape)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3 + (len(shape) > 2)
    MLP(10, 16, 0.1).layer_summary(shape)
    assert capsys.readouterr().out == printed
    with pytest.raises(ValueError, match="x has 23 features in a row; accepted: 24"):
        scratch.layer_summary((2, 23))


def test_layer_summary_of_a_net_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    class Net(softstep.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = [np.tanh, softstep.LinearRegression(0.1, num_outputs=2)]

    Net().layer_summary((5, 3))
    assert capsys.readouterr().out.split("\n")[:2] == [
        "tanh output shape:             (5, 3)",
        "LinearRegression output shape: (5, 2)",
    ]
