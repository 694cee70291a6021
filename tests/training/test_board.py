"""The board: its points, its files, a notebook."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_models import Mean, small

from softstep import Digits, ProgressBoard, ProgressPlot, SoftmaxRegression, Trainer
from softstep.training import board as board_module


def drawn(**options: Any) -> ProgressBoard:
    board = ProgressBoard(xlabel="epoch", **({"display": False} | options))
    for epoch in range(1, 6):
        board.draw(epoch, 1 / epoch, "train_loss")
        board.draw(epoch, 1 - 1 / epoch, "val_accuracy")
    return board


# Points


def test_points_are_kept_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it is an ImportError
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    board = drawn()
    assert list(board.data) == ["train_loss", "val_accuracy"]
    assert board.data["train_loss"][1] == (2, 0.5)
    assert drawn(display=True).data == board.data  # not in a notebook: nothing to draw on
    with pytest.raises(ImportError, match=r"pip install 'softstep\[plot\]'"):
        board.render()


def test_every_n_points_give_their_mean() -> None:
    board = ProgressBoard(display=False)
    for i in range(10):
        board.draw(i, 10 * i, "a", every_n=4)
        board.draw(np.float32(i), np.float64(i), "b", every_n=1)
    assert board.data["a"] == [(1.5, 15), (5.5, 55)]
    assert len(board.data["b"]) == 10


@pytest.mark.parametrize("every", [0, -3])
def test_an_epoch_of_one_batch_has_a_curve_too(every: int) -> None:
    """The book's board draws nothing then: half a batch rounds to every 0th point."""
    board = ProgressBoard(display=False)
    board.draw(1, 2, "loss", every_n=every)
    assert board.data["loss"] == [(1, 2)]


def test_points_that_are_no_numbers() -> None:
    board = ProgressBoard(display=False)
    for wrong in ("a", None, [1, 2]):
        with pytest.raises(TypeError, match=r"y is .*; accepted: a number"):
            board.draw(1, wrong, "loss")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"every_n is 1\.5"):
        board.draw(1, 1, "loss", every_n=1.5)  # type: ignore[arg-type]
    board.draw(1, math.nan, "loss")
    board.draw(2, 1, "loss")
    assert board.render()[:4] == b"\x89PNG"  # a gap


# Pictures


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_save(tmp_path: Path, kind: str, start: bytes) -> None:
    path = tmp_path / f"curves.{kind}"
    board = drawn()
    board.save(path)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match=r"'curves.bmp'; accepted endings: .png, .svg, .pdf"):
        board.save("curves.bmp")
    with pytest.raises(FileNotFoundError):
        board.save(tmp_path / "none" / "curves.png")


def test_the_drawing_shows_what_was_asked_for() -> None:
    board = drawn(ylabel="value", xlim=(0, 10), ylim=(0.1, 2), yscale="log", ls=["--"])
    board.render()
    axes = board.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "value")
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 10), (0.1, 2))
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    first, second = axes.lines
    assert (first.get_linestyle(), second.get_linestyle()) == ("--", "--")
    assert (first.get_color(), second.get_color()) == ("C0", "C1")
    np.testing.assert_allclose(first.get_ydata(), 1 / np.arange(1, 6))
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["train_loss", "val_accuracy"]
    board.draw(6, 0.1, "train_loss")
    board.render()
    assert len(board.axes.lines) == 2
    assert len(board.axes.lines[0].get_xdata()) == 6


def test_more_curves_than_styles() -> None:
    board = ProgressBoard(display=False)
    for i in range(6):
        board.draw(0, i, f"curve {i}")
    board.render()
    assert [line.get_color() for line in board.axes.lines] == ["C0", "C1", "C2", "C3", "C0", "C1"]
    assert {line.get_marker() for line in board.axes.lines} == {"o"}  # one point is no line


def test_axes_of_ones_own() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subplots(1, 2)
    board = drawn(axes=right)
    board.render()
    assert board.fig is figure
    assert len(right.lines) == 2
    assert not left.lines


def test_no_global_state_of_matplotlib_is_used() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    drawn().render()
    assert plt.get_fignums() == before


