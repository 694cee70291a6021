"""The IDX reader: right arrays from right files, a named error from every other one."""

from __future__ import annotations

import gzip
import importlib.util
import pickle
import struct
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
from numpy.typing import NDArray

from softstep.data import DataFileError, read_idx

TYPES = ["u1", "i1", "i2", "i4", "f4", "f8"]
Writer = Callable[[NDArray[Any]], bytes]


def header(*sizes: int, code: int = 8, rank: int | None = None) -> bytes:
    return struct.pack(f">HBB{len(sizes)}I", 0, code, len(sizes) if rank is None else rank, *sizes)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes bytes to a file."""

    def write(data: bytes) -> Path:
        path = tmp_path / "some-file"
        path.write_bytes(data)
        return path

    return write


# Right files


@given(st.data())
def test_round_trip(idx_bytes: Writer, data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(TYPES)))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=5))
    array = data.draw(hnp.arrays(dtype, shape))
    content = idx_bytes(array)
    if data.draw(st.booleans()):
        content = gzip.compress(content, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        result = read_idx(path)
    assert result.dtype == dtype
    assert result.dtype.isnative
    assert result.shape == shape
    assert result.tobytes() == array.tobytes()  # NaNs keep their bits
    assert result.flags.writeable
    assert result.flags.c_contiguous


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("compress", [False, True])
def test_types(file: Any, kind: str, compress: bool) -> None:
    numbers = {"u1": [0, 255], "i1": [-128, 127], "i2": [-2, 258], "i4": [-2, 2**24 + 1]}
    expected = np.array(numbers.get(kind, [0.1, -1e30]), kind)
    codes = dict(zip(TYPES, (8, 9, 11, 12, 13, 14), strict=True))
    data = header(2, code=codes[kind]) + expected.astype(f">{kind}").tobytes()
    result = read_idx(file(gzip.compress(data) if compress else data))
    assert result.dtype == np.dtype(kind)
    assert np.array_equal(result, expected)


def test_gzip_is_seen_from_the_content(tmp_path: Path) -> None:
    data = header(3) + b"abc"
    (tmp_path / "plain.gz").write_bytes(data)
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    assert read_idx(tmp_path / "plain.gz").tobytes() == b"abc"
    assert read_idx(str(tmp_path / "packed")).tobytes() == b"abc"


def test_large_gzip_in_pieces(file: Any) -> None:
    expected = np.random.default_rng(0).integers(0, 256, (3, 1 << 20), np.uint8)
    path = file(gzip.compress(header(3, 1 << 20) + expected.tobytes(), 1))
    assert np.array_equal(read_idx(path), expected)


def test_mmap(file: Any) -> None:
    path = file(header(2, 3) + bytes(range(6)))
    mapped = read_idx(path, mmap=True)
    assert isinstance(mapped, np.memmap)
    assert mapped.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not mapped.flags.writeable
    del mapped
    wide = read_idx(file(header(2, code=11) + b"\x01\x02\x03\x04"), mmap=True)
    assert wide.dtype == np.dtype(">i2")
    assert wide.tolist() == [0x0102, 0x0304]
    del wide
    assert read_idx(file(header(0, 5)), mmap=True).shape == (0, 5)


def test_mmap_of_gzip(file: Any) -> None:
    with pytest.raises(ValueError, match="mmap must be False for a file compressed"):
        read_idx(file(gzip.compress(header(1) + b"a")), mmap=True)


def test_max_bytes(file: Any) -> None:
    for data in (header(4) + b"abcd", gzip.compress(header(4) + b"abcd")):
        path = file(data)
        assert read_idx(path, max_bytes=4).shape == (4,)
        with pytest.raises(DataFileError, match=r"declares 4 bytes.*more than the 3 accepted"):
            read_idx(path, max_bytes=3)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")
    with pytest.raises(OSError, match=r"denied|directory"):
        read_idx(tmp_path)


# Wrong files


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 0 bytes"),
        (b"\0\0\x08", "truncated: 3 bytes"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file: starts with 89 50 4e 47"),
        (b"\0\1\x08\1\0\0\0\0", "not an IDX file"),
        (header(1, code=0x0A) + b"a", "unknown IDX type 0x0a; the types are 0x08, 0x09, 0x0b"),
        (header(rank=0), "0 dimensions; 1 to 32"),
        (header(*[1] * 33) + b"a", "33 dimensions"),
        (header(2, rank=2), "truncated inside the sizes of its 2 dimensions"),
        (header(3, 2) + b"12345", r"truncated: .* declares 6 bytes of data \(3, 2\), found 5"),
        (header(2, code=14) + bytes(15), r"truncated: .* declares 16 bytes"),
        (header(*[2**32 - 1] * 4), "impossible shape"),
        (header(0, *[2**32 - 1] * 4), "impossible shape"),
        (header(2**31, code=14, rank=1), "declares 17179869184 bytes"),
        (header(2**16, 2**16), "declares 4294967296 bytes"),
    ],
)
def test_wrong(file: Any, data: bytes, message: str, compress: bool) -> None:
    path = file(gzip.compress(data) if compress else data)
    with pytest.raises(DataFileError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.path == str(path)


def test_trailing_bytes(file: Any) -> None:
    with pytest.raises(DataFileError, match=r"trailing bytes: .* declares 3 bytes .*found 4"):
        read_idx(file(header(3) + b"abcd"))
    with pytest.raises(DataFileError, match="expands past the 3 bytes"):
        read_idx(file(gzip.compress(header(3) + b"abcd")))
    with pytest.raises(DataFileError, match="damaged gzip: Not a gzipped file"):
        read_idx(file(gzip.compress(header(3) + b"abc") + b"more"))


def test_damaged_gzip(file: Any) -> None:
    content = np.random.default_rng(1).integers(0, 256, 5000, np.uint8).tobytes()
    packed = gzip.compress(header(5000) + content)
    with pytest.raises(DataFileError, match="truncated: the gzip stream ends"):
        read_idx(file(packed[:2500]))
    with pytest.raises(DataFileError, match="truncated: the gzip stream ends"):
        read_idx(file(packed[:-1]))
    with pytest.raises(DataFileError, match="truncated: the gzip stream ends"):
        read_idx(file(b"\x1f\x8b"))
    with pytest.raises(DataFileError, match="damaged gzip: CRC check failed"):
        read_idx(file(packed[:-8] + bytes(4) + packed[-4:]))
    with pytest.raises(DataFileError, match="damaged gzip: Error -3"):
        read_idx(file(packed[:10] + b"\xff" * 100 + packed[110:]))


def test_error_is_a_value_error_and_pickles() -> None:
    error = pickle.loads(pickle.dumps(DataFileError("a-file", "no good")))
    assert isinstance(error, ValueError)
    assert (str(error), error.path, error.reason) == ("a-file: no good", "a-file", "no good")


# Headers do not decide how much memory is taken


@pytest.mark.parametrize(
    "content",
    [
        header(2**31, 2**31) + bytes(100),
        gzip.compress(header(2**31, 2**31) + bytes(100)),
        # 1 MB of gzip could hold this much, but does not.
        gzip.compress(header(10**9) + np.random.default_rng(0).bytes(10**6), 1),
        # A stream of 256 MB whose header declares 10 bytes.
        gzip.compress(header(10) + bytes(2**28), 9),
    ],
    ids=["plain", "impossible gzip", "possible gzip", "bomb"],
)
def test_memory(file: Any, content: bytes) -> None:
    path = file(content)
    with pytest.raises(DataFileError):  # the first use loads what the reader needs
        read_idx(path)
    tracemalloc.start()
    try:
        with pytest.raises(DataFileError):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


# Damaged in 1,500 ways


def campaign() -> ModuleType:
    path = Path(__file__).parents[1] / "campaigns" / "fuzz_idx.py"
    spec = importlib.util.spec_from_file_location("fuzz_idx", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mutated_files(tmp_path: Path, seed: int) -> None:
    ends, _ = campaign().run(1500, seed, tmp_path)
    assert sum(ends.values()) == 1500
    assert 0 < ends["array"] < 1000  # the mutations reach both ends
    assert len(ends) >= 8
