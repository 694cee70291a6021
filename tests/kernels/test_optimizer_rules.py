"""Every optimizer step: one step against the reference and PyTorch, several arrays, clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, SIZES, Array, assert_close, eps, same_bytes
from optimizer_cases import RULES, Rule, one_step_bounds, random_settings, random_state

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> Rule:
    return RULES[request.param]


def wide(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def run(module: Any, rule: Rule, settings: Any, step: int, param: Any, grad: Any, state: Any,
        **options: Any) -> Any:  # fmt: skip
    given = rule.options(settings, step)
    return getattr(module, rule.name)(param, grad, **state, **given, **options)


def check_step(rule: Rule, settings: Any, param: Array, grad: Array, state: Any, step: int) -> None:
    """One step of the kernel against the reference's in float64, from the same start."""
    exact, exact_state, gradient = param.astype(np.float64), wide(state), grad.astype(np.float64)
    start, before = exact.copy(), wide(state)
    run(reference, rule, settings, step, exact, gradient, exact_state)
    run(kernels, rule, settings, step, param, grad, state)
    bounds = one_step_bounds(
        rule, settings, start, gradient, before, exact_state, step, param.dtype
    )
    what = f"{rule.name}, {param.shape}, step {step}, {settings}"
    for name, array in state.items():
        assert_close(array, exact_state[name], bounds[name], f"{name} of {what}")
    assert_close(param, exact, bounds["param"], what)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_step(rule: Rule, dtype: Any, rng: np.random.Generator) -> None:
    for shape in (*((n,) for n in SIZES[::3]), (3, 5), (2, 3, 4), (17_001,), (), (0,), (0, 3)):
        settings = random_settings(rule, rng)
        param = np.asarray(rng.normal(0, 2, shape)).astype(dtype)
        grad = np.asarray(rng.normal(0, 1, shape)).astype(dtype)
        state = random_state(rule, settings, rng, shape, dtype)
        check_step(rule, settings, param, grad, state, int(rng.choice([1, 2, 10, 1000])))