def test_a_file_is_kept_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "_SECONDS", 0.0)
    path = tmp_path / "live.png"
    board = ProgressBoard(display=False, save=path)
    sizes = []
    for epoch in range(3):
        board.draw(epoch, epoch**2, "loss")
        sizes.append(path.read_bytes())
    assert len(set(sizes)) == 3

    # Not more often than a person sees; the last points come with the end of the fit.
    monkeypatch.setattr(board_module, "_SECONDS", 1000.0)
    later = tmp_path / "later.svg"
    quiet = ProgressBoard(display=False, save=later)
    quiet.draw(0, 1, "loss")
    first = later.read_bytes()
    quiet.draw(1, 2, "loss")
    assert later.read_bytes() == first
    quiet.flush()
    assert later.read_bytes() != first
    with pytest.raises(ValueError, match="accepted endings"):
        ProgressBoard(save="curves")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"xlim": 5}, "xlim is 5; accepted: two numbers"),
        ({"ylim": (0, math.inf)}, r"ylim\[1\] is inf"),
        ({"ls": "-"}, "ls is '-'; accepted: a sequence"),
        ({"colors": []}, r"colors is \[\]; accepted: a sequence"),
    ],
)
def test_wrong_settings(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ProgressBoard(**options)


# Notebooks


class Shown:
    """What stands in for IPython: keeps what is displayed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kernel: bool = True) -> None:
        self.new: list[str] = []
        self.updates: list[str] = []
        shell = types.SimpleNamespace(kernel=object() if kernel else None)
        ipython = types.ModuleType("IPython")
        ipython.version_info = (8, 24)  # type: ignore[attr-defined]  # Matplotlib asks
        ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
        module = types.ModuleType("IPython.display")
        module.SVG = lambda data: data  # type: ignore[attr-defined]
        module.display = self.display  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", module)
        monkeypatch.setattr(board_module, "_SECONDS", 0.0)

    def display(self, picture: str, display_id: bool) -> Any:
        assert display_id
        self.new.append(picture)
        return types.SimpleNamespace(update=self.updates.append)


def test_a_notebook_shows_one_drawing_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    board = drawn(display=True)
    assert len(shown.new) == 1
    assert len(shown.updates) == 9
    assert all(picture.startswith("<?xml") for picture in [*shown.new, *shown.updates])
    board.clear()
    board.draw(1, 1, "again")
    assert len(shown.new) == 2
    pickle.dumps(board.data)


def test_nothing_is_shown_where_it_should_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch, kernel=False)  # IPython in a terminal
    drawn(display=True)
    assert shown.new == []
    shown = Shown(monkeypatch)
    drawn(display=False)
    assert shown.new == []


def test_without_a_display(tmp_path: Path) -> None:
    """A process of its own, without DISPLAY and with any backend: a PNG and no window."""
    script = (
        "from softstep import ProgressBoard\n"
        "board = ProgressBoard(xlabel='x', save='curve.png')\n"
        "for x in range(5): board.draw(x, x * x, 'square')\n"
        "board.flush()\n"
        "import sys; assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    hidden = {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path, env=environment, check=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


# In training


def test_a_board_in_training(tmp_path: Path) -> None:
    board = ProgressBoard(xlabel="epoch", display=False, save=tmp_path / "history.png")
    plot = ProgressPlot(board)
    trainer = Trainer(4, callbacks=[plot])
    history = trainer.fit(SoftmaxRegression(10, 0.5), Digits())
    assert trainer.fused
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert [p.x for p in board.data[name]] == [1, 2, 3, 4]
        assert [p.y for p in board.data[name]] == [getattr(r, name) for r in history]
    assert (tmp_path / "history.png").is_file()
    assert not board._stale
    # Another fit begins anew; what is not measured is not drawn.
    Trainer(2, callbacks=[plot]).fit(Mean(), small(val=False))
    assert list(board.data) == ["train_loss"]
    assert len(board.data["train_loss"]) == 2


def test_wrong_settings_of_a_plot() -> None:
    with pytest.raises(TypeError, match="board is a str; accepted: a ProgressBoard"):
        ProgressPlot("board")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="monitors holds 'loss'; accepted: epoch, train_loss"):
        ProgressPlot(monitors=["loss"])


def test_the_board_of_a_model_is_up_to_date_when_the_fit_ends(tmp_path: Path) -> None:
    class Plotting(Mean):
        def __init__(self) -> None:
            super().__init__()
            self.board = ProgressBoard(display=False, save=tmp_path / "loss.svg")

        def training_step(self, batch: Any) -> Any:
            loss = super().training_step(batch)
            trainer = vars(self)["trainer"]
            self.board.draw(trainer.step / trainer.num_train_batches, loss, "train_loss")
            return loss

    model = Plotting()
    Trainer(3).fit(model, small())
    assert len(model.board.data["train_loss"]) == 9
    assert not model.board._stale
