"""What kernels accept and refuse (RELIABILITY.md, line 9), on every level.

dtype x order x stride x writability x alignment x byte order x overlap: the correct result or an
error that names the argument, and then nothing is written. Never a silent no-op.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, Array, misaligned, random_logits, read_only, same_bytes

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

Call = Callable[..., Any]
LABELS = np.array([1, 0, 3, -100, 2, 4])

# Every function of arrays: how to call it on one array argument of shape (6, 5), the others fixed.
INPUTS: dict[str, Call] = {
    "softmax logits": lambda a: kernels.softmax(a),
    "softmax logits axis 0": lambda a: kernels.softmax(a, 0),
    "log_softmax logits": lambda a: kernels.log_softmax(a),
    "logsumexp logits": lambda a: kernels.logsumexp(a),
    "logsumexp logits axis 0": lambda a: kernels.logsumexp(a, 0),
    "cross_entropy logits": lambda a: kernels.cross_entropy(a, LABELS),
    "cross_entropy_with_grad logits": lambda a: kernels.cross_entropy_with_grad(a, LABELS),
    "linear x": lambda a: kernels.linear(a, wide(a, (3, 5)), wide(a, (3,))),
    "linear weight": lambda a: kernels.linear(wide(a, (4, 5)), a),
    "linear_backward x": lambda a: kernels.linear_backward(a, wide(a, (3, 5)), wide(a, (6, 3))),
    "linear_backward weight": lambda a: kernels.linear_backward(
        wide(a, (4, 5)), a, wide(a, (4, 6))
    ),
    "linear_backward dlogits": lambda a: kernels.linear_backward(
        wide(a, (6, 3)), wide(a, (5, 3)), a
    ),
    "mse_loss prediction": lambda a: kernels.mse_loss(a, wide(a, (6, 5))),
    "mse_loss target": lambda a: kernels.mse_loss(wide(a, (6, 5)), a),
    "mse_loss_with_grad prediction": lambda a: kernels.mse_loss_with_grad(a, wide(a, (6, 5))),
    "mse_loss_with_grad target": lambda a: kernels.mse_loss_with_grad(wide(a, (6, 5)), a),
    "sgd_step grad": lambda a: stepped(a),
}  # fmt: skip


def wide(like: Any, shape: tuple[int, ...]) -> Array:
    """The other arguments: fixed numbers in the argument's dtype (float64 if it has none)."""
    dtype = getattr(like, "dtype", np.dtype(np.float64))
    dtype = dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else np.dtype(np.float64)
    size = int(np.prod(shape))
    values = (np.arange(size) * 7 % 11 - 4.5).reshape(shape)
    return values.astype(dtype if dtype in (np.float32, np.float64) else np.float64)


def stepped(grad: Any) -> Array:
    param = wide(grad, (6, 5)).copy()
    kernels.sgd_step(param, grad, lr=0.5)
    return param


def layouts(array: Array) -> dict[str, Array]:
    """The same numbers laid out in every way."""
    rows, columns = array.shape
    spaced = np.full((2 * rows, 3 * columns), 77, array.dtype)
    spaced[::2, ::3] = array
    padded = np.full((rows, columns + 4), 77, array.dtype)
    padded[:, 1 : columns + 1] = array
    backwards = np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    record = np.zeros((rows, columns), [("pad", "u1"), ("value", array.dtype)])
    record["value"] = array
    cases = {
        "C": array.copy(),
        "fortran": np.asfortranarray(array),
        "strided": spaced[::2, ::3],
        "padded rows": padded[:, 1 : columns + 1],
        "backwards": backwards,
        "misaligned": misaligned(array),
        "field of a record": record["value"],
        "read-only": read_only(array.copy()),
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "big-endian fortran": np.asfortranarray(array.astype(array.dtype.newbyteorder(">"))),
        "subclass": array.copy().view(Subclass),
    }
    for case, given in cases.items():
        np.testing.assert_array_equal(np.asarray(given), array, err_msg=case)
    return cases