def test_several_steps_are_pytorchs(rule: Rule, rng: np.random.Generator) -> None:
    """Each step from where PyTorch's float64 step before it has ended."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    for _ in range(20):
        settings = random_settings(rule, rng)
        size = int(rng.integers(1, 40))
        theirs = torch.tensor(rng.normal(0, 2, size), requires_grad=True)
        optimizer = getattr(torch.optim, rule.peer)([theirs], **settings)
        state = {name: np.zeros(size) for name in rule.used(settings)}
        for step in range(1, 6):
            start, before = theirs.detach().numpy().copy(), wide(state)
            grad = rng.normal(0, 1, size)
            theirs.grad = torch.tensor(grad)
            optimizer.step()
            kept = optimizer.state[theirs]
            after = {name: kept[name].numpy() for name in state}
            param = start.copy()
            run(kernels, rule, settings, step, param, grad, state)
            bounds = one_step_bounds(rule, settings, start, grad, before, after, step, float)
            what = f"step {step}, {settings}"
            # Twice: PyTorch rounds in float64 too.
            assert_close(param, theirs.detach().numpy(), 2 * bounds["param"], what)
            for name, array in state.items():
                assert_close(array, after[name], 2 * bounds[name], f"{name}, {what}")
                array[...] = after[name]


def many(rng: np.random.Generator, rule: Rule, settings: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """Arrays around the size of a tile, a scalar, an empty one; as lists."""
    shapes: list[Any] = [(3, 5), (), (16_384,), (0,), (16_385,), (2, 20_000), (1,), (33,)]
    params = [np.asarray(rng.normal(0, 2, shape)).astype(dtype) for shape in shapes]
    grads = [np.asarray(rng.normal(0, 1, shape)).astype(dtype) for shape in shapes]
    states = [random_state(rule, settings, rng, shape, dtype) for shape in shapes]
    return params, grads, {name: [state[name] for state in states] for name in states[0]}


def copied(arrays: Any) -> Any:
    if isinstance(arrays, dict):
        return {name: copied(value) for name, value in arrays.items()}
    return [array.copy() for array in arrays]


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_arrays_are_one_by_one(rule: Rule, dtype: Any, rng: np.random.Generator) -> None:
    for _ in range(3):
        settings = random_settings(rule, rng)
        params, grads, state = many(rng, rule, settings, dtype)
        alone, alone_state = copied(params), copied(state)
        for i, (param, grad) in enumerate(zip(alone, grads, strict=True)):
            own = {name: arrays[i] for name, arrays in alone_state.items()}
            run(kernels, rule, settings, 3, param, grad, own)
        assert run(kernels, rule, settings, 3, tuple(params), grads, state) is None
        assert same_bytes(tuple(params), tuple(alone))
        for name in state:
            assert same_bytes(tuple(state[name]), tuple(alone_state[name])), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_addresses_change_no_bit(
    rule: Rule, dtype: Any, rng: np.random.Generator
) -> None:
    settings = random_settings(rule, rng)
    params, grads, state = many(rng, rule, settings, dtype)
    results = []
    for threads, offset in ((1, 0), (2, 0), (3, 0), (7, 1), (1, 5), (2, 15)):

        def moved(arrays: Any, offset: int = offset) -> Any:
            """Copies at other places of a cache line."""
            copies = []
            for array in arrays:
                memory = np.empty(array.size + 16, dtype)
                copy = memory[offset : offset + array.size].reshape(array.shape)
                copy[...] = array
                copies.append(copy)
            return copies

        p, g = moved(params), moved(grads)
        s = {name: moved(arrays) for name, arrays in state.items()}
        norm = run(kernels, rule, settings, 2, p, g, s, max_norm=0.5, threads=threads)
        clipped = kernels.clip_grad_norm(g, 0.5, threads=threads)
        arrays = [*p, *g, *(array for given in s.values() for array in given)]
        results.append([norm, clipped, *(array.tobytes() for array in arrays)])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_in_the_step(rule: Rule, dtype: Any, rng: np.random.Generator) -> None:
    """As clip_grad_norm and then the step, to the bit; the gradients themselves stay."""
    for max_norm in (0.0, 0.7, 1e6, float("inf")):
        settings = random_settings(rule, rng)
        params, grads, state = many(rng, rule, settings, dtype)
        other, other_grads, other_state = copied(params), copied(grads), copied(state)
        before = copied(grads)
        norm = run(kernels, rule, settings, 2, params, grads, state, max_norm=max_norm)
        assert kernels.clip_grad_norm(other_grads, max_norm) == norm
        run(kernels, rule, settings, 2, other, other_grads, other_state)
        assert same_bytes(tuple(params), tuple(other))
        for name in state:
            assert same_bytes(tuple(state[name]), tuple(other_state[name])), name
        assert same_bytes(tuple(grads), tuple(before))


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm(dtype: Any, rng: np.random.Generator) -> None:
    for size in (*SIZES[::5], 16_383, 16_385, 100_003):
        grad = rng.normal(0, 3, size).astype(dtype)
        exact = float(np.sqrt((grad.astype(np.longdouble) ** 2).sum()))
        # In doubles, half an eps each: a lane sums up to 16384 / 8 squares, the tree adds a few,
        # and the root halves it.
        relative = (2048 / 4 + 20) * eps(float)
        bound = relative * exact
        for max_norm in (exact / 3, exact * 3):
            scaled = grad.copy()
            norm = kernels.clip_grad_norm(scaled, max_norm)
            assert abs(norm - exact) <= bound
            factor = min(1.0, max_norm / (exact + 1e-6))
            wanted = grad.astype(np.float64) * factor
            allowed = (2 * eps(dtype) + relative) * np.abs(wanted)
            assert_close(scaled, wanted, allowed, f"{size}")
            other = grad.copy()
            assert reference.clip_grad_norm(other, max_norm) == pytest.approx(
                norm, rel=2 * relative
            )
            assert_close(other, scaled, 2 * allowed, "reference")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_norm_that_is_not_finite(dtype: Any, bad: float) -> None:
    """As PyTorch: NaN everywhere, or 0 everywhere and NaN where the infinity was."""
    for module in (kernels, reference):
        grads = [np.array([1.0, bad], dtype), np.array([2.0], dtype)]
        norm = module.clip_grad_norm(grads, 1.0)
        expected = [np.nan] * 3 if np.isnan(bad) else [0, np.nan, 0]
        np.testing.assert_array_equal(norm, abs(bad))
        np.testing.assert_array_equal(np.concatenate(grads), np.array(expected, dtype))
    torch = pytest.importorskip("torch", exc_type=ImportError)
    tensors = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
    tensors[0].grad, tensors[1].grad = torch.tensor([1.0, bad]), torch.tensor([2.0])
    torch.nn.utils.clip_grad_norm_(tensors, 1.0)
    theirs = torch.cat([t.grad for t in tensors]).numpy()
    np.testing.assert_array_equal(theirs, np.array(expected, np.float32))


def test_norm_of_large_and_of_no_numbers() -> None:
    """Squares of float32 neither overflow nor vanish."""
    huge = np.full(5, 3e38, np.float32)
    assert kernels.clip_grad_norm(huge, 1.0) == pytest.approx(np.sqrt(5) * 3e38)
    np.testing.assert_allclose(huge, 1 / np.sqrt(5), rtol=1e-6)
    small = np.full(4, 1e-44, np.float32)
    assert kernels.clip_grad_norm(small, 1.0) == 2 * float(np.float32(1e-44))
    assert kernels.clip_grad_norm([], 1.0) == 0
    assert kernels.clip_grad_norm(np.empty((0, 3)), 1.0) == 0
    assert kernels.sgd_step([], [], lr=0.1, max_norm=1.0) == 0


def test_a_variance_is_not_negative() -> None:
    """A constant gradient: rounding alone decides its variance's sign."""
    param, grad = np.zeros(1000, np.float32), np.linspace(-3, 3, 1000, dtype=np.float32)
    square_avg, grad_avg = np.zeros_like(param), np.zeros_like(param)
    for _ in range(200):
        kernels.rmsprop_step(param, grad, square_avg, grad_avg=grad_avg, alpha=0.5, eps=1e-3)
    assert np.isfinite(param).all()
