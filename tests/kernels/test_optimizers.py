"""sgd_step against the reference, step by step, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, SETTINGS, SIZES, assert_close, eps, same_bytes, tiny

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")


def check_steps(rng: np.random.Generator, shape: Any, dtype: Any, steps: int, **given: Any) -> None:
    param = np.asarray(rng.normal(0, 2, shape)).astype(dtype)
    buffer = np.asarray(rng.normal(0, 1, shape)).astype(dtype)
    wanted, wanted_buffer = param.astype(np.float64), buffer.astype(np.float64)
    threads = given.pop("threads", None)
    bound, buffer_bound = np.zeros(shape), np.zeros(shape)
    for step in range(steps):
        gradient = np.asarray(rng.normal(0, 3, shape)).astype(dtype)
        first = {"first_step": step == 0}
        kernels.sgd_step(param, gradient, buffer, lr=0.1, **given, **first, threads=threads)
        wide = gradient.astype(np.float64)
        before = np.abs(wanted)
        reference.sgd_step(wanted, wide, wanted_buffer, lr=0.1, **given, **first)
        # Six roundings of eps / 2 of the magnitudes that are added; what was wrong before comes
        # along, momentum times in the buffer.
        momentum, decay = given.get("momentum", 0.0), given.get("weight_decay", 0.0)
        size = np.abs(wide) + decay * before + np.abs(wanted_buffer)
        buffer_bound = momentum * buffer_bound + decay * bound + 3 * eps(dtype) * size
        carried = buffer_bound if momentum else decay * bound
        new = 3 * eps(dtype) * (before + 0.2 * size)
        bound = bound + 0.1 * (1 + momentum) * carried + new + tiny(dtype)
        assert_close(param, wanted, bound, f"parameter {shape}, step {step}")
        if momentum:
            assert_close(buffer, wanted_buffer, buffer_bound, f"buffer {shape}, step {step}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_length(dtype: Any, settings: str, rng: np.random.Generator) -> None:
    for shape in (*((n,) for n in SIZES), (3, 5), (2, 3, 4), (10, 784), ()):
        check_steps(rng, shape, dtype, 3, **SETTINGS[settings])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", ["plain", "damped", "nesterov"])
def test_threads(dtype: Any, settings: str, threads: int, rng: np.random.Generator) -> None:
    check_steps(rng, (200_003,), dtype, 2, **SETTINGS[settings], threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_in_small_integers(dtype: Any) -> None:
    """Powers of two and small integers round nothing: PyTorch's order, number by number."""
    param, gradient = np.array([8.0, -4.0], dtype), np.array([2.0, 6.0], dtype)
    buffer = np.array([99.0, np.nan], dtype)
    options = {"lr": 0.5, "momentum": 0.5, "dampening": 0.5, "weight_decay": 0.25}
    kernels.sgd_step(param, gradient, buffer, **options, first_step=True)
    assert buffer.tolist() == [4, 5]  # g + 0.25 p, without dampening
    assert param.tolist() == [6, -6.5]
    kernels.sgd_step(param, gradient, buffer, **options)
    assert buffer.tolist() == [3.75, 4.6875]  # 0.5 b + 0.5 (g + 0.25 p)
    assert param.tolist() == [4.125, -8.84375]

    param, buffer = np.array([8.0], dtype), np.array([4.0], dtype)
    kernels.sgd_step(
        param, [2.0], buffer, lr=0.5, momentum=0.5, nesterov=True, maximize=True, weight_decay=0.5
    )
    assert buffer.tolist() == [4]  # 0.5 * 4 + (-2 + 0.5 * 8)
    assert param.tolist() == [6]  # 8 - 0.5 * (2 + 0.5 * 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_returns_nothing_and_keeps_the_gradient(dtype: Any, rng: np.random.Generator) -> None:
    param, gradient, buffer = rng.normal(0, 1, (3, 33)).astype(dtype)
    before = gradient.copy()
    assert kernels.sgd_step(param, gradient, buffer, lr=0.1, momentum=0.9) is None
    assert same_bytes(gradient, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_learning_rate_no_change(dtype: Any, rng: np.random.Generator) -> None:
    param, gradient = rng.normal(0, 1, (2, 33)).astype(dtype)
    before = param.copy()
    kernels.sgd_step(param, gradient, lr=0.0)
    assert same_bytes(param, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_in_its_element(dtype: Any, rng: np.random.Generator) -> None:
    start, gradient = rng.normal(0, 1, (2, 37)).astype(dtype)
    clean, bad = start.copy(), start.copy()
    kernels.sgd_step(clean, gradient, lr=0.1)
    gradient[11] = np.nan
    kernels.sgd_step(bad, gradient, lr=0.1)
    keep = np.arange(37) != 11
    assert np.isnan(bad[11])
    assert same_bytes(bad[keep], clean[keep])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lr", {"lr": -0.1}),
        ("lr", {"lr": float("nan")}),
        ("momentum", {"lr": 0.1, "momentum": -0.5}),
        ("weight_decay", {"lr": 0.1, "weight_decay": -1.0}),
        ("nesterov", {"lr": 0.1, "nesterov": True}),
        ("nesterov", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "nesterov": True}),
        ("momentum_buffer", {"lr": 0.1, "momentum": 0.9}),
    ],
)
def test_bad_settings(name: str, settings: dict[str, Any]) -> None:
    for module in (kernels, reference):
        param = np.ones(3)
        buffer = None if name == "momentum_buffer" else np.ones(3)
        with pytest.raises(ValueError, match=name):
            module.sgd_step(param, np.ones(3), buffer, **settings)
        assert param.tolist() == [1, 1, 1]
        assert buffer is None or buffer.tolist() == [1, 1, 1]
