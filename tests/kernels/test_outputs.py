"""What kernels accept and refuse to write to (RELIABILITY.md, line 9), on every level.

dtype x order x stride x writability x alignment x byte order x overlap of out= and of what is
updated in place: the correct result or an error that names the argument, and then nothing is
written. Never a silent no-op.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from argument_cases import LABELS, Call, layouts, wide
from kernel_cases import DTYPES, misaligned, random_logits, read_only, same_bytes

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

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
