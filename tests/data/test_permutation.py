"""The keyed permutation: a bijection, seekable, uniform for small n, and without visible structure.

Nothing here is random: the orders depend on the numbers below alone, and the critical values are
those of the statistics' distributions at one in a million.
"""

from __future__ import annotations

import ast
import copy
import doctest
import hashlib
import itertools
import math
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import softstep.data
from softstep.data import Permutation, permutation

ALPHA = 1e-6
Z = float(stats.norm.isf(ALPHA / 2))

# Around the change of method (256 and 257 rows), powers of two, squares, primes.
SIZES = [*range(8), 63, 64, 65, 255, 256, 257, 258, 511, 512, 513, 1000, 1023, 1024, 1025]
SIZES += [4096, 10007, 60000, 65535, 65536, 65537, 100000]

places = st.one_of(st.none(), st.integers(-700, 700))
steps = st.one_of(st.none(), st.integers(-5, -1), st.integers(1, 5), st.just(1000))


def orders(n: int, epochs: int, seed: int = 7) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The orders of epochs 0, 1, ... as rows."""
    return np.stack([permutation(n, seed, epoch)[:] for epoch in range(epochs)])


def chi_square(observed: Any, expected: Any) -> float:
    """Pearson's statistic."""
    return float(((np.asarray(observed) - expected) ** 2 / expected).sum())


# It is a permutation


@pytest.mark.parametrize("n", SIZES)
def test_bijection(n: int) -> None:
    order = permutation(n, 3, 5)[:]
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))


@given(st.integers(0, 3000), st.integers(0, 2**70), st.integers(0, 2**70))
def test_bijection_any(n: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(permutation(n, seed, epoch)[:]), np.arange(n))


def test_empty() -> None:
    p = permutation(0, 0, 0)
    assert len(p) == 0
    assert list(p) == []
    assert p[:].shape == p.take(0, 0).shape == np.asarray(p).shape == (0,)
    with pytest.raises(IndexError, match="out of range"):
        p[0]


# It never changes: a run of today is repeated by any later version on any machine


def test_known_values() -> None:
    assert permutation(10, 0, 0)[:].tolist() == [5, 4, 3, 8, 7, 6, 0, 2, 1, 9]
    assert permutation(60000, 0, 0)[:5].tolist() == [43056, 55068, 42503, 32567, 36781]
    assert permutation(2**40, 2**64, 1)[10**12 : 10**12 + 3].tolist() == [
        422833133964,
        730106401979,
        398614056866,
    ]


@pytest.mark.parametrize(
    ("n", "digest"),
    [
        (256, "fbc008ba97ad7f32"),
        (257, "ae0662e3db7ecbf6"),
        (60000, "676422ab77a23542"),
        (1000003, "cbaa9f963535469b"),
    ],
)
def test_known_digest(n: int, digest: str) -> None:
    order = permutation(n, 123456789, 42)[:].astype("<i8")
    assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == digest


# It is seekable


@given(st.sampled_from([0, 1, 6, 256, 257, 600]), places, places, steps)
def test_slices_are_those_of_the_array(n: int, a: Any, b: Any, step: Any) -> None:
    p = permutation(n, 1, 2)
    assert np.array_equal(p[a:b:step], p[:][a:b:step])


