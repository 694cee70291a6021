"""The command line, in this process and as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import check_error, run, saved, start

import softstep
from softstep import LinearRegression, SoftmaxRegression
from softstep.cli import output
from softstep.cli.data import DATA

NEEDS_MNIST = "MNIST files not found (set SOFTSTEP_DATA)"


def test_train_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "train")
    assert (status, err) == (0, "")
    *epochs, accuracy, model = out.splitlines()
    assert len(epochs) == 30
    for number, line in enumerate(epochs, 1):
        assert re.fullmatch(
            rf"epoch {number}/30: train loss [\d.]+, test loss [\d.]+, "
            r"test accuracy 0\.\d{4}, [\d,]+ rows/s",
            line,
        )
    assert float(accuracy.removeprefix("test accuracy ")) >= 0.9
    assert model == "model saved to softstep-digits.safetensors"
    loaded = softstep.load("softstep-digits.safetensors")
    found = softstep.evaluate(loaded, softstep.Digits())
    assert f"test accuracy {found.accuracy:.4f}" == accuracy

    status, out, err = run(capsys, "evaluate", "softstep-digits.safetensors")
    assert (status, err) == (0, "")
    assert out.startswith(accuracy)


def test_train_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(
        capsys, "train", "--json", "--epochs", "3", "--lr", "0.25", "--batch-size", "100",
        "--seed", "7", "--threads", "2", "--out", "other",
    )  # fmt: skip
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["model"] == "other"
    assert (found["epochs"], found["lr"], found["batch_size"], found["seed"]) == (3, 0.25, 100, 7)
    assert [record["epoch"] for record in found["history"]] == [0, 1, 2]
    assert found["test_accuracy"] == found["history"][-1]["val_accuracy"]
    # What the arguments say is what is trained.
    model = SoftmaxRegression(10, 0.25, seed=7)
    history = softstep.Trainer(3).fit(model, softstep.Digits(100, seed=7))
    assert [r["train_loss"] for r in found["history"]] == [r.train_loss for r in history]
    model.save("mine")
    assert saved("mine") == saved("other")

    status, out, err = run(capsys, "evaluate", "other", "--json", "--threads", "1")
    assert (status, err) == (0, "")
    evaluated = json.loads(out)
    assert evaluated["test_accuracy"] == found["test_accuracy"]
    assert evaluated["rows"] == 360


def test_json_has_no_nan() -> None:
    found = output.finite(
        {"a": [float("nan"), 1.0], "b": {"c": -float("inf"), "d": None}, "e": "x"}
    )
    assert found == {"a": [None, 1.0], "b": {"c": None, "d": None}, "e": "x"}


def test_the_seed_sets_shuffle_and_start(capsys: pytest.CaptureFixture[str]) -> None:
    models = []
    for seed in ("0", "0", "1"):
        assert run(capsys, "train", "--epochs", "1", "--seed", seed)[0] == 0
        models.append(saved())
    assert models[0] == models[1] != models[2]


def test_processes_and_threads_give_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    models = set()
    for threads in ("1", "2", "2"):
        process = start("train", "--epochs", "3", "--threads", threads)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert out.count("epoch ") == 3
        models.add(saved())
    assert run(capsys, "train", "--epochs", "3")[0] == 0
    assert models == {saved()}


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "info", "--json")
    assert status == 0
    assert json.loads(out) == json.loads(json.dumps(softstep.show_config()))
    status, out, _ = run(capsys, "info")
    assert status == 0
    for word in ("version", "level", "compiler", "processor", "cpus", "threads"):
        assert re.search(rf"^{word}: +\S", out, re.MULTILINE)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"softstep {softstep.__version__}\n", "")
    for arguments in ((), ("train",), ("evaluate",), ("info",)):
        status, out, err = run(capsys, *arguments, "--help")
        assert (status, err) == (0, "")
        assert out.startswith("usage: softstep")


# Errors: one line, status 2


NUMBERS = [
    *(("--epochs", text) for text in ("0", "-1", "1.5", "x", "")),
    *(("--batch-size", text) for text in ("0", "-5", "nan")),
    *(("--lr", text) for text in ("nan", "inf", "-0.1", "x", "1e999")),
    *(("--seed", text) for text in ("-1", "1.5", "x")),
    *(("--threads", text) for text in ("0", "-1", "x")),
]


@pytest.mark.parametrize(("name", "text"), NUMBERS)
def test_wrong_numbers(capsys: pytest.CaptureFixture[str], name: str, text: str) -> None:
    result = run(capsys, "train", f"{name}={text}")
    check_error(result, f"argument {name}: is {text!r}; accepted: ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "required: COMMAND"),
        (("paint",), "'paint'"),
        (("train", "--data", "iris"), "'iris'"),
        (("train", "--colour"), "--colour"),
        (("train", "--epo", "3"), "--epo"),
        (("train", "--epochs"), "--epochs"),
        (("train", "--out", ""), "--out"),
        (("train", "--out", "no/such/folder"), "no/such is no folder"),
        (("train", "--out", "."), "not a regular file"),
        (("train", "--out", os.devnull), "not a regular file"),
        (("train", "--data-dir", "."), "--data-dir is given, but digits comes with softstep"),
        (("train", "--data", "mnist", "--data-dir", "nowhere"), "--data-dir nowhere is no folder"),
        (("evaluate",), "MODEL"),
        (("evaluate", "nowhere"), "nowhere: No such file"),
        (("evaluate", "."), "not a regular file"),
    ],
)
def test_wrong_arguments(capsys: pytest.CaptureFixture[str], arguments: Any, word: str) -> None:
    check_error(run(capsys, *arguments), word)


def test_missing_data_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOFTSTEP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd() / "no-cache"))
    result = run(capsys, "train", "--data", "mnist", "--data-dir", ".")
    check_error(result, "MNIST files not found", "train-images-idx3-ubyte")


def test_damaged_data_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        Path(f"{part}-ubyte").write_bytes(b"no images")
    check_error(run(capsys, "train", "--data", "mnist", "--data-dir", "."), "-ubyte: ")


def test_wrong_models(capsys: pytest.CaptureFixture[str]) -> None:
    Path("text").write_text("no model at all", encoding="utf-8")
    check_error(run(capsys, "evaluate", "text"), "text: is no safetensors file")
    linear = LinearRegression(0.1)
    linear.infer(64)
    linear.save("linear")
    check_error(run(capsys, "evaluate", "linear"), "holds a LinearRegression")
    for outputs, features in ((10, 784), (9, 64)):
        model = SoftmaxRegression(outputs, 0.1)
        model.infer(features)
        model.save("model")
        words = (f"{outputs} classes of rows of {features} features", "10 classes of 64 features")
        check_error(run(capsys, "evaluate", "model"), *words)


def test_damaged_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", "--epochs", "1")[0] == 0
    Path("cut").write_bytes(saved()[:-1])
    check_error(run(capsys, "evaluate", "cut"), "cut: is damaged")


def test_a_failed_save_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = run(capsys, "train", "--epochs", "1")
    assert (status, err) == (2, "softstep: error: No space left on device\n")


def test_divergence_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = run(capsys, "train", "--lr", "1e38", "--json")
    check_error((status, out, err), "not finite in step", "of epoch")
    assert not list(Path.cwd().iterdir())


def test_an_error_as_a_process_has_no_traceback() -> None:
    process = start("evaluate", "nowhere")
    out, err = process.communicate(timeout=60)
    check_error((process.returncode, out, err), "nowhere")


# Interruptions and pipes


def test_ctrl_c() -> None:
    process = start("train", "--epochs", "1000000000")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch 1/")
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "softstep: interrupted\n")
    assert time.monotonic() - begin < 30
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("arguments", [("train",), ("train", "--json"), ("info",)])
def test_a_closed_pipe_is_no_traceback(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*arguments, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


def test_a_full_output_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs Linux")
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        process = start("info", stdout=full)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "softstep: error: No space left on device\n")


# The real thing


@pytest.fixture(scope="session")
def mnist_folder() -> str:
    try:
        files = softstep.MNIST().files
    except FileNotFoundError:
        pytest.skip(NEEDS_MNIST)
    return str(next(iter(files.values())).parent)


def test_mnist(capsys: pytest.CaptureFixture[str], mnist_folder: str) -> None:
    models = set()
    for threads in ("1", "2", "2"):
        status, out, err = run(
            capsys, "train", "--data", "mnist", "--data-dir", mnist_folder, "--epochs", "10",
            "--lr", "0.1", "--batch-size", "256", "--seed", "0", "--threads", threads, "--json",
            "--out", "model",
        )  # fmt: skip
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert 0.915 <= found["test_accuracy"] <= 0.925
        models.add(saved("model"))
    assert len(models) == 1
    status, out, _ = run(
        capsys, "evaluate", "model", "--data", "mnist", "--data-dir", mnist_folder, "--json"
    )
    assert status == 0
    assert json.loads(out)["test_accuracy"] == found["test_accuracy"]
    check_error(run(capsys, "evaluate", "model"), "10 classes of rows of 784 features")


def test_mnist_defaults_are_the_issues_settings() -> None:
    data = DATA["mnist"]
    assert (data.epochs, data.lr, data.batch_size) == (10, 0.1, 256)


def test_importing_is_light() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import softstep.cli; "
        "print(' '.join(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "softstep" in out
    assert not {"tqdm", "safetensors", "torch", "scipy", "sklearn", "matplotlib"} & set(out)


def test_predictions_of_a_saved_model(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "train", "--json")
    assert status == 0
    model = SoftmaxRegression.load("softstep-digits.safetensors")
    hits = [model.predict(X) == y for X, y in softstep.Digits(batch_size=100).val_dataloader()]
    assert np.concatenate(hits).mean() == json.loads(out)["test_accuracy"]
