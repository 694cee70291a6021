"""``softstep predict``: pictures, IDX and NPY files, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import check_error, run
from numpy.typing import NDArray

from softstep import MLP, Digits, LinearRegression, SoftmaxRegression, Trainer

Image = pytest.importorskip("PIL.Image")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def digits() -> tuple[SoftmaxRegression, NDArray[Any], NDArray[Any]]:
    """A model that was trained, with images (n, 8, 8) that it has not seen."""
    model, data = SoftmaxRegression(10, 0.5), Digits(32)
    Trainer(10, progress=False).fit(model, data)
    assert data.val is not None
    X, y = data.val.take(slice(0, 12))
    return model, X[:, 0], y


@pytest.fixture
def images(digits: Any) -> NDArray[Any]:
    """Those images; the model is in the file `model`."""
    model, X, _ = digits
    model.save("model")
    return X


def answers(capsys: Capture, *arguments: str) -> list[dict[str, Any]]:
    status, out, err = run(capsys, "predict", *arguments, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["model"] == arguments[0]
    predictions: list[dict[str, Any]] = found["predictions"]
    return predictions


def write_png(path: str, image: NDArray[Any]) -> None:
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(path)


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_png_is_what_the_model_says_of_the_array(
    capsys: Capture, digits: Any, images: NDArray[Any]
) -> None:
    model, X, _ = digits
    for i, image in enumerate(X):
        write_png(f"{i}.png", image)
    names = [f"{i}.png" for i in range(len(X))]
    expected = model.predict_proba(np.rint(X.reshape(len(X), 64) * 255).astype("f4") / 255)
    found = answers(capsys, "model", *names)
    for i, one in enumerate(found):
        k = int(expected[i].argmax())
        assert (one["image"], one["index"], one["class"], one["label"]) == (names[i], 0, k, str(k))
        assert one["probability"] == pytest.approx(expected[i, k], rel=1e-5)
    status, out, _ = run(capsys, "predict", "model", *names)
    assert status == 0
    for line, name, row in zip(out.splitlines(), names, expected, strict=True):
        assert line == f"{name}: {row.argmax()} ({row.max():.4f})"


def test_every_kind_of_picture_is_read_as_the_same(capsys: Capture, images: NDArray[Any]) -> None:
    """Grey, colour, transparent, a palette, 16 bits, dark on light: one image."""
    whole = np.rint(images[0] * 255).astype(np.uint8)
    grey = Image.fromarray(whole)
    clear = np.stack([np.full_like(whole, 255)] * 3 + [whole], axis=2)
    ink = np.stack([np.zeros_like(whole)] * 3 + [whole], axis=2)
    grey.save("grey.png")
    grey.convert("RGB").save("colour.png")
    grey.convert("P").save("palette.png")
    Image.fromarray(clear).save("transparent.png")
    Image.fromarray(whole.astype(np.uint16) * 257).save("bits.png")
    plain = answers(
        capsys, "model", "grey.png", "colour.png", "palette.png", "transparent.png", "bits.png"
    )
    Image.fromarray(255 - whole).save("dark.png")
    Image.fromarray(ink).save("ink.png")
    inverted = answers(capsys, "model", "--invert", "dark.png", "ink.png")
    probabilities = [one["probability"] for one in plain + inverted]
    np.testing.assert_allclose(probabilities, probabilities[0], rtol=1e-4)
    assert {one["class"] for one in plain + inverted} == {plain[0]["class"]}


def test_pictures_of_another_size_are_resized(capsys: Capture, digits: Any, images: Any) -> None:
    _, X, y = digits
    for i in range(5):
        big = np.kron(X[i], np.ones((9, 9)))
        write_png(f"{i}.png", big)
        Image.fromarray(np.rint(big * 255).astype(np.uint8)).save(f"{i}.jpg", quality=95)
    small = answers(capsys, "model", *(f"{i}.png" for i in range(5)))
    lossy = answers(capsys, "model", *(f"{i}.jpg" for i in range(5)))
    assert [one["class"] for one in small] == [one["class"] for one in lossy] == y[:5].tolist()


def test_black_and_white(capsys: Capture, digits: Any, images: NDArray[Any]) -> None:
    """True is white, not one of 16 or 255 parts of it."""
    model, X, _ = digits
    np.save("bool.npy", X > 0.5)
    found = [one["class"] for one in answers(capsys, "model", "bool.npy")]
    assert found == model.predict((X > 0.5).astype(np.float32).reshape(-1, 64)).tolist()


def test_pixels_beyond_white(capsys: Capture, images: NDArray[Any]) -> None:
    np.save("x.npy", images * 255)
    check_error(run(capsys, "predict", "model", "x.npy"), "row 0 holds pixels outside 0 to 1")


@pytest.mark.parametrize("form", ["rows", "images", "channel", "bytes", "idx", "gzip", "f8"])
def test_arrays(capsys: Capture, digits: Any, images: NDArray[Any], form: str) -> None:
    model, X, _ = digits
    raw = np.rint(X * 16).astype(np.uint8)  # the data set's own pixels
    if form in ("idx", "gzip"):
        content = idx(raw)
        Path("file").write_bytes(gzip.compress(content) if form == "gzip" else content)
    else:
        array = {
            "rows": X.reshape(-1, 64), "images": X, "channel": X[:, None], "bytes": raw,
            "f8": X.astype(">f8"),
        }[form]  # fmt: skip
        with Path("file").open("wb") as file:
            np.save(file, array)
    expected = model.predict_proba(X.reshape(-1, 64))
    found = answers(capsys, "model", "file")
    assert [one["index"] for one in found] == list(range(len(X)))
    assert [one["class"] for one in found] == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(
        [one["probability"] for one in found], expected.max(axis=1), rtol=1e-5
    )
    status, out, _ = run(capsys, "predict", "model", "file")
    assert status == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        f"file[{i}]" for i in range(len(X))
    ]


def test_one_image_of_a_file_is_not_numbered(capsys: Capture, images: NDArray[Any]) -> None:
    np.save("one.npy", images[0])
    np.save("row.npy", images[0].ravel())
    status, out, _ = run(capsys, "predict", "model", "one.npy", "row.npy")
    assert status == 0
    assert re.fullmatch(r"one\.npy: \d \(([01]\.\d{4})\)\nrow\.npy: \d \(\1\)\n", out)


def test_names_of_the_classes(capsys: Capture) -> None:
    model = MLP(10, (4,), 0.1)
    model.infer(784)
    model.layers[-1].bias.data[9] = 50
    model.save("model")
    write_png("shoe.png", np.zeros((28, 28)))
    (found,) = answers(capsys, "model", "shoe.png", "--data", "fashion-mnist")
    assert (found["label"], found["class"]) == ("ankle boot", 9)
    (found,) = answers(capsys, "model", "shoe.png")
    assert found["label"] == "9"


def test_dropout_is_off(capsys: Capture) -> None:
    model = MLP(10, (64,), 0.1, dropout=0.5)
    model.infer(64)
    model.save("model")
    write_png("a.png", np.full((8, 8), 0.5))
    (found,) = answers(capsys, "model", "a.png")
    x = np.full((1, 64), np.float32(128 / 255))
    assert found["probability"] == pytest.approx(model.predict_proba(x).max(), rel=1e-5)


def test_values_of_a_regression(capsys: Capture) -> None:
    for outputs in (1, 2):
        model = LinearRegression(0.1, num_outputs=outputs)
        model.infer(3)
        model.weight.data[:] = [[1, 2, 3]] * outputs
        model.save("line")
        np.save("x.npy", np.array([[1.0, 0, 0], [0, 0, 2]]))
        found = [one["value"] for one in answers(capsys, "line", "x.npy")]
        assert found == ([1, 6] if outputs == 1 else [[1, 1], [6, 6]])
        status, out, _ = run(capsys, "predict", "line", "x.npy")
        assert status == 0
        assert out.splitlines()[1] == "x.npy[1]: " + " ".join(["6"] * outputs)
    check_error(run(capsys, "predict", "line", "x.npy", "--data", "mnist"), "LinearRegression")
    write_png("a.png", np.zeros((8, 8)))
    check_error(run(capsys, "predict", "line", "a.png"), "a.png", "no images")


# Errors


def nan_in_row_two() -> NDArray[Any]:
    x = np.zeros((4, 64))
    x[2, 5] = np.nan
    return x


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 63)), ("(3, 63)", "accepted: (n, 64) rows")),
        (np.zeros((2, 3, 8, 8)), ("(2, 3, 8, 8)",)),
        (np.zeros((0, 64)), ("holds no rows",)),
        (np.array("text"), ("accepted: real numbers",)),
        (np.zeros(64, complex), ("complex128",)),
        (np.array([{}], object), ("no NPY file of numbers",)),
        (nan_in_row_two(), ("row 2 is not finite",)),
        (np.full((2, 64), 300), ("row 0 holds pixels outside 0 to 16",)),
        (np.repeat([[3], [-1]], 64, axis=1), ("row 1 holds pixels outside 0 to 16",)),
    ],
)
def test_wrong_arrays(
    capsys: Capture, images: Any, array: NDArray[Any], words: tuple[str, ...]
) -> None:
    np.save("x.npy", array, allow_pickle=True)
    check_error(run(capsys, "predict", "model", "x.npy", "--json"), "x.npy: ", *words)


def test_wrong_files(capsys: Capture, images: NDArray[Any]) -> None:
    Path("text").write_text("no picture", encoding="utf-8")
    Path("empty").touch()
    for name in ("text", "empty"):
        check_error(run(capsys, "predict", "model", name), f"{name}: is no PNG, JPEG, IDX or NPY")
    check_error(run(capsys, "predict", "model", "nowhere.png"), "nowhere.png: No such file")
    check_error(run(capsys, "predict", "model", "."), "not a regular file")
    check_error(run(capsys, "predict", "nowhere", "text"), "nowhere: No such file")
    check_error(run(capsys, "predict", "text", "text"), "text: is no safetensors file")


@pytest.mark.parametrize("kind", ["png", "npy", "idx"])
def test_files_cut_anywhere(capsys: Capture, images: NDArray[Any], kind: str) -> None:
    if kind == "png":
        write_png("whole.png", np.random.default_rng(0).random((8, 8)))
    elif kind == "npy":
        np.save("whole.npy", images)
    else:
        Path("whole.idx").write_bytes(idx(np.zeros((2, 8, 8), np.uint8)))
    content = Path(f"whole.{kind}").read_bytes()
    for length in {0, 1, 2, 7, 20, 40, len(content) // 2, len(content) - 20}:
        Path("cut").write_bytes(content[:length])
        status, out, err = run(capsys, "predict", "model", "cut")
        if kind == "png" and length == len(content) - 20:
            continue  # all of the pixels may have come
        check_error((status, out, err), "cut: ")


def test_a_picture_that_would_fill_the_memory(capsys: Capture, images: NDArray[Any]) -> None:
    """A header that promises 60000 x 60000 pixels."""
    write_png("small.png", np.zeros((8, 8)))
    content = bytearray(Path("small.png").read_bytes())
    import zlib

    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    Path("bomb.png").write_bytes(bytes(content))
    check_error(run(capsys, "predict", "model", "bomb.png"), "bomb.png: ")


def test_without_pillow(
    capsys: Capture, images: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures need it, arrays do not."""
    import sys

    write_png("a.png", images[0])
    np.save("a.npy", images[0])
    monkeypatch.setitem(sys.modules, "PIL", None)
    check_error(run(capsys, "predict", "model", "a.png"), "pip install 'softstep[datasets]'")
    assert len(answers(capsys, "model", "a.npy")) == 1


def test_data_of_another_size(capsys: Capture, images: NDArray[Any]) -> None:
    write_png("a.png", images[0])
    result = run(capsys, "predict", "model", "a.png", "--data", "mnist")
    check_error(result, "10 classes of rows of 64 features", "784 features")
    check_error(run(capsys, "predict", "model"), "IMAGE")
    check_error(run(capsys, "predict", "model", "a.png", "--data", "synthetic"), "'synthetic'")