@pytest.mark.parametrize("n", [1, 5, 256, 257, 60000])
def test_single_places(n: int) -> None:
    p = permutation(n, 9, 9)
    order = p[:]
    for i in {0, n // 2, n - 1, n // 3}:
        assert p[i] == order[i]
        assert p[i - n] == order[i]
        assert type(p[i]) is int
        assert p[np.int16(i)] == order[i] if i < 2**15 else True


@pytest.mark.parametrize("n", [60000, 2**20, 2**32 - 1, 2**32, 2**32 + 1, 2**33 + 5])
@pytest.mark.parametrize("start", [0, 12345])
def test_tabulated_places_equal_computed_ones(n: int, start: int) -> None:
    p = permutation(n, 4, 4)
    stop = min(n, start + 200_000)
    tabulated = p.take(start, stop)
    computed = p[start:stop:7]  # a step never uses tables
    assert np.array_equal(tabulated[::7], computed)


@pytest.mark.parametrize("n", [2**31 + 11, 2**40, 2**40 + 1, 2**62 + 1, 2**63 - 1])
def test_large(n: int) -> None:
    p = permutation(n, 0, 0)
    assert len(p) == n
    for start in (0, n // 2, n - 1000):
        rows = p[start : start + 1000]
        assert len(np.unique(rows)) == 1000
        assert rows.min() >= 0
        assert rows.max() < n
        assert [p[start], p[start + 999]] == [rows[0], rows[-1]]


def test_iteration_and_array_protocol() -> None:
    p = permutation(5000, 2, 2)
    assert list(p) == p[:].tolist()
    assert np.array_equal(np.asarray(p), p[:])
    assert np.asarray(p, dtype=np.int32).dtype == np.int32
    assert np.array_equal(np.arange(5000)[p[:]], p[:])
    assert sorted(p) == list(range(5000))


def test_take_out() -> None:
    p = permutation(1000, 0, 0)
    buffer = np.full(12, -1)
    part = buffer[1:11]
    assert p.take(500, 510, part) is part
    assert np.array_equal(part, p[500:510])
    assert buffer[0] == buffer[11] == -1


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty(4, np.int32), TypeError, "int64"),
        (np.empty(4, np.dtype(np.int64).newbyteorder()), TypeError, "int64"),
        ([0, 0, 0, 0], TypeError, "int64 ndarray, got list"),
        (np.empty(5, np.int64), ValueError, r"shape \(4,\), got \(5,\)"),
        (np.empty((2, 2), np.int64), ValueError, "shape"),
        (np.empty(8, np.int64)[::2], ValueError, "contiguous"),
    ],
)
def test_take_refuses(out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        permutation(10, 0, 0).take(0, 4, out)


def test_take_refuses_read_only() -> None:
    out = np.zeros(4, np.int64)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        permutation(10, 0, 0).take(0, 4, out)
    assert not out.any()


@pytest.mark.parametrize(("start", "stop"), [(0, 11), (5, 4), (11, 11)])
def test_take_refuses_other_places(start: int, stop: int) -> None:
    with pytest.raises(IndexError, match="0 <= start <= stop <= 10"):
        permutation(10, 0, 0).take(start, stop)


# It stores its key and depends on its arguments alone


def test_stores_nothing() -> None:
    assert sys.getsizeof(permutation(2**40, 0, 0)) == sys.getsizeof(permutation(1, 0, 0)) < 256


def test_copies_are_equal() -> None:
    p = permutation(100, 2**80, 3)
    for other in (pickle.loads(pickle.dumps(p)), copy.deepcopy(p), permutation(100, 2**80, 3)):
        assert other == p
        assert hash(other) == hash(p)
        assert np.array_equal(other[:], p[:])
    assert (p.n, p.seed, p.epoch) == (100, 2**80, 3)
    assert p != permutation(100, 2**80, 4)
    assert p != "p"
    assert repr(p) == f"permutation(n=100, seed={2**80}, epoch=3)"


def test_keys_do_not_collide() -> None:
    numbers = [0, 1, 2, 3, 255, 256, 257, 65536, 2**32, 2**32 + 1, 2**63, 2**64 - 1, 2**64]
    numbers += [2**64 + 1, 2**65, 2**128, 2**200]
    pairs = set(itertools.product(numbers, numbers)) | set(itertools.product(range(64), range(64)))
    seen = {permutation(300, seed, epoch)[:].tobytes() for seed, epoch in pairs}
    assert len(seen) == len(pairs)


def test_sizes_are_unrelated() -> None:
    # 1,000 places of orders of n and n + 1 rows agree about as often as chance has it: Poisson(1).
    agree = sum(
        int((permutation(n, 0, 0)[:1000] == permutation(n + 1, 0, 0)[:1000]).sum())
        for n in range(1000, 1050)
    )
    assert agree < stats.poisson.isf(ALPHA, 50)


@pytest.mark.parametrize("name", ["n", "seed", "epoch"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "must be >= 0, got -1"),
        (1.0, TypeError, "must be an integer, got float"),
        ("1", TypeError, "must be an integer, got str"),
        (None, TypeError, "must be an integer, got NoneType"),
        (np.float32(2), TypeError, "must be an integer, got float32"),
    ],
)
def test_arguments(name: str, value: Any, error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"n": 5, "seed": 0, "epoch": 0, name: value}
    with pytest.raises(error, match=f"^{name} {message}"):
        permutation(**arguments)


def test_too_many_rows() -> None:
    with pytest.raises(ValueError, match="n must be less than"):
        permutation(2**63, 0, 0)


@pytest.mark.parametrize("index", [10, -11, 2**70])
def test_index_out_of_range(index: int) -> None:
    with pytest.raises(IndexError, match="out of range for a permutation of 10 rows"):
        permutation(10, 0, 0)[index]


def test_index_of_another_type() -> None:
    with pytest.raises(TypeError, match="integer or a slice, got float"):
        permutation(10, 0, 0)[1.0]  # type: ignore[call-overload]


# It looks random


