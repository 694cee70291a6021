"""The course material's section on differentiation and descent, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep import numerical
from softstep.numerical import (
    SimpleNet,
    check_gradient,
    gradient_descent,
    minimize,
    numerical_gradient,
)


@pytest.mark.curriculum("descent", "central-difference numerical_gradient")
def test_numerical_gradient(rng: np.random.Generator) -> None:
    """x0^2 + x1^2 at (3, 4): (6, 8); arrays of any rank; x restored afterwards."""
    x = np.array([3.0, 4.0])
    np.testing.assert_allclose(
        numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, x), [6, 8], atol=1e-9
    )
    np.testing.assert_array_equal(x, [3, 4])
    for shape in ((), (3,), (2, 3), (2, 3, 4)):
        x = np.asarray(rng.normal(size=shape))
        kept = x.copy()
        found = numerical_gradient(lambda x: np.sum(x**2), x)
        np.testing.assert_allclose(found, 2 * kept, atol=1e-8)
        assert x.tobytes() == kept.tobytes()


@pytest.mark.curriculum("descent", "the tiny net simpleNet")
def test_simple_net() -> None:
    """The book's simpleNet: its logits, loss and dW, by numerical and by analytic gradient."""
    assert numerical.simpleNet is SimpleNet
    net = SimpleNet([[-0.48896906, -0.43767281, 0.94069236], [1.56181584, -0.6269286, -2.09184833]])
    x, t = np.array([0.6, 0.9]), 0
    logits = [1.11225282, -0.82683942, -1.31824808]
    np.testing.assert_allclose(net.predict(x), logits, rtol=0, atol=1.1e-8)  # W has 8 decimals
    assert net.predict(x).argmax() == t
    assert net.loss(x, t) == pytest.approx(0.20849860, abs=5.1e-9)
    assert net.loss(x, np.array([1, 0, 0])) == net.loss(x, t)
    dW = [[-0.1129187, 0.07005907, 0.04285962], [-0.16937804, 0.10508861, 0.06428943]]
    numeric = numerical_gradient(lambda W: net.loss(x, t), net.W)
    np.testing.assert_allclose(net.gradient(x, t), dW, rtol=0, atol=5.1e-9)
    np.testing.assert_allclose(numeric, dW, rtol=0, atol=5.1e-9)
    assert check_gradient(lambda W: net.loss(x, t), net.gradient(x, t), net.W) < 1e-7


@pytest.mark.curriculum("descent", "gradient_descent")
def test_gradient_descent() -> None:
    """The end point and the path: x0^2 + x1^2 from (-3, 4), lr .1, 20 steps: times .8^20."""
    x, path = gradient_descent(
        lambda x: x[0] ** 2 + x[1] ** 2, np.array([-3.0, 4.0]), lr=0.1, step_num=20
    )
    np.testing.assert_allclose(x, np.array([-3, 4]) * 0.8**20, atol=1e-9)
    assert path.shape == (21, 2)
    for i in range(21):
        np.testing.assert_allclose(path[i], np.array([-3, 4]) * 0.8**i, atol=1e-9)
    assert len(gradient_descent(lambda x: x[0] ** 2, [1.0])[1]) == 101  # step_num=100


@pytest.mark.curriculum("descent", "minimise (w - 5)^2")
def test_minimise_a_square() -> None:
    """(w - 5)^2 from 0, lr .01: 0.1 after one step, 5 (1 - .98^1001) after 1001."""
    w, path = gradient_descent(lambda w: (w - 5) ** 2, 0.0, lr=0.01, step_num=1001)
    assert path[1] == pytest.approx(0.1, abs=1e-10)
    assert w == pytest.approx(5 * (1 - 0.98**1001), abs=1e-9)
    _, exact = minimize(
        lambda w: (w - 5) ** 2, 0.0, "sgd", 1001, grad=lambda w: 2 * (w - 5), lr=0.01
    )
    np.testing.assert_allclose(exact, 5 * (1 - 0.98 ** np.arange(1002)), rtol=1e-12)


NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
ADAPTIVE = ("rmsprop", "adam", "adamw")


def steps_until(path: Any, left: Any) -> float:
    """After how many steps a path fulfils a condition for the first time; inf if never."""
    done = np.flatnonzero([left(point) for point in path])
    return float(done[0]) if len(done) else float("inf")


@pytest.mark.curriculum("descent", "optimizers on a plateau or a saddle")
def test_adaptive_optimizers_leave_a_plateau_sooner() -> None:
    """A well in a plain: the slope where they begin is below 1e-3."""

    def well(x: Any) -> float:
        return float(1 - np.exp(-np.sum(x**2)))

    def slope(x: Any) -> Any:
        return 2 * x * np.exp(-np.sum(x**2))

    start = np.array([-2.0, 2.0])
    assert 0 < np.abs(slope(start)).max() < 2e-3
    steps = {
        name: steps_until(
            minimize(well, start, name, 5000, slope, lr=0.02)[1], lambda x: well(x) < 0.5
        )
        for name in NAMES
    }
    slowest = max(steps[name] for name in ADAPTIVE)
    assert slowest < 200
    # Without momentum by far; momentum's speed is ten times that of its rate here.
    assert steps["sgd"] > 20 * slowest
    assert min(steps["momentum"], steps["nesterov"]) > 2 * slowest


