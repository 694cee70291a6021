"""Model files: what is saved is loaded, and what is damaged is refused."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softstep
from softstep import LinearRegression, ModelFileError, Module, Parameter, SoftmaxRegression


def make(kind: str = "softmax", dtype: Any = np.float32) -> Any:
    model: Any = (
        SoftmaxRegression(3, 0.1, seed=2, dtype=dtype)
        if kind == "softmax"
        else LinearRegression(0.2, num_outputs=2, dtype=dtype)
    )
    model(np.zeros((1, 5)))
    return model


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path: Path, kind: str, dtype: Any) -> None:
    model, path = make(kind, dtype), tmp_path / "model"
    model.save(path)
    for load in (softstep.load, Module.load, type(model).load):
        again = load(path)
        assert type(again) is type(model)
        assert again.hyperparameters() == model.hyperparameters()
        for mine, other in zip(again.parameters(), model.parameters(), strict=True):
            assert mine.data.tobytes() == other.data.tobytes()
            assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
            assert mine.data.flags.writeable
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for i in range(20):
        make().save(tmp_path / f"{i}")
    assert len({(tmp_path / f"{i}").read_bytes() for i in range(20)}) == 1


def test_nothing_else_is_left_or_said(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"an older file")
    make().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(header) == {"__metadata__", "weight", "bias"}
    assert json.loads(header["__metadata__"]["softstep"]) == {
        "format": 1,
        "model": "SoftmaxRegression",
        "hyperparameters": {"num_outputs": 3, "lr": 0.1, "seed": 2, "dtype": "float32"},
    }
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "model")
    make().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert type(softstep.load(tmp_path / "folder" / "model")) is SoftmaxRegression


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    make().save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        make("linear").save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_devices_and_folders_are_left_alone(tmp_path: Path) -> None:
    for path in (Path(os.devnull), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            make().save(path)
        with pytest.raises(OSError, match="not a regular file"):
            softstep.load(path)
    with pytest.raises(FileNotFoundError):
        softstep.load(tmp_path / "none")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    make().save(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError) as caught:
            softstep.load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError):
        softstep.load(path)


def test_damaged_bytes_end_in_a_model_or_a_clear_error(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "model"
    make().save(path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    header = 8 + int.from_bytes(content[:8].tobytes(), "little")
    refused = 0
    for _ in range(2000):
        damaged = content.copy()
        where = rng.integers(0, header, rng.integers(1, 4))
        damaged[where] = rng.integers(0, 256, len(where))
        path.write_bytes(damaged.tobytes())
        try:
            softstep.load(path)
        except ModelFileError:
            refused += 1
    assert refused > 1000


def write(path: Path, header: Any, data: bytes = b"") -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def described(**replaced: Any) -> dict[str, Any]:
    options = {"num_outputs": 1, "lr": 0.1, "seed": 0, "dtype": "float32"}
    text = {"format": 1, "model": "SoftmaxRegression", "hyperparameters": options} | replaced
    return {
        "__metadata__": {"softstep": json.dumps(text)},
        "bias": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]},
    }


def test_a_file_by_its_description(tmp_path: Path) -> None:
    write(tmp_path / "model", described(), np.array([1, 2, 3], "<f4").tobytes())
    weight, bias = SoftmaxRegression.load(tmp_path / "model").get_w_b()
    assert (weight.tolist(), bias.tolist()) == ([[2, 3]], [1])


SHAPES = [[2**40, 2**40], [-1, -2], ["a"], [1.0, 2], [True, 2], "ab", None, 7, [3] * 10_000, [[1]]]
FOREIGN = [
    (b"[" * 100_000, "no model saved by softstep"),
    (b"", "no model saved by softstep"),
    ({"__metadata__": {"format": "pt"}}, "no model saved by softstep"),
    (described(format=2), "has the format 2; accepted: 1"),
    (
        described(model="Sequential"),
        "the class 'Sequential'; accepted: LinearRegression, .*, Softmax",
    ),
    (described(model=["Module"]), "is damaged"),
    (described(hyperparameters=[1]), "is damaged"),
    (described(hyperparameters={"num_outputs": 1}), "holds no valid SoftmaxRegression"),
    (described(hyperparameters={"num_outputs": 2, "lr": 0.1}), r"weight is float32 \(1, 2\)"),
    (described(hyperparameters={"num_outputs": 1, "lr": -1}), "lr is -1"),
    (
        described(hyperparameters={"num_outputs": 1, "lr": 0.1, "dtype": "float64"}),
        "accepted: float64",
    ),
    ({k: v for k, v in described().items() if k != "bias"}, "is damaged"),
    *((described() | {"weight": {"dtype": "F32", "shape": s}}, "is damaged") for s in SHAPES),
    (described() | {"weight": {"dtype": "I64", "shape": [1], "data_offsets": [4, 12]}}, "damaged"),
]


@pytest.mark.parametrize(("header", "message"), FOREIGN, ids=range(len(FOREIGN)))
def test_foreign_files_are_refused(tmp_path: Path, header: Any, message: str) -> None:
    write(tmp_path / "model", header, bytes(12))
    with pytest.raises(ModelFileError, match=message) as caught:
        softstep.load(tmp_path / "model")
    assert str(tmp_path / "model") in str(caught.value)


def test_other_names_are_refused(tmp_path: Path) -> None:
    header = described()
    header["weights"] = header.pop("weight")
    write(tmp_path / "model", header, bytes(12))
    with pytest.raises(
        ModelFileError, match=r"\['bias', 'weights'\]; accepted: \['bias', 'weight'\]"
    ):
        softstep.load(tmp_path / "model")


def test_a_class_loads_its_own_models_only(tmp_path: Path) -> None:
    make("linear").save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="holds a LinearRegression; accepted: a SoftmaxReg"):
        SoftmaxRegression.load(tmp_path / "model")


class Own(Module):
    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.lr, self.size, self.layers = 0.1, size, [Parameter(np.ones(size))]

    def hyperparameters(self) -> dict[str, Any]:
        return {"size": self.size}


def test_own_models_save_and_load(tmp_path: Path) -> None:
    model = Own(3)
    model.layers[0].data *= 7
    model.save(tmp_path / "model")
    again = Own.load(tmp_path / "model")
    assert np.array_equal(again.layers[0], [7, 7, 7])
    with pytest.raises(ModelFileError, match="the class 'Own'"):
        softstep.load(tmp_path / "model")