@pytest.mark.parametrize("varied", ["seed", "epoch"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_small_orders_are_equally_frequent(n: int, varied: str) -> None:
    cells = math.factorial(n)
    runs = 40 * cells
    seen = Counter(
        permutation(n, i if varied == "seed" else 11, i if varied == "epoch" else 11)[:].tobytes()
        for i in range(runs)
    )
    assert len(seen) == cells
    if n > 1:
        assert chi_square(list(seen.values()), runs / cells) < stats.chi2.isf(ALPHA, cells - 1)


@pytest.mark.parametrize("n", [50, 256, 257, 300, 512])
def test_every_place_holds_every_row_equally_often(n: int) -> None:
    epochs = 6000
    counts = np.zeros((n, n))
    for order in orders(n, epochs):
        counts[np.arange(n), order] += 1
    # Rows and columns of the table have fixed sums: (n - 1)^2 degrees of freedom, with n / (n - 1).
    statistic = chi_square(counts, epochs / n) * (n - 1) / n
    assert statistic < stats.chi2.isf(ALPHA, (n - 1) ** 2)
    assert statistic > stats.chi2.ppf(ALPHA, (n - 1) ** 2)


@pytest.mark.parametrize("n", [257, 300, 512])
@pytest.mark.parametrize("gap", [1, 2, 16, 17, 32])
def test_neighbours_differ_by_anything(n: int, gap: int) -> None:
    # Places at a distance of the Feistel halves' size share a half before the first round.
    a = orders(n, 6000)
    for place in (0, n // 2):
        difference = (a[:, place + gap] - a[:, place]) % n
        counts = np.bincount(difference, minlength=n)[1:]
        assert chi_square(counts, 6000 / (n - 1)) < stats.chi2.isf(ALPHA, n - 2)


@pytest.mark.parametrize("n", [100, 257, 1000, 60000])
def test_no_correlation(n: int) -> None:
    epochs = 200
    a = orders(n, epochs) - (n - 1) / 2
    places = np.arange(n) - (n - 1) / 2
    square = n * (n * n - 1) / 12  # sum of the squares of the centred rows
    # Spearman's coefficient times sqrt(n - 1) has mean 0 and variance 1.
    own = a @ places / square * math.sqrt(n - 1)
    consecutive = (a[1:] * a[:-1]).sum(1) / square * math.sqrt(n - 1)
    for z in (own, consecutive):
        assert abs(z.mean()) * math.sqrt(len(z)) < Z
        assert (z * z).sum() < stats.chi2.isf(ALPHA, len(z))
        assert (z * z).sum() > stats.chi2.ppf(ALPHA, len(z))
    # Serial correlation: mean -(n - 1)(n + 1) / 12, standard deviation close to square / sqrt(n).
    serial = ((a[:, 1:] * a[:, :-1]).sum(1) + (n * n - 1) / 12) / square * math.sqrt(n)
    assert abs(serial.mean()) * math.sqrt(epochs) < Z
    assert abs(serial.std() - 1) < 0.35  # 7 standard errors, 1 / sqrt(400) each


@pytest.mark.parametrize("n", [100, 257, 60000])
def test_coincidences_are_poisson(n: int) -> None:
    epochs = 400
    a = orders(n, epochs)
    fixed = int((a == np.arange(n)).sum())
    kept = int((a[1:] == a[:-1]).sum())
    follow = int((np.diff(a, axis=1) == 1).sum())  # i, i + 1 side by side: n - 1 places of 1 / n
    for count in (fixed, kept, follow):
        assert stats.poisson.ppf(ALPHA, epochs - 5) < count < stats.poisson.isf(ALPHA, epochs)


@pytest.mark.parametrize("n", [65, 256, 272, 512, 1024])
def test_both_signs_are_equally_frequent(n: int) -> None:
    # 272, 512 and 1024 fill the Feistel domain: no cycle walking mends the sign there.
    signs = [_sign(order) for order in orders(n, 1000).tolist()]
    assert abs(sum(signs)) < Z * math.sqrt(len(signs))


def _sign(order: list[int]) -> int:
    sign = 1
    for i in range(len(order)):
        while order[i] != i:
            j = order[i]
            order[i], order[j] = order[j], j
            sign = -sign
    return sign


# What the module says about itself (doctests of compiled modules are not collected)


def test_docstring_examples() -> None:
    assert permutation.__doc__ is not None
    examples = doctest.DocTestParser().get_doctest(permutation.__doc__, {}, "permutation", None, 0)
    result = doctest.DocTestRunner().run(examples)
    assert result.attempted == 4
    assert result.failed == 0


def test_stub() -> None:
    stub = Path(softstep.data.__file__).with_name("_permutation.pyi")
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    (kind,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    declared = {node.name for node in kind.body if isinstance(node, ast.FunctionDef)}
    public = {name for name in dir(Permutation) if not name.startswith("_")}
    assert {name for name in declared if not name.startswith("_")} == public
    assert all(hasattr(Permutation, name) for name in declared)
    assert function.name == permutation.__name__