@pytest.mark.curriculum("descent", "optimizers on a plateau or a saddle")
def test_adaptive_optimizers_leave_a_saddle_sooner() -> None:
    """x^2 - y^2 beside the ridge that leads into the saddle."""

    def saddle(x: Any) -> float:
        return float(x[0] ** 2 - x[1] ** 2)

    def slope(x: Any) -> Any:
        return np.array([2 * x[0], -2 * x[1]])

    start = [1.0, 1e-6]
    steps = {
        name: steps_until(
            minimize(saddle, start, name, 2000, slope, lr=0.01)[1], lambda x: abs(x[1]) > 0.5
        )
        for name in NAMES
    }
    assert np.isfinite(list(steps.values())).all()
    slowest = max(steps[name] for name in ADAPTIVE)
    assert 3 * slowest < steps["sgd"]
    assert slowest < min(steps["momentum"], steps["nesterov"])


def colours_of(figure: Any, path: Path) -> int:
    """How many colours there are in a picture once it is a PNG."""
    from matplotlib import image

    figure.savefig(path)
    pixels = image.imread(path)
    assert min(pixels.shape[:2]) > 250
    return len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0))


@pytest.mark.curriculum("descent", "optimizers on a plateau or a saddle")
def test_picture_of_optimizers_on_a_saddle(tmp_path: Path) -> None:
    """Their paths on one surface, and how fast each goes down."""
    from softstep.plotting import descent_paths

    def saddle(x: Any) -> Any:
        return x[0] ** 2 - x[1] ** 2

    paths = {
        name: minimize(saddle, [1.0, 1e-3], name, 40, lambda x: x * [2, -2], lr=0.02)[1]
        for name in NAMES
    }
    figure = descent_paths(saddle, paths, xlim=(-1.2, 1.2), ylim=(-0.5, 1.2))
    left, right = figure.axes[:2]
    assert (left.get_xlabel(), left.get_ylabel()) == ("$x_0$", "$x_1$")
    assert (right.get_xlabel(), right.get_ylabel()) == ("step", "f(x)")
    assert [text.get_text() for text in right.get_legend().get_texts()] == list(NAMES)
    for line, path in zip(right.get_lines(), paths.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [saddle(x) for x in path])
    assert colours_of(figure, tmp_path / "saddle.png") > 500


@pytest.mark.curriculum("descent", "plots: contour, quiver, tangent")
def test_contour_with_the_path(tmp_path: Path) -> None:
    """The level curves of x0^2 + x1^2 with the path from (-3, 4)."""
    from softstep.plotting import contour

    _, path = gradient_descent(lambda x: np.sum(x**2), [-3.0, 4.0], lr=0.1, step_num=20)
    figure = contour(lambda x: np.sum(x**2), path)
    ax = figure.axes[0]
    drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == 21]
    assert len(drawn) == 1
    np.testing.assert_array_equal(np.transpose(drawn[0].get_data()), path)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert left < -3
    assert high > 4
    assert right > path[-1, 0]
    assert low < path[-1, 1]
    assert colours_of(figure, tmp_path / "contour.png") > 100


@pytest.mark.curriculum("descent", "plots: contour, quiver, tangent")
def test_quiver_of_the_negative_gradient(tmp_path: Path) -> None:
    """Arrows of x0^2 + x1^2: they point to the origin and shorten towards it."""
    from matplotlib.quiver import Quiver

    from softstep.plotting import quiver

    figure = quiver(lambda x: x[0] ** 2 + x[1] ** 2, num=9)
    (arrows,) = (part for part in figure.axes[0].get_children() if isinstance(part, Quiver))
    assert arrows.N == 81
    np.testing.assert_allclose(np.ravel(arrows.U), -2 * arrows.X, atol=1e-8)
    np.testing.assert_allclose(np.ravel(arrows.V), -2 * arrows.Y, atol=1e-8)
    assert colours_of(figure, tmp_path / "quiver.png") > 100


@pytest.mark.curriculum("descent", "plots: contour, quiver, tangent")
def test_function_with_its_tangent(tmp_path: Path) -> None:
    """0.01 x^2 + 0.1 x with its tangent at 5, as in the book."""
    from softstep.numerical import tangent_line
    from softstep.plotting import tangent

    def f(x: Any) -> Any:
        return 0.01 * x**2 + 0.1 * x

    line = tangent_line(f, 5)
    assert line.slope == pytest.approx(0.2, abs=1e-10)
    figure = tangent(f, 5, xlim=(0, 20))
    curve, straight, point = figure.axes[0].get_lines()
    np.testing.assert_allclose(curve.get_ydata(), f(np.asarray(curve.get_xdata())))
    np.testing.assert_allclose(straight.get_ydata(), line(straight.get_xdata()))
    assert point.get_xdata() == [5]
    assert point.get_ydata() == [pytest.approx(0.75)]
    assert colours_of(figure, tmp_path / "tangent.png") > 50
