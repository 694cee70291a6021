"""Figures belong to the caller alone, become files as a whole, and say what they lack."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from softstep import plotting

SIGNATURES = {".png": b"\x89PNG\r\n", ".svg": b"<?xml", ".pdf": b"%PDF"}


def figure_of_a_curve() -> Figure:
    return plotting.plot([1, 2, 3], [1, 4, 9], xlabel="x", ylabel="y")


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_files(tmp_path: Path, suffix: str) -> None:
    """Each format; equal figures are equal bytes."""
    path = tmp_path / f"curve{suffix}"
    contents = []
    for _ in range(2):
        plotting.save_figure(figure_of_a_curve(), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(SIGNATURES[suffix])
    assert list(tmp_path.iterdir()) == [path]


def test_dpi_is_pixels_per_inch(tmp_path: Path) -> None:
    from matplotlib import image

    path = tmp_path / "curve.PNG"
    figure = figure_of_a_curve()
    width, height = figure.get_size_inches()
    plotting.save_figure(figure, path, dpi=60)
    assert image.imread(path).shape[:2] == (round(60 * height), round(60 * width))


@pytest.mark.parametrize("name", ["curve", "curve.gif", "curve.png.txt", ".png"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"accepted: a name with \.pdf, \.png, \.svg"):
        plotting.save_figure(figure_of_a_curve(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dpi", [0, -1, float("nan"), "many"])
def test_wrong_dpi(tmp_path: Path, dpi: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="dpi is"):
        plotting.save_figure(figure_of_a_curve(), tmp_path / "curve.png", dpi=dpi)
    assert not list(tmp_path.iterdir())


def test_a_figure_is_required(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="figure is a list; accepted: a matplotlib Figure"):
        plotting.save_figure([], tmp_path / "curve.png")  # type: ignore[arg-type]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "curve.png"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        plotting.save_figure(figure_of_a_curve(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_figures_are_gone_when_nobody_holds_them() -> None:
    figure = figure_of_a_curve()
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None


def test_a_notebook_shows_a_figure() -> None:
    picture = figure_of_a_curve()._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(SIGNATURES[".png"])


def test_axes_of_the_caller() -> None:
    """What draws one picture draws into axes that are given, and nothing else."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plotting.plot([1, 2], ax=left) is figure
    assert plotting.tangent(np.sin, 0.0, ax=right) is figure
    assert [len(ax.lines) for ax in (left, right)] == [1, 3]
    inner = figure.subfigures()
    assert plotting.plot([1, 2], ax=inner.subplots()) is figure
    with pytest.raises(TypeError, match="ax is a Figure; accepted: a matplotlib Axes, or None"):
        plotting.plot([1, 2], ax=figure)  # type: ignore[arg-type]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_no_matplotlib_and_drawing_no_pyplot() -> None:
    out = run("""
        import sys
        from softstep import plotting
        print(any(name.startswith("matplotlib") for name in sys.modules))
        plotting.confusion_matrix([0], [0])
        print(any(name.startswith("matplotlib") for name in sys.modules))
        import matplotlib
        before = matplotlib.rcParams.copy()
        import io
        figure = plotting.contour(lambda x: x[0] ** 2 + x[1] ** 2)
        figure.savefig(io.BytesIO())
        print("matplotlib.pyplot" in sys.modules, matplotlib.rcParams.copy() == before)
    """)
    assert out.split() == ["False", "False", "False", "True"]


def test_without_matplotlib() -> None:
    """The error says what to install."""
    out = run("""
        import sys
        sys.modules["matplotlib"] = None
        from softstep import plotting
        print(plotting.confusion_matrix([0], [0]))
        for draw in (lambda: plotting.plot([1]), lambda: plotting.show_images([[[1.0]]])):
            try:
                draw()
            except ImportError as error:
                print(error)
    """)
    assert out.count("pip install 'softstep[plot]'") == 2
