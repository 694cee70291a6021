"""Level curves, paths, gradients, tangents, and boundaries between classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.quiver import Quiver

from softstep import ArrayDataModule, SoftmaxRegression, Trainer
from softstep.plotting import contour, decision_boundaries, descent_paths, quiver, tangent

STEPS = np.arange(21)[:, np.newaxis]
PATH = np.array([-3.0, 4.0]) * 0.8**STEPS


def bowl(x: Any) -> Any:
    return np.sum(x**2)


def lines_of(ax: Axes) -> list[QuadContourSet]:
    return [part for part in ax.collections if isinstance(part, QuadContourSet) and not part.filled]


def test_level_curves_are_where_the_function_has_the_level() -> None:
    figure = contour(bowl, PATH, xlim=(-4, 4), ylim=(-4, 4), levels=8)
    (curves,) = lines_of(figure.axes[0])
    drawn = 0
    for level, segments in zip(curves.levels, curves.allsegs, strict=True):
        for segment in segments:
            # Linear interpolation on a grid of 0.08.
            np.testing.assert_allclose(np.sum(segment**2, axis=1), level, atol=0.08**2)
            drawn += len(segment)
    assert drawn > 500
    radii = np.sqrt(curves.levels[1:])
    np.testing.assert_allclose(np.diff(radii), radii[0], rtol=1e-6)  # equal distances


def test_path_is_drawn_point_by_point() -> None:
    (ax, bar) = contour(bowl, PATH).axes
    np.testing.assert_array_equal(np.transpose(ax.lines[0].get_data()), PATH)
    start, end = (np.ravel(line.get_data()) for line in ax.lines[1:])
    np.testing.assert_array_equal(start, PATH[0])
    np.testing.assert_array_equal(end, PATH[-1])
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_title()) == ("$x_0$", "$x_1$", "f(x)")
    for points, limits in zip(PATH.T, (ax.get_xlim(), ax.get_ylim()), strict=True):
        assert limits[0] < points.min() < points.max() < limits[1]


def test_functions_of_a_point_and_of_two_numbers() -> None:
    levels = [
        lines_of(contour(f).axes[0])[0].levels
        for f in (bowl, lambda x1, x2: x1**2 + x2**2, lambda x, scale=1.0: scale * bowl(x))
    ]
    np.testing.assert_array_equal(levels[0], levels[1])
    np.testing.assert_array_equal(levels[0], levels[2])


def test_a_function_that_changes_its_argument() -> None:
    def rude(x: Any) -> float:
        value = float(np.sum(x**2))
        x[:] = 0
        return value

    figure = contour(rude, PATH)
    np.testing.assert_array_equal(
        lines_of(figure.axes[0])[0].levels, lines_of(contour(bowl, PATH).axes[0])[0].levels
    )


def test_flat_and_partly_undefined_functions() -> None:
    assert not lines_of(contour(lambda x: 1.0).axes[0])
    figure = contour(lambda x: np.sqrt(x[0]) if x[0] >= 0 else np.nan)
    assert lines_of(figure.axes[0])


def test_descent_paths() -> None:
    paths = {"fast": PATH, "slow": np.array([-3.0, 4.0]) * 0.96**STEPS}
    left, right, bar = descent_paths(bowl, paths, yscale="log").axes
    assert (right.get_xlabel(), right.get_ylabel(), right.get_yscale()) == ("step", "f(x)", "log")
    for line, (name, path) in zip(right.lines, paths.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_allclose(line.get_ydata(), np.sum(path**2, axis=1))
    assert len(left.lines) == 3 * 2
    assert [text.get_text() for text in right.get_legend().texts] == list(paths)
    assert bar.get_title() == "f(x)"


@pytest.mark.parametrize("given", [None, lambda x: 2 * x])
def test_arrows_are_negative_gradients(given: Any) -> None:
    (ax,) = quiver(bowl, given, num=5).axes
    (arrows,) = (part for part in ax.collections if isinstance(part, Quiver))
    points = np.asarray(arrows.get_offsets())
    assert len(points) == 25
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], axis=1), -2 * points, atol=1e-7)
    assert ax.get_aspect() == 1.0  # angles are what they seem


def test_arrows_of_a_flat_function() -> None:
    (ax,) = quiver(lambda x: 0.0, num=3).axes
    (arrows,) = (part for part in ax.collections if isinstance(part, Quiver))
    assert not arrows.U.any()


def test_tangent() -> None:
    (ax,) = tangent(lambda x: 0.01 * x**2 + 0.1 * x, 5, xlim=(0, 20)).axes
    function, line, point = ax.lines
    x, y = function.get_data()
    np.testing.assert_allclose(y, 0.01 * np.asarray(x) ** 2 + 0.1 * np.asarray(x))
    x, y = line.get_data()
    np.testing.assert_allclose(y, 0.2 * np.asarray(x) - 0.25, atol=1e-8)
    assert np.ravel(point.get_data()).tolist() == [5, 0.75]
    assert str(line.get_label()) == "tangent at x = 5, slope 0.2"


@pytest.mark.parametrize(
    ("draw", "kind", "message"),
    [
        (lambda: contour(3), TypeError, "f is a int"),  # type: ignore[arg-type]
        (lambda: contour(lambda x: x), ValueError, r"f gave array\(.*accepted: a number"),
        (lambda: contour(lambda x: np.nan), ValueError, "finite nowhere"),
        (lambda: contour(bowl, np.zeros((3, 3))), ValueError, r"path has the shape \(3, 3\)"),
        (lambda: contour(bowl, {"a": []}), ValueError, r"a has the shape \(0,\)"),
        (lambda: contour(bowl, levels=1), ValueError, "levels is 1"),
        (lambda: contour(bowl, xlim=(1, 1)), ValueError, r"xlim is \(1, 1\)"),
        (lambda: contour(bowl, ylim=(0, np.inf)), ValueError, r"ylim\[1\] is inf"),
        (lambda: contour(bowl, xlim=3), TypeError, "xlim is 3"),  # type: ignore[arg-type]
        (lambda: descent_paths(bowl, {}), ValueError, "paths is {}"),
        (lambda: descent_paths(bowl, {"a": PATH}, yscale="x"), ValueError, "yscale is 'x'"),
        (lambda: quiver(bowl, lambda x: 1.0), ValueError, r"grad gave the shape \(\)"),
        (lambda: quiver(bowl, num=1), ValueError, "num is 1"),
        (lambda: tangent(np.sin, np.nan), ValueError, "x is nan"),
        (lambda: tangent(lambda x: [x, x], 0.0), ValueError, r"f gave \[.*accepted: a number"),
    ],
)
def test_wrong_arguments(draw: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        draw()


# Boundaries


def three_classes() -> tuple[Any, Any, SoftmaxRegression]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = (rng.normal(size=(300, 2)) + 3 * np.eye(3, 2)[y]).astype(np.float32)
    model = SoftmaxRegression(num_outputs=3, lr=0.1)
    Trainer(max_epochs=20, progress=False).fit(model, ArrayDataModule(x, y))
    return x, y, model


def test_boundaries_are_straight_and_between_the_classes() -> None:
    x, y, model = three_classes()
    (ax,) = decision_boundaries(model, x, y, labels=["a", "b", "c"], xlabel="left").axes
    checked = 0
    for curves in lines_of(ax):
        for segment in curves.allsegs[0]:
            logits = np.sort(np.asarray(model(segment.astype(np.float32)), np.float64), axis=1)
            spread = np.abs(model.weight.data).max()
            cell = np.ptp(np.stack([ax.get_xlim(), ax.get_ylim()]), axis=1).max() / 200
            assert (logits[:, 2] - logits[:, 1] <= 4 * spread * cell).all()
            checked += len(segment)
    assert checked > 200
    assert [text.get_text() for text in ax.get_legend().texts] == ["a", "b", "c"]
    assert ax.get_xlabel() == "left"


def test_wrong_rows() -> None:
    x, y, model = three_classes()
    for rows, classes, message in (
        (x[:, :1], y, r"x holds float32 \(300, 1\)"),
        (x[:5], y, "x has 5 rows and y 300"),
        (np.where(np.arange(300)[:, None] == 7, np.nan, x), y, "row 7"),
        (x, np.where(np.arange(300) == 4, 3, y), r"y\[4\] is 3; accepted: 0 to 2"),
        (x, np.where(np.arange(300) == 4, -1, y), r"y\[4\] is -1"),
        (x, y * 0.5, "y holds float64"),
    ):
        with pytest.raises(ValueError, match=message):
            decision_boundaries(model, rows, classes)
    with pytest.raises(RuntimeError, match="seen no data"):
        decision_boundaries(SoftmaxRegression(3, 0.1), x, y)
