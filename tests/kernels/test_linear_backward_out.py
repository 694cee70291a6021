"""The `out` of linear_backward: gradients into arrays of the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, misaligned, read_only, same_bytes

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

SHAPES = {"dx": (6, 5), "dweight": (3, 5), "dbias": (3,)}


def inputs(rng: np.random.Generator, dtype: Any) -> tuple[Any, Any, Any]:
    x, weight, dlogits = (rng.normal(size=shape) for shape in ((6, 5), (3, 5), (6, 3)))
    return x.astype(dtype), weight.astype(dtype), dlogits.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("names", [("dx",), ("dweight", "dbias"), tuple(SHAPES), ()])
@pytest.mark.parametrize("wanted", [tuple(SHAPES), ("dweight", "dx", "dbias")])
def test_gradients_are_written(
    dtype: Any, names: Any, wanted: Any, rng: np.random.Generator
) -> None:
    given = inputs(rng, dtype)
    fresh = kernels.linear_backward(*given)
    out = {name: np.full(SHAPES[name], np.nan, dtype) for name in names}
    for module in (kernels, reference):
        found = module.linear_backward(*given, wanted=wanted, out=out)
        for name, mine, expected in zip(SHAPES, found, fresh, strict=True):
            if name in names:
                assert mine is out[name]
            if module is kernels:
                assert mine.tobytes() == expected.tobytes()
            else:
                np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
def test_bad_outputs_are_refused(name: str, dtype: Any, rng: np.random.Generator) -> None:
    given = inputs(rng, dtype)
    good = np.full(SHAPES[name], 5, dtype)
    other = np.float64 if dtype == np.float32 else np.float32
    cases = {
        "list": good.tolist(),
        "other float": good.astype(other),
        "integers": good.astype(int),
        "big-endian": good.astype(good.dtype.newbyteorder(">")),
        "read-only": read_only(good.copy()),
        "misaligned": misaligned(good),
        "one row more": np.full((good.shape[0] + 1, *good.shape[1:]), 5, dtype),
        "strided": np.full((*good.shape[:-1], 2 * good.shape[-1]), 5, dtype)[..., ::2],
    }
    for case, array in cases.items():
        rest = {n: np.full(s, 5, dtype) for n, s in SHAPES.items() if n != name}
        with pytest.raises((TypeError, ValueError), match=rf"{name}|out"):
            pytest.fail(f"{case}: {kernels.linear_backward(*given, out={name: array, **rest})}")
        for unwritten in (array, *rest.values()):
            assert (np.asarray(unwritten) == 5).all(), case


def test_overlap_is_refused(rng: np.random.Generator) -> None:
    x, weight, dlogits = inputs(rng, np.float32)
    whole = np.zeros(30, np.float32)
    for module in (kernels, reference):
        for out in (
            {"dx": x}, {"dweight": weight}, {"dbias": dlogits[0]},
            {"dx": whole.reshape(6, 5), "dbias": whole[:3]},
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"shares memory|overlap"):
                module.linear_backward(x, weight, dlogits, out=out)
    # an input that is copied first
    strided = np.zeros((6, 10), np.float32)
    there = strided.reshape(-1)[:30].reshape(6, 5)
    with pytest.raises(ValueError, match="shares memory with x"):
        kernels.linear_backward(strided[:, ::2], weight, dlogits, out={"dx": there})
    assert not strided.any()


def test_names_are_checked(rng: np.random.Generator) -> None:
    given = inputs(rng, np.float32)
    for module in (kernels, reference):
        for out in ({"dy": np.zeros(3, np.float32)}, {"dx": np.zeros((6, 5), np.float32)}):
            with pytest.raises(ValueError, match="out"):
                module.linear_backward(*given, wanted=("dweight",), out=out)
    with pytest.raises(TypeError, match="out is a list; accepted: a mapping"):
        kernels.linear_backward(*given, out=[None, None, None])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["order", "scale", "shift"])
@pytest.mark.parametrize("copied", [False, True], ids=["read where it is", "copied first"])
def test_overlap_with_what_goes_with_the_features(name: str, copied: bool) -> None:
    memory = np.zeros(12)
    integers = memory.view(np.int32 if copied else np.int64)
    other = np.float32 if copied else np.float64
    affine = memory.view(other)
    given = {"order": integers[:3], "scale": affine[:3], "shift": affine[:3]}
    options = {"scale": np.ones(3), name: given[name]}
    x, weight = np.ones((3, 3)), np.ones((3, 3))
    gradient = memory[:9].reshape(3, 3)
    for module in (kernels, reference):
        for wanted in ("dx", "dweight"):
            with pytest.raises(ValueError, match=r"shares memory|overlap"):
                module.linear_backward(x, weight, x, out={wanted: gradient}, **options)
        with pytest.raises(ValueError, match=r"shares memory|overlap"):
            module.linear(x, weight, out=gradient, **options)
    assert not memory.any()


def test_names_in_an_iterator(rng: np.random.Generator) -> None:
    x, weight, dlogits = inputs(rng, np.float32)
    dx, dweight, dbias = kernels.linear_backward(x, weight, dlogits, wanted=iter(["dweight"]))
    assert dx is None
    assert dbias is None
    assert same_bytes(dweight, kernels.linear_backward(x, weight, dlogits)[1])
    with pytest.raises(TypeError, match="wanted is None"):
        kernels.linear_backward(x, weight, dlogits, wanted=None)  # type: ignore[arg-type]
