"""The NPY reader: right arrays from right files, a named error from every other one."""

from __future__ import annotations

import importlib.util
import io
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softstep.data import DataFileError, read_npy

TYPES = ["?", "u1", "i1", "i2", ">i4", "u8", "f2", "f4", ">f8"]


def file_of(array: Any, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version, allow_pickle=True)
    return buffer.getvalue()


def header(text: str, *, version: bytes = b"\1\0", length: int | None = None) -> bytes:
    width = 2 if version[0] == 1 else 4
    size = len(text) if length is None else length
    return b"\x93NUMPY" + version + size.to_bytes(width, "little") + text.encode("latin-1")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes bytes to a file."""

    def write(data: bytes) -> Path:
        path = tmp_path / "some.npy"
        path.write_bytes(data)
        return path

    return write


@given(st.data())
def test_round_trip(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(TYPES)))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    array = data.draw(hnp.arrays(dtype, shape))
    if data.draw(st.booleans()):
        array = np.array(array, order="F")
    version = data.draw(st.sampled_from([None, (1, 0), (2, 0), (3, 0)]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.npy"
        path.write_bytes(file_of(array, version))
        for mmap in (False, True):
            result = read_npy(path, mmap=mmap)
            assert result.shape == shape
            assert result.dtype == (dtype if mmap and array.size else dtype.newbyteorder("="))
            assert result.astype(dtype).tobytes() == array.tobytes()
            if array.flags.f_contiguous and array.size:
                assert result.flags.f_contiguous
            assert isinstance(result, np.memmap) == (mmap and array.size > 0)
            del result  # a mapped file cannot be removed on every system


def test_mapped_is_read_only(file: Any) -> None:
    mapped = read_npy(file(file_of(np.arange(6.0))), mmap=True)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


def test_max_bytes(file: Any) -> None:
    path = file(file_of(np.zeros(4, np.uint8)))
    assert read_npy(path, max_bytes=4).shape == (4,)
    with pytest.raises(DataFileError, match=r"declares 4 bytes.*more than the 3 accepted"):
        read_npy(path, max_bytes=3)


GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 0 bytes, an NPY file has 10 or more"),
        (b"\x93NUM", "truncated: 4 bytes"),
        (b"PK\3\4\0\0\0\0\0\0", "not an NPY file: starts with 50 4b 03 04"),
        (header(GOOD, version=b"\4\0") + b"abc", "unknown NPY version 4.0"),
        (header(GOOD, length=65_000), "declares a header of 65000 bytes"),
        (header(GOOD, version=b"\2\0", length=2**32 - 1), "declares a header of 4294967295 bytes"),
        (header(GOOD)[:30], "declares a header of|truncated inside its header"),
        (header(GOOD) + b"ab", r"truncated: the header declares 3 bytes of data \(3,\), found 2"),
        (header(GOOD) + b"abcd", "trailing bytes: the header declares 3 bytes"),
        (header(GOOD.replace("3", "1" + 15 * "0")) + b"a", "truncated: the header declares 10"),
        (header(GOOD.replace("(3,)", "(0, 2**70)")), "damaged NPY header"),
        (header(GOOD.replace("(3,)", f"(0, {2**70})")), "declares the impossible shape"),
        (header(GOOD.replace("(3,)", "(-3,)")) + b"abc", "damaged NPY header"),
        (header(GOOD.replace("(3,)", "(True,)")) + b"a", "damaged NPY header"),
        (header(GOOD.replace("(3,)", "[3]")) + b"abc", "damaged NPY header"),
        (header(GOOD.replace("(3,)", "(" + "1," * 40 + ")")) + b"a", "damaged NPY header"),
        (header(GOOD.replace("False", "0")) + b"abc", "damaged NPY header"),
        (header(GOOD.replace("}", ", 'more': 1}")) + b"abc", "damaged NPY header"),
        (header("(" * 5000), "damaged NPY header"),
        (header("[]"), "damaged NPY header"),
        (header("__import__('os').getcwd()"), "damaged NPY header"),
        (header(GOOD.replace("|u1", "|O")), r"holds '\|O'; accepted: real numbers or booleans"),
        (header(GOOD.replace("|u1", "<c8")) + bytes(24), "holds '<c8'"),
        (header(GOOD.replace("|u1", "<M8[s]")) + bytes(24), "holds '<M8"),
        (header(GOOD.replace("|u1", "<U0")), "holds '<U0'"),
        (header(GOOD.replace("|u1", "|V3")) + bytes(9), r"holds '\|V3'"),
        (header(GOOD.replace("|u1", "no type")), "holds 'no type'"),
        (header(GOOD.replace("'|u1'", "[('a', '<f4')]")) + bytes(12), "holds .*'a', '<f4'"),
    ],
)
def test_other_files(file: Any, data: bytes, message: str) -> None:
    path = file(data)
    for mmap in (False, True):
        with pytest.raises(DataFileError, match=message) as caught:
            read_npy(path, mmap=mmap)
        assert str(caught.value).startswith(f"{path}: ")


def test_objects_are_refused(file: Any) -> None:
    """No pickle is opened: the file would make a folder if it were."""
    objects = np.array([{"a": 1}, None], dtype=object)
    with pytest.raises(DataFileError, match="accepted: real numbers or booleans"):
        read_npy(file(file_of(objects)))


def test_headers_that_lie_take_no_memory(file: Any) -> None:
    path = file(header(GOOD.replace("3", str(2**40))) + bytes(100))
    tracemalloc.start()
    with pytest.raises(DataFileError, match="truncated"):
        read_npy(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npy(tmp_path / "nothing.npy")


@pytest.fixture
def campaign() -> ModuleType:
    path = Path(__file__).parents[1] / "campaigns" / "fuzz_npy.py"
    spec = importlib.util.spec_from_file_location("fuzz_npy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mutated_files(campaign: ModuleType, tmp_path: Path, seed: int) -> None:
    ends, longest = campaign.run(1000, seed, tmp_path)
    assert sum(ends.values()) == 1000
    assert ends["array"] > 0
    assert len(ends) > 5
    assert longest < 1
