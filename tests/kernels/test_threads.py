"""Thread counts change no bit; several threads and forked children are served correctly."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, SETTINGS, random_labels, random_logits, same_bytes
from training_cases import Problem, flat

import softstep
from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

COUNTS = (1, 2, 3, 4, 7)


def check_counts(call: Callable[..., Any]) -> None:
    """The result for every thread count, given or set, has the bytes of the serial one."""
    wanted = call(threads=1)
    for count in COUNTS[1:]:
        assert same_bytes(call(threads=count), wanted), f"{count} threads"
        with softstep.threads(count):
            assert same_bytes(call(), wanted), f"softstep.threads({count})"
    assert same_bytes(call(), wanted), "the default count"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(30_011, 10), (4_003, 130), (5, 50_257), (1, 300_007)])
def test_softmax_and_cross_entropy(
    dtype: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x, labels = random_logits(rng, shape, dtype), random_labels(rng, *shape)
    labels[::11] = -100
    for function in (kernels.softmax, kernels.log_softmax, kernels.logsumexp):
        check_counts(lambda function=function, **options: function(x, **options))
        check_counts(lambda function=function, **options: function(x, 0, **options))
    for reduction in ("mean", "sum", "none"):
        for both in (kernels.cross_entropy, kernels.cross_entropy_with_grad):
            check_counts(
                lambda both=both, reduction=reduction, **options: both(
                    x, labels, reduction=reduction, **options
                )
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (5_003, 129, 10),
        (700, 784, 33),
        (3, 40_009, 5),
        (20_011, 3, 1),
        (130, 200, 257),
        (4_203, 1_000, 70),  # several blocks of rows
    ],
)
def test_linear(dtype: Any, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    n, k, c = shape
    x, weight = rng.normal(0, 1, (n, k)).astype(dtype), rng.normal(0, 1, (c, k)).astype(dtype)
    bias, dlogits = rng.normal(0, 1, c).astype(dtype), rng.normal(0, 1, (n, c)).astype(dtype)
    check_counts(lambda **options: kernels.linear(x, weight, bias, **options))
    check_counts(lambda **options: kernels.linear_backward(x, weight, dlogits, **options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_and_steps(dtype: Any, rng: np.random.Generator) -> None:
    prediction, target = rng.normal(0, 1, (2, 300_007)).astype(dtype)
    for reduction in ("mean", "sum", "none"):
        check_counts(
            lambda reduction=reduction, **options: kernels.mse_loss_with_grad(
                prediction, target, reduction=reduction, **options
            )
        )

    def step(**options: Any) -> tuple[Any, ...]:
        param, buffer = prediction.copy(), target.copy()
        kernels.sgd_step(param, target, buffer, lr=0.1, momentum=0.9, nesterov=True, **options)
        return param, buffer

    check_counts(step)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(30_011, 10), (4_003, 130), (5, 50_257)])
def test_gradients_and_binary_cross_entropy(
    dtype: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x, g = random_logits(rng, shape, dtype), rng.normal(0, 1, shape).astype(dtype)
    softmax, log_softmax = kernels.softmax(x), kernels.log_softmax(x)
    for axis in (-1, 0):
        check_counts(lambda axis=axis, **o: kernels.softmax_backward(g, softmax, axis, **o))
        check_counts(lambda axis=axis, **o: kernels.log_softmax_backward(g, log_softmax, axis, **o))
    target = rng.integers(0, 2, x.shape).astype(dtype)
    weight, positive = rng.uniform(0, 2, x.shape).astype(dtype), np.full(shape[1], 3, dtype)
    check_counts(
        lambda **o: kernels.binary_cross_entropy_with_logits_with_grad(
            x, target, weight=weight, pos_weight=positive, **o
        )
    )
    check_counts(lambda **o: kernels.mse_loss_with_grad(x, target, weight=weight, **o))


@pytest.mark.parametrize("dtype", DTYPES)
def test_adaptive_steps_and_clipping(dtype: Any, rng: np.random.Generator) -> None:
    sizes = (300_007, 10, 1)
    grads = [rng.normal(0, 1, size).astype(dtype) for size in sizes]

    def fresh(value: float) -> list[Any]:
        return [np.full(size, value, dtype) for size in sizes]

    def rmsprop(**options: Any) -> Any:
        arrays = [fresh(value) for value in (1, 0.5, 0.25, 0.125)]
        param, average, centre, momentum = arrays
        norm = kernels.rmsprop_step(
            param, grads, average, grad_avg=centre, momentum_buffer=momentum, momentum=0.5,
            max_norm=1.0, **options,
        )  # fmt: skip
        return norm, *(array for group in arrays for array in group)

    def adamw(**options: Any) -> Any:
        arrays = [fresh(value) for value in (1, 0.5, 0.25, 0.125)]
        param, mean, square, most = arrays
        norm = kernels.adamw_step(
            param, grads, mean, square, max_exp_avg_sq=most, step=3, max_norm=1.0, **options
        )
        return norm, *(array for group in arrays for array in group)

    def clip(**options: Any) -> Any:
        copies = [grad.copy() for grad in grads]
        return kernels.clip_grad_norm(copies, 0.5, **options), *copies

    check_counts(rmsprop)
    check_counts(adamw)
    check_counts(clip)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hundred_training_steps(
    kind: str, rows: Any, dtype: Any, rng: np.random.Generator
) -> None:
    """RELIABILITY.md, line 12: equal parameters, momentum and counts after 100 steps or more."""
    problem = Problem(rng, kind, n=2_200, columns=70, classes=10, rows=rows, dtype=dtype)
    for batch_size, settings in ((64, "nesterov"), (200, "plain")):
        order = problem.order if batch_size == 64 else np.tile(problem.order, 4)

        def run(batch_size: int = batch_size, settings: str = settings, order: Any = order,
                **options: Any) -> tuple[Any, ...]:  # fmt: skip
            state = problem.start()
            given = {"batch_size": batch_size, "lr": 0.002, **SETTINGS[settings], **options}
            seen = problem.train(kernels, state, order, **given)
            assert seen.steps >= 100
            return (*flat(state), *map(np.asarray, seen))

        check_counts(run)


def test_evaluation(rng: np.random.Generator) -> None:
    for kind in ("softmax", "linear"):
        problem = Problem(rng, kind, n=20_000, columns=30)
        weight, bias, _ = problem.start()
        evaluate = getattr(kernels, f"evaluate_{kind}_regression")
        check_counts(
            lambda evaluate=evaluate, problem=problem, weight=weight, bias=bias, **options: tuple(
                map(np.asarray, evaluate(problem.x, problem.target, weight, bias, **options))
            )
        )


def test_setting_of_the_process() -> None:
    """``softstep.threads`` holds in its block, nests, and gives back what was before."""
    with softstep.threads(3):
        assert softstep.show_config()["threads"] == 3
        with softstep.threads(1):
            assert softstep.show_config()["threads"] == 1
        assert softstep.show_config()["threads"] == 3
    for bad in (0, -1):
        with pytest.raises(ValueError, match="threads"):
            softstep.threads(bad)
    with pytest.raises(TypeError, match="threads"):
        softstep.threads("2")  # type: ignore[arg-type]


def work(seed: int) -> tuple[Any, ...]:
    """A bit of everything, from a seed."""
    rng = np.random.default_rng(seed)
    x, labels = random_logits(rng, (9_001, 10), np.float32), random_labels(rng, 9_001, 10)
    problem = Problem(rng, n=600, columns=50)
    state = problem.start()
    run = problem.train(kernels, state, batch_size=64, lr=0.05, momentum=0.9)
    return (
        kernels.softmax(x),
        *kernels.cross_entropy_with_grad(x, labels),
        *kernels.linear_backward(problem.x, problem.weight, np.ones((600, 10), np.float32)),
        *flat(state),
        np.asarray(run.loss),
    )


def test_eight_python_threads_at_once(seed: int) -> None:
    wanted = [work(seed + number) for number in range(8)]
    got: list[list[Any]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def repeat(number: int) -> None:
        start.wait(60)
        got[number].extend(work(seed + number) for _ in range(3))

    pool = [threading.Thread(target=repeat, args=(number,)) for number in range(8)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join(120)
        assert not thread.is_alive()
    for number in range(8):
        assert len(got[number]) == 3
        assert all(same_bytes(result, wanted[number]) for result in got[number])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child(seed: int) -> None:
    """After threaded work in the parent a forked child computes the same within 10 s."""
    with softstep.threads(4):
        wanted = work(seed)
        child = os.fork()
        if child == 0:
            # Nothing but the work: no pytest in the child, whatever happens.
            status = 1
            try:
                same = same_bytes(work(seed), wanted)
                with softstep.threads(2):
                    same = same and same_bytes(work(seed), wanted)
                status = 0 if same else 3
            finally:
                os._exit(status)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                assert os.waitstatus_to_exitcode(status) == 0
                break
            time.sleep(0.02)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked child was not done after 10 s")
        assert same_bytes(work(seed), wanted)  # and the parent still works