class Subclass(np.ndarray):
    """A subclass of ndarray, as np.memmap is one."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", INPUTS)
def test_inputs_of_every_layout(case: str, dtype: Any, rng: np.random.Generator) -> None:
    array = random_logits(rng, (6, 5), dtype)
    wanted = INPUTS[case](array)
    for layout, given in layouts(array).items():
        before = np.array(given)
        assert same_bytes(INPUTS[case](given), wanted), layout
        assert same_bytes(np.array(given), before), f"{layout}: the input was changed"


class OnlyArray:
    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array if dtype is None else self.array.astype(dtype)


class OnlyDLPack:
    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("case", INPUTS)
def test_lists_and_integers_become_float64(case: str, rng: np.random.Generator) -> None:
    array = rng.integers(0, 9, (6, 5))
    wanted = INPUTS[case](array.astype(np.float64))
    for given in (
        array, array.tolist(), tuple(map(tuple, array.tolist())), array.astype(np.float64).tolist(),
        array.astype(np.int8), array.astype(np.uint64), array.astype(">i4"),
        np.asfortranarray(array.astype(np.int16)), list(array),
    ):  # fmt: skip
        got = INPUTS[case](given)
        assert same_bytes(got, wanted), f"{type(given).__name__}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", INPUTS)
def test_objects_with_a_protocol(case: str, dtype: Any, rng: np.random.Generator) -> None:
    """Anything with ``__array__`` or DLPack; the other arguments are given in its dtype."""
    array = random_logits(rng, (6, 5), dtype)
    wanted = INPUTS[case](array)
    for kind in (OnlyArray, OnlyDLPack):
        given = kind(array)
        given.dtype = array.dtype  # what `wide` reads; kernels do not need it
        assert same_bytes(INPUTS[case](given), wanted), kind.__name__
    for kind in (OnlyArray, OnlyDLPack):
        assert same_bytes(kernels.softmax(kind(array)), kernels.softmax(array)), kind.__name__


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors(dtype: Any, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", exc_type=ImportError)
    array = random_logits(rng, (6, 5), dtype)
    tensor = torch.from_numpy(array)
    assert same_bytes(kernels.softmax(tensor), kernels.softmax(array))
    assert same_bytes(kernels.softmax(tensor.T), kernels.softmax(array.T))
    labels = torch.from_numpy(LABELS)
    assert same_bytes(
        kernels.cross_entropy_with_grad(tensor, labels),
        kernels.cross_entropy_with_grad(array, LABELS),
    )
    assert same_bytes(kernels.linear(tensor, tensor), kernels.linear(array, array))
    with pytest.raises((TypeError, ValueError, RuntimeError), match=r"logits|grad"):
        kernels.softmax(tensor.clone().requires_grad_())


@pytest.mark.parametrize("case", INPUTS)
def test_other_dtypes_are_refused(case: str) -> None:
    name = case.split()[1]
    bad: list[Any] = [
        np.ones((6, 5), np.float16), np.ones((6, 5), np.longdouble), np.ones((6, 5), complex),
        np.ones((6, 5), object), np.full((6, 5), "1"), np.ones((6, 5), "M8[s]"),
        np.zeros((6, 5), [("a", "f4")]), [["a"] * 5] * 6, None,
    ]  # fmt: skip
    for given in bad:
        with pytest.raises((TypeError, ValueError), match=name):
            INPUTS[case](given)
    ragged = [[1.0, 2.0], [3.0]]
    with pytest.raises((TypeError, ValueError), match=name):
        INPUTS[case](ragged)


@pytest.mark.parametrize("case", INPUTS)
def test_wrong_shapes_are_refused(case: str) -> None:
    name = case.split()[1]
    # Softmax takes any number of axes, a matrix product any number of rows: a row has one axis.
    shapes: list[tuple[int, ...]] = [()]
    if not case.startswith(("softmax", "log_softmax", "logsumexp")):
        shapes += [(5,), (6, 5, 1)]
        shapes += [(7, 5)] if "linear x" not in case and "linear weight" not in case else [(6, 4)]
    for shape in shapes:
        with pytest.raises(ValueError, match=rf"\b({name}|target|weight|x|dlogits)\b"):
            INPUTS[case](np.ones(shape))


def test_mixed_precision_is_refused() -> None:
    single, double = np.ones((6, 5), np.float32), np.ones((6, 5))
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("x", lambda: kernels.linear(double, single)),
        ("x", lambda: kernels.linear(single, double)),
        ("bias", lambda: kernels.linear(single, single, np.ones(6))),
        ("dlogits", lambda: kernels.linear_backward(single, single, np.ones((6, 6)))),
        ("target", lambda: kernels.mse_loss(single, double)),
        ("target", lambda: kernels.mse_loss_with_grad(double, single)),
        ("grad", lambda: kernels.sgd_step(single, double, lr=0.1)),
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match=name):
            call()
    assert (single == 1).all()


def test_bad_targets() -> None:
    x = np.zeros((3, 4), np.float32)
    for target, error in (
        (np.zeros(3), TypeError), (np.zeros(3, np.float16), TypeError), ([0.0, 1, 2], TypeError),
        (np.array(["a"] * 3), TypeError), (np.zeros(3, bool), TypeError), (None, TypeError),
        (np.zeros(2, int), ValueError), (np.zeros(4, int), ValueError),
        (np.zeros((3, 1), int), ValueError), (0, ValueError),
    ):  # fmt: skip
        for module in (kernels, reference):
            for function in (module.cross_entropy, module.cross_entropy_with_grad):
                with pytest.raises(error, match="target"):
                    function(x, target)


def test_targets_of_every_layout(rng: np.random.Generator) -> None:
    x = random_logits(rng, (6, 5), np.float32)
    wanted = kernels.cross_entropy_with_grad(x, LABELS)
    spaced = np.zeros(18, np.int32)
    spaced[::3] = LABELS
    for given in (
        spaced[::3], LABELS[::-1].copy()[::-1], misaligned(LABELS), LABELS.astype(">i8"),
        read_only(LABELS.copy()), LABELS.tolist(), OnlyArray(LABELS), OnlyDLPack(LABELS),
    ):  # fmt: skip
        assert same_bytes(kernels.cross_entropy_with_grad(x, given), wanted)


@pytest.mark.parametrize("axis", [2, -3, 10**9])
def test_axis_out_of_range(axis: int) -> None:
    for module, name in itertools.product(
        (kernels, reference), ("softmax", "log_softmax", "logsumexp")
    ):
        with pytest.raises(ValueError, match="axis"):
            getattr(module, name)(np.zeros((3, 4)), axis)


def test_axis_must_be_an_integer() -> None:
    for axis in (0.0, None, "0", (0, 1)):
        with pytest.raises(TypeError):
            kernels.softmax(np.zeros((3, 4)), axis)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2"])
def test_bad_threads(count: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="threads"):
        kernels.softmax(np.zeros((3, 4)), threads=count)


# out=

OUTPUTS: dict[str, tuple[tuple[int, ...], Call]] = {
    "softmax": ((6, 5), lambda x, out: kernels.softmax(x, out=out)),
    "softmax axis 0": ((6, 5), lambda x, out: kernels.softmax(x, 0, out=out)),
    "log_softmax": ((6, 5), lambda x, out: kernels.log_softmax(x, out=out)),
    "log_softmax axis 0": ((6, 5), lambda x, out: kernels.log_softmax(x, 0, out=out)),
    "logsumexp": ((6,), lambda x, out: kernels.logsumexp(x, out=out)),
    "logsumexp keepdims": ((6, 1), lambda x, out: kernels.logsumexp(x, keepdims=True, out=out)),
    "logsumexp axis 0": ((5,), lambda x, out: kernels.logsumexp(x, 0, out=out)),
    "cross_entropy": (
        (6,),
        lambda x, out: kernels.cross_entropy(x, LABELS, reduction="none", out=out),
    ),
    "cross_entropy_with_grad": (
        (6, 5),
        lambda x, out: kernels.cross_entropy_with_grad(x, LABELS, out=out)[1],
    ),
    "linear": ((6, 3), lambda x, out: kernels.linear(x, wide(x, (3, 5)), out=out)),
    "mse_loss_with_grad": (
        (6, 5),
        lambda x, out: kernels.mse_loss_with_grad(x, wide(x, (6, 5)), out=out)[1],
    ),
}


def bad_outputs(shape: tuple[int, ...], dtype: Any) -> dict[str, Any]:
    """Outputs that cannot be written as they are: each holds the number 5 everywhere."""
    other = np.float64 if dtype == np.float32 else np.float32
    good = np.full(shape, 5, dtype)
    doubled = np.full((*shape[:-1], 2 * shape[-1]), 5, dtype)
    cases = {
        "list": good.tolist(),
        "other float": good.astype(other),
        "integers": good.astype(int),
        "big-endian": good.astype(good.dtype.newbyteorder(">")),
        "read-only": read_only(good.copy()),
        "misaligned": misaligned(good),
        "one row more": np.full((shape[0] + 1, *shape[1:]), 5, dtype),
        "one axis more": good[None],
        "flat": np.full((good.size + 1,), 5, dtype),
        "strided": doubled[..., ::2] if shape[-1] > 1 else np.full((12, 1), 5, dtype)[::2],
        "backwards": good.copy()[::-1],
    }
    if len(shape) > 1 and min(shape) > 1:
        cases["fortran"] = np.asfortranarray(good)
        cases["transposed"] = np.full(shape[::-1], 5, dtype)
    return cases


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_bad_outputs_are_refused(name: str, dtype: Any, rng: np.random.Generator) -> None:
    shape, call = OUTPUTS[name]
    x = random_logits(rng, (6, 5), dtype)
    for case, out in bad_outputs(shape, dtype).items():
        before = x.copy()
        with pytest.raises((TypeError, ValueError), match="out"):
            pytest.fail(f"{case} was accepted: {call(x, out).shape}")
        assert (np.asarray(out) == 5).all(), f"{case}: written"
        assert same_bytes(x, before), case


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_inputs_of_every_layout_into_out(name: str, dtype: Any, rng: np.random.Generator) -> None:
    shape, call = OUTPUTS[name]
    array = random_logits(rng, (6, 5), dtype)
    wanted = call(array, None)
    for layout, given in layouts(array).items():
        out = np.full(shape, 5, dtype)
        assert call(given, out) is out, layout
        assert same_bytes(out, wanted), layout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_partial_overlap_is_refused(name: str, dtype: Any, rng: np.random.Generator) -> None:
    """An output that shares some of the input's memory without being the input."""
    shape, call = OUTPUTS[name]
    size = int(np.prod(shape))
    memory = rng.normal(0, 3, 200).astype(dtype)
    before = memory.copy()
    x = memory[60:90].reshape(6, 5)
    starts = {60 - size + 1, 61, 64, 65, 89}
    if size != 30:  # a smaller output at the input's own start overlaps it too
        starts.add(60)
    for start in sorted(starts):
        out = memory[start : start + size].reshape(shape)
        with pytest.raises(ValueError, match="out"):
            pytest.fail(f"out at {start} was accepted: {call(x, out).shape}")
        assert same_bytes(memory, before), f"out at {start}: written"
    for start in (60 - size, 90):  # neighbours do not overlap
        memory[:] = before
        out = memory[start : start + size].reshape(shape)
        wanted = call(x.copy(), None)
        assert call(x, out) is out
        assert same_bytes(out, wanted)
        out[...] = before[start : start + size].reshape(shape)
        assert same_bytes(memory, before), "something beside out was written"


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_over_a_strided_input(dtype: Any, rng: np.random.Generator) -> None:
    """The input is copied first, so sharing its memory is an error or gives the right result."""
    array = random_logits(rng, (6, 5), dtype)
    wanted = kernels.softmax(array)
    memory = np.zeros((6, 10), dtype)
    memory[:, ::2] = array
    out = memory.reshape(-1)[:30].reshape(6, 5)
    with pytest.raises(ValueError, match="out"):
        pytest.fail(f"accepted: {kernels.softmax(memory[:, ::2], out=out).shape}")
    fortran = np.asfortranarray(array)
    with pytest.raises(ValueError, match="out"):
        kernels.softmax(fortran, out=fortran)
    assert same_bytes(np.ascontiguousarray(fortran), array)
    swapped = array.astype(array.dtype.newbyteorder(">"))
    with pytest.raises((TypeError, ValueError), match="out"):
        kernels.softmax(swapped, out=swapped)
    transposed = array.T.copy()
    with pytest.raises(ValueError, match="out"):
        kernels.softmax(transposed.T, out=transposed.reshape(6, 5))
    assert same_bytes(transposed, array.T.copy())
    assert same_bytes(kernels.softmax(array, out=array), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_over_other_inputs_is_refused(dtype: Any, rng: np.random.Generator) -> None:
    """linear's and mse's other arguments, and labels, may not be written over either."""
    memory = rng.normal(0, 1, 200).astype(dtype)
    before = memory.copy()
    square, bias = memory[:25].reshape(5, 5), memory[100:105]
    x = memory[130:155].reshape(5, 5)
    for out in (x, square, memory[95:120].reshape(5, 5)):
        with pytest.raises(ValueError, match="out"):
            kernels.linear(x, square, bias, out=out)
    with pytest.raises(ValueError, match="out"):
        kernels.mse_loss_with_grad(x, square, out=memory[1:26].reshape(5, 5))
    assert same_bytes(memory, before)


# sgd_step changes its arguments in place.


def bad_targets_of_a_step(dtype: Any) -> dict[str, Any]:
    cases = bad_outputs((6, 5), dtype)
    return {name: cases[name] for name in cases if name not in ("one row more", "one axis more",
            "flat", "other float", "transposed")}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_step_refuses_what_it_cannot_update(dtype: Any) -> None:
    gradient = np.ones((6, 5), dtype)
    for case, bad in bad_targets_of_a_step(dtype).items():
        with pytest.raises((TypeError, ValueError), match="param"):
            kernels.sgd_step(bad, gradient, lr=0.1)
        assert (np.asarray(bad) == 5).all(), case
    for case, bad in bad_outputs((6, 5), dtype).items():
        param = np.full((6, 5), 5, dtype)
        with pytest.raises((TypeError, ValueError), match="momentum_buffer"):
            kernels.sgd_step(param, gradient, bad, lr=0.1, momentum=0.9)
        assert (param == 5).all(), case
        assert (np.asarray(bad) == 5).all(), case
    param = np.full((6, 5), 5, dtype)
    for shape in ((5, 6), (30,), (6, 4), ()):
        with pytest.raises(ValueError, match="grad"):
            kernels.sgd_step(param, np.ones(shape, dtype), lr=0.1)
    assert (param == 5).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_step_refuses_overlap(dtype: Any) -> None:
    memory = np.full(100, 5, dtype)
    param = memory[10:40]
    options = {"lr": 0.1, "momentum": 0.9}
    for start in (10, 11, 39, 5):
        with pytest.raises(ValueError, match="momentum_buffer"):
            kernels.sgd_step(param, np.ones(30, dtype), memory[start : start + 30], **options)
    for start in (11, 39, 5):
        with pytest.raises(ValueError, match="grad"):
            kernels.sgd_step(param, memory[start : start + 30], lr=0.1)
    with pytest.raises(ValueError, match=r"grad|momentum_buffer"):
        kernels.sgd_step(param, memory[61:91], memory[60:90], **options)
    assert (memory == 5).all()
