"""Grids of images, and the images of mistakes and of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from softstep import MLP, Digits, Module, SoftmaxRegression, SoftmaxRegressionScratch, Trainer
from softstep.plotting import show_errors, show_images, show_weights


def shown(figure: Figure) -> list[Any]:
    """The arrays that are drawn, in their order."""
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


@pytest.mark.parametrize(
    "shape", [(3, 5, 4), (3, 1, 5, 4), (3, 5, 4, 1), (3, 3, 5, 7), (3, 5, 7, 3), (3, 5, 7, 4)]
)
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i2", "?", "f2"])
def test_every_kind_of_image(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    images = (rng.random(shape) * (200 if dtype == "u1" else 1)).astype(dtype)
    before = images.copy()
    figure = show_images(images)
    drawn = shown(figure)
    assert len(drawn) == 3
    for mine, image in zip(drawn, images, strict=True):
        grey = image.squeeze()
        if grey.ndim == 3 and grey.shape[0] == 3:
            grey = np.moveaxis(grey, 0, 2)
        whole = 255 if dtype == "u1" and grey.ndim == 3 else 1
        grey = grey.astype(np.float64)
        np.testing.assert_allclose(mine, grey / whole, rtol=1e-6)
    np.testing.assert_array_equal(images, before)


def test_the_grid_and_its_titles(digits: Digits) -> None:
    X, y = next(iter(digits.val_dataloader()))
    figure = show_images(X, 2, 3, titles=digits.text_labels(y), scale=1.0)
    assert len(figure.axes) == 6  # the rest of the batch is not shown
    assert [ax.get_title() for ax in figure.axes] == digits.text_labels(y[:6])
    np.testing.assert_array_equal(shown(figure)[5], X[5, 0])
    assert figure.get_size_inches()[0] == 3.0


@pytest.mark.parametrize(
    ("count", "rows", "columns", "grid"),
    [
        (3, None, None, (1, 3)), (20, None, None, (3, 8)), (20, 4, None, (4, 5)),
        (20, None, 6, (4, 6)), (2, 2, 3, (2, 3)),
    ],
)  # fmt: skip
def test_the_grid_fits(count: int, rows: Any, columns: Any, grid: tuple[int, int]) -> None:
    figure = show_images(np.zeros((count, 2, 2)), rows, columns)
    spec = figure.axes[0].get_subplotspec()
    assert spec is not None
    assert spec.get_gridspec().get_geometry() == grid
    assert len(shown(figure)) == count


def test_images_share_their_range() -> None:
    """Floats beyond [0, 1] have one range, bytes have 0 to 255, NaN is blank."""
    images = [np.array([[0.5, np.nan]]), np.array([[-2.0, 3.0]]), np.array([[7, 9]], np.uint8)]
    figure = show_images(images)
    limits = [ax.images[0].get_clim() for ax in figure.axes]
    assert limits == [(-2.0, 3.0), (-2.0, 3.0), (0.0, 255.0)]
    assert np.ma.getmaskarray(shown(figure)[0]).tolist() == [[False, True]]


def test_titles_fit_their_images() -> None:
    sizes = [
        show_images(np.zeros((1, 2, 2)), titles=["x" * n]).axes[0].title.get_fontsize()
        for n in (1, 20, 30)
    ]
    assert sizes[0] == 10
    assert sizes[0] > sizes[1] > sizes[2] >= 5


@pytest.mark.parametrize(
    ("images", "arguments", "kind", "message"),
    [
        ([], {}, ValueError, "imgs is empty"),
        (np.zeros((4, 4)), {}, ValueError, r"imgs has the shape \(4, 4\); accepted: \(N, H, W\)"),
        (np.zeros((2, 2, 5, 5)), {}, ValueError, r"imgs\[0\] has the shape \(2, 5, 5\)"),
        (np.zeros((2, 0, 5)), {}, ValueError, r"imgs\[0\] has the shape \(0, 5\)"),
        ([[["a"]]], {}, TypeError, r"imgs\[0\] has the dtype"),
        (np.zeros((2, 3, 3)), {"titles": ["one"]}, ValueError, "titles has 1 entries"),
        (np.zeros((2, 3, 3)), {"num_rows": 0}, ValueError, "num_rows is 0"),
        (np.zeros((2, 3, 3)), {"num_cols": 1.5}, TypeError, "num_cols is 1.5"),
        (np.zeros((2, 3, 3)), {"scale": 0}, ValueError, "scale is 0"),
    ],
)  # fmt: skip
def test_wrong_images(
    images: Any, arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        show_images(images, **arguments)


def test_visualize(digits: Digits) -> None:
    batch = next(iter(digits.val_dataloader()))
    figure = digits.visualize(batch, nrows=2, ncols=4)
    assert [ax.get_title() for ax in figure.axes] == digits.text_labels(batch[1][:8])
    other = digits.visualize(batch, labels=[f"no. {i}" for i in range(8)])
    assert other.axes[7].get_title() == "no. 7"


# Mistakes


def wrong_rows(model: Module, digits: Digits) -> Any:
    X, y = digits.val.take(slice(None))  # type: ignore[union-attr]
    taken = model.predict(X)  # type: ignore[operator]
    return X[taken != y], y[taken != y], taken[taken != y]


def test_the_errors_are_the_errors(trained: Any, digits: Digits) -> None:
    model, _ = trained
    X, y, taken = wrong_rows(model, digits)
    share = model.predict_proba(X).max(axis=1)
    figure = show_errors(model, digits, 2, 4)
    for i, (ax, image) in enumerate(zip(figure.axes, shown(figure), strict=True)):
        assert ax.get_title() == f"true: {y[i]}\npred: {taken[i]} ({share[i]:.2f})"
        np.testing.assert_array_equal(image, X[i, 0])
    confident = show_errors(model, digits, 1, 5, order="confident", labels=list("abcdefghij"))
    largest = np.sort(share)[::-1][:5]
    assert [ax.get_title()[-5:-1] for ax in confident.axes] == [f"{p:.2f}" for p in largest]
    first = int(share.argmax())
    assert confident.axes[0].get_title().startswith(f"true: {'abcdefghij'[y[first]]}\n")


def test_errors_of_a_batch_and_of_a_model_without_any(trained: Any, digits: Digits) -> None:
    model, _ = trained
    X, y, _ = wrong_rows(model, digits)
    assert len(show_errors(model, (X[:3], y[:3])).axes) == 8 * 2  # a grid of 2 x 8
    right = model.predict(X)
    figure = show_errors(model, (X, right))
    assert [text.get_text() for text in figure.texts] == ["every image is classified correctly"]


def test_probabilities_of_a_model_that_gives_them_itself(digits: Digits) -> None:
    model = SoftmaxRegressionScratch(num_inputs=64, num_outputs=10, lr=0.5)
    Trainer(max_epochs=3, progress=False).fit(model, digits)
    X, _, _ = wrong_rows(model, digits)
    title = show_errors(model, digits).axes[0].get_title()
    assert title.endswith(f"({model.forward(X[:1]).max():.2f})")


def test_dropout_is_off_and_the_mode_stays(digits: Digits) -> None:
    model = MLP(10, 32, lr=0.5, dropout=0.5)
    Trainer(max_epochs=2, progress=False).fit(model, digits)
    titles = []
    for mode in (True, False, True):
        model.train(mode)
        titles.append([ax.get_title() for ax in show_errors(model, digits).axes])
        assert model.training is mode
        model.batches += 1  # other units would be left out
    assert titles[0] == titles[1] == titles[2]


def test_wrong_arguments_of_errors(trained: Any, digits: Digits) -> None:
    model, _ = trained
    with pytest.raises(ValueError, match="order is 'last'; accepted: first, confident"):
        show_errors(model, digits, order="last")
    with pytest.raises(TypeError, match="data is a int; accepted: a DataModule"):
        show_errors(model, 3)
    with pytest.raises(TypeError, match="model is a str; accepted: a Module"):
        show_errors("model", digits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels has 2 names"):
        show_errors(model, digits, labels=["a", "b"])
    with pytest.raises(RuntimeError, match="has seen no data"):
        show_errors(SoftmaxRegression(10, 0.1), digits)
    with pytest.raises(ValueError, match="no validation data"):
        show_errors(model, Digits(val=False))
    with pytest.raises(ValueError, match="has the shape"):
        show_errors(model, (np.zeros((2, 64)), [11, 12]))  # rows, not images


# Weights


def test_weights_of_each_class(trained: Any, digits: Digits) -> None:
    model, _ = trained
    figure = show_weights(model, digits.labels)
    drawn = shown(figure)[:10]
    for image, row in zip(drawn, model.weight.data, strict=True):
        np.testing.assert_array_equal(image, row.reshape(8, 8))
    assert [ax.get_title() for ax in figure.axes[:10]] == list(digits.labels)
    limits = {ax.images[0].get_clim() for ax in figure.axes[:10]}
    largest = float(np.abs(model.weight.data).max())
    assert limits == {(-largest, largest)}  # one scale for all, zero in its middle
    assert figure.axes[10].get_ylabel() == "weight"


def test_weights_of_the_book_stand_the_other_way() -> None:
    model = SoftmaxRegressionScratch(num_inputs=4, num_outputs=3, lr=0.1)
    drawn = shown(show_weights(model))[:3]
    np.testing.assert_array_equal(drawn[2], model.W.data[:, 2].reshape(2, 2))


def test_hidden_units_of_an_mlp() -> None:
    model = MLP(10, 64, lr=0.1)
    model(np.zeros((1, 12), np.float32))
    figure = show_weights(model, image_shape=(3, 4))
    assert len(figure.axes) == 40 + 1
    first = model.layers[0].weight.data[39].reshape(3, 4)
    np.testing.assert_array_equal(shown(figure)[39], first)
    assert len(show_weights(model, num_rows=8, num_cols=8, image_shape=(3, 4)).axes) == 65


@pytest.mark.parametrize(
    ("weights", "arguments", "kind", "message"),
    [
        (np.zeros((2, 5)), {}, ValueError, "5 weights of a class are no square"),
        (np.zeros((2, 6)), {"image_shape": (2, 2)}, ValueError, r"image_shape is \(2, 2\)"),
        (np.zeros((2, 6)), {"image_shape": 6}, TypeError, "image_shape is 6"),
        (np.zeros(4), {}, ValueError, "model is an array of"),
        (np.zeros((2, 4)), {"labels": ["a"]}, ValueError, "labels has 1 names"),
        (Module(), {}, ValueError, "Module has no weights"),
    ],
)
def test_wrong_weights(
    weights: Any, arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        show_weights(weights, **arguments)
