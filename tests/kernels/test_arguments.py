"""What kernels accept and refuse as inputs (RELIABILITY.md, line 9), on every level.

dtype x order x stride x alignment x byte order: the correct result or an error that names the
argument. What they write to is in test_outputs.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from argument_cases import LABELS, Call, layouts, repeated, wide
from kernel_cases import DTYPES, Array, misaligned, random_logits, read_only, same_bytes

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

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


def stepped(grad: Any) -> Array:
    param = wide(grad, (6, 5)).copy()
    kernels.sgd_step(param, grad, lr=0.5)
    return param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", INPUTS)
def test_inputs_of_every_layout(case: str, dtype: Any, rng: np.random.Generator) -> None:
    array = random_logits(rng, (6, 5), dtype)
    wanted = INPUTS[case](array)
    for layout, given in layouts(array).items():
        before = np.array(given)
        assert same_bytes(INPUTS[case](given), wanted), layout
        assert same_bytes(np.array(given), before), f"{layout}: the input was changed"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", INPUTS)
def test_inputs_that_repeat(case: str, dtype: Any, rng: np.random.Generator) -> None:
    for what, given in repeated(random_logits(rng, (6, 5), dtype)).items():
        assert same_bytes(INPUTS[case](given), INPUTS[case](given.copy())), what


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


class NotOnTheCPU(OnlyDLPack):
    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("not on this device")


@pytest.mark.parametrize("case", INPUTS)
def test_what_cannot_be_read_is_refused(case: str, rng: np.random.Generator) -> None:
    """What is hidden by a mask has no number, and what another device holds is not here."""
    name, array = case.split()[1], rng.normal(0, 1, (6, 5))
    masked, elsewhere = np.ma.masked_less(array, 0), NotOnTheCPU(array)
    elsewhere.dtype = array.dtype
    with pytest.raises(TypeError, match=f"{name} is a masked array; accepted: "):
        INPUTS[case](masked)
    with pytest.raises(TypeError, match=f"{name} cannot be made an array: not on this device"):
        INPUTS[case](elsewhere)


def test_masked_outputs_are_refused() -> None:
    x = np.zeros((3, 4))
    out = np.ma.masked_less(np.ones((3, 4)), 0)
    with pytest.raises(TypeError, match="out is a MaskedArray; accepted: an ndarray"):
        kernels.softmax(x, out=out)
    with pytest.raises(TypeError, match="weight is a MaskedArray; accepted: an ndarray"):
        kernels.train_softmax_regression(x, [0], [0], out, None, batch_size=1, lr=0.1)
    assert (out == 1).all()


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
    if name == "x":
        bad = bad[1:]  # features may be float16
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


@pytest.mark.parametrize("value", [None, 3, ["mean"], np.zeros(3), "means"])
def test_names(value: Any) -> None:
    """Whatever comes where one of a few names is accepted."""
    x, order = np.zeros((3, 4)), np.arange(3)

    def train(*rule: Any) -> None:
        rule = kernels.OptimizerRule(*rule)
        kernels.train_softmax_regression(x, order, order, x.copy(), None, batch_size=1, rule=rule)

    calls: dict[str, Callable[[], Any]] = {
        "reduction": lambda: kernels.cross_entropy(x, order, reduction=value),
        "the rule's name": lambda: train(value, {"lr": 0.1}),
        "the rule's settings": lambda: train("sgd", value),
    }
    if value is not None:
        calls["activation"] = lambda: kernels.linear(x, x, activation=value)
        calls["x_activation"] = lambda: kernels.linear_backward(
            x, x, np.zeros((3, 3)), x_activation=value
        )
    for name, call in calls.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        text = str(caught.value)
        assert text.startswith(name)
        assert repr(value) in text
        assert "accepted: " in text
    with pytest.raises(ValueError, match="reduction"):
        reference.cross_entropy(x, order, reduction=value)


def test_flags_and_names_that_are_arrays() -> None:
    x, both = np.zeros((3, 4)), np.array(["dx", "dweight"])
    for value in (np.array([1, 0]), np.array([True]), "no", None, 1, 0.0):
        with pytest.raises(TypeError, match=r"keepdims is .*; accepted: True or False"):
            kernels.logsumexp(x, keepdims=value)
    for yes in (True, np.True_):
        assert kernels.logsumexp(x, keepdims=yes).shape == (3, 1)
    dx, dweight, dbias = kernels.linear_backward(x, x, np.zeros((3, 3)), wanted=both)
    assert dx is not None
    assert dweight is not None
    assert dbias is None
    with pytest.raises(ValueError, match="wanted holds array"):
        kernels.linear_backward(x, x, np.zeros((3, 3)), wanted=[both])


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
