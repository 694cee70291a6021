"""``softstep train``: models, optimizers, rows held out, checkpoints, pictures."""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import check_error, run, saved

import softstep
from softstep import MLP, Digits, LinearRegression, SoftmaxRegression, Trainer
from softstep.data import downloads, files

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """What a command prints with --json."""
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def write_small(folder: Path, train: int = 300, test: int = 50) -> None:
    """Files with the names and shapes of Fashion-MNIST, and labels that the images tell."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", train), ("t10k", test)):
        y = rng.integers(0, 10, n)
        x = rng.integers(0, 60, (n, 28, 28))
        x[np.arange(n), y * 2] = 255
        for name, array in (("images-idx3", x), ("labels-idx1", y)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            content = gzip.compress(header + array.astype(np.uint8).tobytes(), 1)
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(content)


# Models


def test_mlp(capsys: Capture) -> None:
    """What the arguments say is what is trained, to the bit."""
    found = answer(
        capsys, "train", "--model", "mlp", "--hidden", "32,16", "--activation", "tanh",
        "--dropout", "0.25", "--epochs", "3", "--lr", "0.3", "--seed", "5", "--out", "mlp",
    )  # fmt: skip
    assert (found["kind"], found["hidden"], found["activation"]) == ("mlp", [32, 16], "tanh")
    model = MLP(10, (32, 16), 0.3, "tanh", 0.25, seed=5)
    history = Trainer(3, progress=False).fit(model, Digits(32, seed=5))
    assert [one["train_loss"] for one in found["history"]] == [one.train_loss for one in history]
    model.save("mine")
    assert saved("mine") == saved("mlp")
    evaluated = answer(capsys, "evaluate", "mlp")
    assert evaluated["test_accuracy"] == found["test_accuracy"] == history[-1].val_accuracy


def test_mlp_by_default_learns_the_digits(capsys: Capture) -> None:
    found = answer(capsys, "train", "--model", "mlp")
    assert found["hidden"] == [256]
    assert found["test_accuracy"] >= 0.91


def test_linear_regression(capsys: Capture) -> None:
    found = answer(capsys, "train", "--model", "linear", "--out", "line")
    assert (found["data"], found["test_accuracy"]) == ("synthetic", None)
    assert found["test_loss"] < 2e-4  # the noise has a variance of 1e-4
    w, b = LinearRegression.load("line").get_w_b()
    np.testing.assert_allclose(w, [[2, -3.4]], atol=0.01)
    np.testing.assert_allclose(b, [4.2], atol=0.01)
    evaluated = answer(capsys, "evaluate", "line", "--data", "synthetic")
    assert evaluated["test_loss"] == found["test_loss"]
    status, out, _ = run(capsys, "train", "--model", "linear", "--epochs", "1")
    assert status == 0
    assert re.match(r"epoch 1/1: train loss [\d.]+, validation loss [\d.]+, [\d,]+ rows/s\n", out)
    assert re.search(r"^test loss [\d.e-]+$", out, re.MULTILINE)
    status, out, _ = run(
        capsys, "evaluate", "softstep-synthetic.safetensors", "--data", "synthetic"
    )
    assert status == 0
    assert re.fullmatch(r"test loss [\d.e-]+\n", out)


@pytest.mark.parametrize(
    ("name", "lr"),
    [
        ("sgd", 0.5), ("momentum", 0.05), ("nesterov", 0.05), ("rmsprop", 0.001), ("adam", 0.001),
        ("adamw", 0.001),
    ],
)  # fmt: skip
def test_optimizers(capsys: Capture, name: str, lr: float) -> None:
    found = answer(capsys, "train", "--optimizer", name, "--epochs", "4")
    assert (found["optimizer"], found["lr"]) == (name, pytest.approx(lr))
    model = SoftmaxRegression(10, found["lr"])
    Trainer(4, optimizer=name, progress=False).fit(model, Digits(32))
    model.save("mine")
    assert saved("mine") == saved()
    assert found["test_accuracy"] > 0.6


# Rows held out


def test_early_stopping_watches_rows_held_out(capsys: Capture) -> None:
    found = answer(capsys, "train", "--early-stopping", "2", "--epochs", "500")
    assert found["val_size"] == 0.1
    assert found["stopped_early"]
    accuracies = [one["val_accuracy"] for one in found["history"]]
    best = found["best_epoch"]
    assert best == int(np.argmax(accuracies))
    assert len(accuracies) == best + 1 + 2
    # The model is that of the best epoch, and the test rows were no part of the choice.
    data = Digits(32, val_size=0.1)
    model = SoftmaxRegression.load("softstep-digits.safetensors")
    assert softstep.evaluate(model, data).accuracy == accuracies[best]
    test = softstep.evaluate(model, data.on_test())
    assert (test.rows, test.accuracy, test.mean_loss) == (
        360, found["test_accuracy"], found["test_loss"],
    )  # fmt: skip


def test_test_rows_are_read_once_at_the_end(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = Digits.read_rows

    def noted(self: Digits, train: bool) -> Any:
        read.append("train" if train else "test")
        return original(self, train)

    class Noted(softstep.Callback):
        def on_fit_end(self, trainer: Trainer) -> None:
            read.append("end of training")

    monkeypatch.setattr(Digits, "read_rows", noted)
    stopping = softstep.EarlyStopping
    monkeypatch.setattr(stopping, "on_fit_end", _both(stopping.on_fit_end, Noted().on_fit_end))
    assert run(capsys, "train", "--early-stopping", "--epochs", "5")[0] == 0
    assert read == ["train", "end of training", "test"]


def _both(first: Any, second: Any) -> Any:
    def call(self: Any, trainer: Trainer) -> None:
        first(self, trainer)
        second(trainer)

    return call


def test_lines_of_a_training_with_rows_held_out(capsys: Capture) -> None:
    status, out, err = run(capsys, "train", "--val-size", "100", "--epochs", "2")
    assert (status, err) == (0, "")
    first, _, last, _ = out.splitlines()
    assert "validation loss" in first
    assert "validation accuracy" in first
    assert "test" not in first
    assert last.startswith("test accuracy 0.")
    status, out, _ = run(capsys, "train", "--early-stopping", "--epochs", "2")
    assert "the model is that of epoch 2, the best one" in out.splitlines()


# Checkpoints


@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_resume_goes_on_to_the_same_bits(capsys: Capture, model: str) -> None:
    common = ("train", "--model", model, "--optimizer", "momentum", "--seed", "3")
    straight = answer(capsys, *common, "--epochs", "4", "--out", "straight")
    assert run(capsys, *common, "--epochs", "2", "--checkpoint", "half")[0] == 0
    resumed = answer(capsys, *common, "--epochs", "4", "--resume", "half", "--out", "resumed")
    assert saved("straight") == saved("resumed")
    losses = [[one["train_loss"] for one in run_["history"]] for run_ in (straight, resumed)]
    assert losses[0] == losses[1]
    status, out, _ = run(capsys, *common, "--epochs", "4", "--resume", "half")
    assert status == 0
    assert out.startswith("resumed after 90 steps\nepoch 3/4")
    before = Path("half").read_bytes()
    replaced = run(capsys, *common, "--resume", "half", "--out", "half")
    check_error(replaced, "half is what --resume reads")
    assert Path("half").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--model", "mlp"), "MLP"),
        (("--lr", "0.1"), "lr"),
        (("--seed", "1"), "seed"),
        (("--optimizer", "adam", "--lr", "0.5"), "Adam"),
        (("--batch-size", "64"), "batch"),
        (("--val-size", "0.1"), "rows"),
        # Defaults of lr differ, too; what is named is what was asked for.
        (("--optimizer", "adam"), "its optimizer has class 'SGD' instead of 'Adam'"),
        (("--optimizer", "momentum"), "its optimizer has momentum 0.0 instead of 0.9"),
        (("--optimizer", "adam", "--seed", "1", "--batch-size", "64"), "instead of 'Adam'"),
        (("--model", "mlp", "--optimizer", "adam", "--seed", "1"), "instead of 'MLP'"),
    ],
)
def test_a_checkpoint_of_another_training(
    capsys: Capture, arguments: tuple[str, ...], word: str
) -> None:
    assert run(capsys, "train", "--epochs", "1", "--checkpoint", "other")[0] == 0
    Path("softstep-digits.safetensors").unlink()
    result = run(capsys, "train", "--epochs", "2", "--resume", "other", *arguments, "--json")
    check_error(result, "other: is of another training", word)
    assert not Path("softstep-digits.safetensors").exists()


def test_a_damaged_checkpoint(capsys: Capture) -> None:
    Path("text").write_text("no checkpoint", encoding="utf-8")
    check_error(run(capsys, "train", "--resume", "text"), "text: ")
    check_error(run(capsys, "train", "--resume", "nowhere"), "nowhere: No such file")
    assert run(capsys, "train", "--epochs", "1")[0] == 0
    check_error(run(capsys, "train", "--resume", "softstep-digits.safetensors"), "softstep-digits")


# Pictures


@pytest.mark.parametrize("name", ["curve.png", "curve.svg", "curve.pdf"])
def test_plot(capsys: Capture, name: str) -> None:
    status, out, err = run(capsys, "train", "--epochs", "2", "--plot", name)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == f"picture saved to {name}"
    assert Path(name).stat().st_size > 5000
    assert answer(capsys, "train", "--epochs", "1", "--plot", name)["plot"] == name


# Fashion-MNIST, and downloads


def test_fashion_mnist(capsys: Capture) -> None:
    write_small(Path("files/fashion-mnist"))
    common = ("--data", "fashion-mnist", "--data-dir", "files")
    found = answer(capsys, "train", *common, "--batch-size", "32")
    assert (found["data"], found["epochs"], found["lr"]) == ("fashion-mnist", 10, 0.1)
    assert found["test_accuracy"] > 0.9
    model = "softstep-fashion-mnist.safetensors"
    assert answer(capsys, "evaluate", model, *common)["test_accuracy"] == found["test_accuracy"]


def test_download_only_when_asked(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOFTSTEP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd() / "cache"))
    asked: list[str] = []

    def fetch(mirror: str, names: Any, published: Any, folder: Path) -> None:
        asked.append(mirror)
        if len(asked) == 1:
            raise downloads.DownloadError(f"{mirror}{names[0]}.gz: no connection")
        write_small(folder)

    monkeypatch.setattr(files, "fetch_files", fetch)
    common = ("train", "--data", "fashion-mnist", "--epochs", "1")
    check_error(run(capsys, *common), "Fashion-MNIST files not found")
    assert not asked
    check_error(run(capsys, *common, "--download"), "amazonaws.com", "no connection")
    found = answer(capsys, *common, "--download", "--data-dir", "new")
    assert len(found["history"]) == 1
    assert Path("new/fashion-mnist/t10k-labels-idx1-ubyte.gz").is_file()
    assert len(asked) == 2


# Errors, before anything is trained


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "tree"), ("--model", "'tree'")),
        (("--optimizer", "lbfgs"), ("--optimizer", "'lbfgs'")),
        (("--model", "linear", "--data", "digits"), ("--model linear", "--data digits")),
        (("--model", "mlp", "--data", "synthetic"), ("--model mlp", "accepted: linear")),
        (("--hidden", "8"), ("--hidden is given", "choose --model mlp")),
        (("--dropout", "0"), ("--dropout is given",)),
        (("--activation", "tanh"), ("--activation is given",)),
        (("--model", "mlp", "--hidden", "8,"), ("argument --hidden: is '8,'",)),
        (("--model", "mlp", "--hidden", "0"), ("argument --hidden: is '0'",)),
        (("--model", "mlp", "--dropout", "1"), ("argument --dropout: is '1'",)),
        (("--model", "mlp", "--dropout", "x"), ("argument --dropout: is 'x'",)),
        (("--val-size", "0"), ("argument --val-size: is '0'",)),
        (("--val-size", "1.0"), ("argument --val-size: is '1.0'",)),
        (("--val-size", "1437"), ("val_size",)),
        (("--model", "linear", "--val-size", "9"), ("--val-size is given", "synthetic")),
        (("--early-stopping", "0"), ("argument --early-stopping: is '0'",)),
        (("--download",), ("--download is given, but digits comes with softstep",)),
        (("--plot", "curve.gif"), ("--plot curve.gif ends with 'gif'",)),
        (("--plot", "no/such/curve.png"), ("no/such is no folder",)),
        (("--checkpoint", "no/such/state"), ("--checkpoint no/such/state",)),
        (("--out", "same", "--checkpoint", "same"), ("the same file",)),
    ],
)
def test_wrong_arguments(
    capsys: Capture, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    check_error(run(capsys, "train", *arguments), *words)
    assert not list(Path.cwd().iterdir())


def test_without_matplotlib(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(capsys, "train", "--plot", "curve.png")
    check_error(result, "pip install 'softstep[plot]'")
    assert not list(Path.cwd().iterdir())


def test_wrong_kinds_of_models(capsys: Capture) -> None:
    assert run(capsys, "train", "--epochs", "1", "--out", "model")[0] == 0
    result = run(capsys, "evaluate", "model", "--data", "synthetic")
    check_error(result, "model holds a SoftmaxRegression; accepted with synthetic: a regression")
