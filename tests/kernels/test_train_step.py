"""Whole runs of minibatches against the reference, step by step, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, LABEL_DTYPES, SETTINGS, eps, read_only, same_bytes
from training_cases import ROW_DTYPES, Problem, flat

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

CLASSES = (1, 2, 3, 5, 7, 10, 11, 33)
BATCH_SIZES = (1, 7, 32, 64, 65, 256, 1000)


def check_run(problem: Problem, what: str, *, threads: int | None = None, **options: Any) -> None:
    """The kernel follows the float64 reference to rounding.

    A step computes logits with an error of ``(K + 2) * eps / 2 * sum |x w|``, a gradient of that
    size relative plus softmax's ``4 + D`` eps, and adds ``lr`` times it to a parameter that it
    rounds once. Steps add up, and the map of a step is no expansion by more than ``1 + lr * decay``
    in these well-conditioned problems, up to the factor 1 / (1 - momentum) that momentum brings.
    So: steps * (1 / (1 - momentum)) * (lr * |g| * (K / 2 + 16) + |w|) * eps.
    """
    state = problem.start()
    options.setdefault("lr", 0.05)
    run = problem.train(kernels, state, **options, threads=threads)
    wide, wanted = problem.train_reference(**options)
    assert (
        (run.rows, run.steps)
        == (wanted.rows, wanted.steps)
        == (
            len(problem.order),
            -(-len(problem.order) // options["batch_size"]),
        )
    ), what

    unit, (_, columns) = eps(problem.dtype), problem.x.shape
    size = 1 + max(float(np.abs(array).max(initial=0)) for array in flat(wide))
    features = np.abs(problem.features()).max(initial=0)
    gain = 1 / (1 - options.get("momentum", 0.0))
    step = options["lr"] * size * features * (columns / 2 + 16) + size
    bound = wanted.steps * gain * step * unit
    for got, exact in zip(flat(state), flat(wide), strict=True):
        error = np.abs(got - exact).max(initial=0)
        assert error <= bound, f"{what}: parameters off by {error:.3g}, bound {bound:.3g}"
    # A loss moves by |x| K times what the parameters moved; its own bound is (8 + D / 2) eps.
    slope = 2 * (features * columns + 1) * (1 if problem.kind == "softmax" else 4 * size)
    loss_bound = wanted.rows * (slope * bound + 24 * unit) + 40 * unit * abs(wanted.loss)
    assert abs(run.loss - wanted.loss) <= loss_bound, f"{what}: loss {run.loss}, {wanted.loss}"
    # Equal but for rows whose two best logits are as close as the parameters are wrong.
    assert abs(run.correct - wanted.correct) <= max(1, run.rows // 200), what


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", ROW_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width(kind: str, rows: Any, dtype: Any, rng: np.random.Generator) -> None:
    for number, classes in enumerate(CLASSES):
        # Every other width for this dtype, the rest for the other one.
        first = (number + DTYPES.index(dtype)) % 2
        for columns in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130)[first::2]:
            problem = Problem(
                rng, kind, n=70, columns=columns, classes=classes, rows=rows, dtype=dtype
            )
            lr = 0.05 if kind == "softmax" else min(0.05, 0.5 / columns)
            what = f"{classes} classes, {columns} columns"
            check_run(problem, what, batch_size=32, lr=lr)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", ROW_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_batch_size(kind: str, rows: Any, dtype: Any, rng: np.random.Generator) -> None:
    """Short last batches, batches of one and larger than all rows."""
    for batch_size in BATCH_SIZES:
        for classes in (1, 3, 10) if batch_size > 1 else (3,):
            problem = Problem(rng, kind, n=131, classes=classes, rows=rows, dtype=dtype)
            check_run(problem, f"{batch_size}, {classes}", batch_size=batch_size, lr=0.02)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_setting(kind: str, settings: str, dtype: Any, rng: np.random.Generator) -> None:
    for bias in (True, False):
        for rows in ROW_DTYPES:
            problem = Problem(rng, kind, classes=3, rows=rows, dtype=dtype, bias=bias)
            # Ascent leaves the well-conditioned region in a few steps of a squared loss.
            lr = 0.001 if settings == "maximize" else 0.02
            check_run(problem, f"bias {bias}", batch_size=32, lr=lr, **SETTINGS[settings])


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", ROW_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(kind: str, rows: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    problem = Problem(rng, kind, n=1_500, columns=100, classes=10, rows=rows, dtype=dtype)
    lr = 0.05 if kind == "softmax" else 0.004
    check_run(problem, "", batch_size=256, lr=lr, threads=threads)


@pytest.mark.parametrize("rows", [np.uint8, np.float32])
def test_more_threads_than_processors(rows: Any, rng: np.random.Generator) -> None:
    """Threads that keep the first one waiting are left out for a while: the bytes are the same."""
    problem = Problem(rng, n=2_000, columns=300, rows=rows)
    problem.order = np.concatenate([rng.permutation(2_000) for _ in range(50)])
    for options in ({"momentum": 0.9}, {"max_norm": 0.1}):
        wanted, got = problem.start(), problem.start()
        run = problem.train(kernels, wanted, batch_size=512, lr=0.1, threads=1, **options)
        assert problem.train(kernels, got, batch_size=512, lr=0.1, threads=8, **options) == run
        assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))
    if rows == np.uint8:
        return
    problem.order[80_123] = 2_000
    problem.x = np.concatenate([problem.x, np.full((1, 300), np.nan, rows)])
    problem.target = np.append(problem.target, 0)
    states = problem.start(), problem.start()
    for threads, state in zip((1, 8), states, strict=True):
        with pytest.raises(FloatingPointError, match=r"step 156 .* row 2000;"):
            problem.train(kernels, state, batch_size=512, lr=0.1, threads=threads)
    assert same_bytes(tuple(flat(states[0])), tuple(flat(states[1])))


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_image_sized_rows(kind: str, rng: np.random.Generator) -> None:
    """784 columns and 10 classes, as MNIST."""
    for rows in ROW_DTYPES:
        problem = Problem(rng, kind, n=300, columns=784, classes=10, rows=rows)
        check_run(problem, f"{rows}", batch_size=256, lr=0.05 if kind == "softmax" else 0.0005)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_scale_and_shift(kind: str, rng: np.random.Generator) -> None:
    """Numbers, one per column, one of the two alone; equal to converted rows up to rounding."""
    for rows in ROW_DTYPES:
        for scale, shift in (
            (None, None), (0.01, None), (None, 0.5), (0.01, -0.5),
            ("columns", "columns"), ("columns", None), (0.01, "columns"),
        ):  # fmt: skip
            problem = Problem(rng, kind, classes=3, rows=rows, columns=19)
            problem.scale = rng.uniform(0.002, 0.004, 19) if scale == "columns" else scale
            problem.shift = rng.normal(0, 0.5, 19) if shift == "columns" else shift
            if rows == np.uint8 and scale is None:
                problem.x //= 64
            check_run(problem, f"{rows}, {scale}, {shift}", batch_size=32, lr=0.01)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_repeats_and_short_orders(kind: str, rng: np.random.Generator) -> None:
    """An order may repeat rows within a batch, leave rows out, and be empty."""
    problem = Problem(rng, kind, n=50, classes=3)
    for order in (
        rng.integers(0, 50, 133),
        np.full(40, 7),
        np.array([49]),
        np.arange(50)[::-1].copy(),
        np.repeat(np.arange(5), 9),
    ):
        problem.order = order.astype(np.int64)
        check_run(problem, f"{order[:3]}", batch_size=32, lr=0.02)
    state = problem.start()
    run = problem.train(kernels, state, np.zeros(0, np.int64), batch_size=32, lr=0.1)
    assert run == (0.0, 0, 0, 0)
    assert same_bytes(tuple(flat(state)), tuple(flat(problem.start())))


@pytest.mark.parametrize("rows", ROW_DTYPES)
def test_strided_and_read_only_rows(rows: Any, rng: np.random.Generator) -> None:
    """Any distance between rows, contiguous columns, nothing written: the same bytes."""
    problem = Problem(rng, n=90, columns=21, rows=rows)
    wanted = problem.start()
    problem.train(kernels, wanted, batch_size=32, lr=0.1)
    x, target, order = problem.x, problem.target, problem.order
    wide = np.zeros((180, 40), rows)
    wide[::2, 5:26] = x
    backwards = x[::-1].copy()[::-1]
    for other in (wide[::2, 5:26], backwards, read_only(x.copy())):
        problem.x, problem.target = other, read_only(target.copy())
        problem.order = read_only(order.copy())
        got = problem.start()
        problem.train(kernels, got, batch_size=32, lr=0.1)
        assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))


def test_memory_mapped_rows(rng: np.random.Generator, tmp_path: Any) -> None:
    problem = Problem(rng, n=90, columns=21, rows=np.uint8)
    wanted = problem.start()
    problem.train(kernels, wanted, batch_size=32, lr=0.1)
    problem.x.tofile(tmp_path / "rows")
    problem.x = np.memmap(tmp_path / "rows", np.uint8, "r", shape=problem.x.shape)
    got = problem.start()
    problem.train(kernels, got, batch_size=32, lr=0.1)
    assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))


@pytest.mark.parametrize("label_dtype", LABEL_DTYPES)
def test_any_integer_labels(label_dtype: Any, rng: np.random.Generator) -> None:
    problem = Problem(rng)
    wanted = problem.start()
    run = problem.train(kernels, wanted, batch_size=32, lr=0.1)
    for order in ("<", ">"):
        problem.target = problem.target.astype(np.dtype(label_dtype).newbyteorder(order))
        got = problem.start()
        assert problem.train(kernels, got, batch_size=32, lr=0.1) == run
        assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", ROW_DTYPES)
@pytest.mark.parametrize("settings", ["plain", "damped", "nesterov"])
def test_two_slices_equal_one_run(
    kind: str, rows: Any, settings: str, rng: np.random.Generator
) -> None:
    """A run cut between two batches gives the same bytes: parameters, momentum and counts."""
    problem = Problem(rng, kind, classes=5, rows=rows)
    options = {"batch_size": 32, "lr": 0.02, **SETTINGS[settings]}
    whole = problem.start()
    run = problem.train(kernels, whole, **options)
    for cut in (32, 128, 352):
        parts = problem.start()
        first = problem.train(kernels, parts, problem.order[:cut], **options)
        second = problem.train(kernels, parts, problem.order[cut:], **options, first_step=False)
        assert same_bytes(tuple(flat(parts)), tuple(flat(whole))), cut
        counts = (first.correct + second.correct, first.rows + second.rows)
        assert counts == (run.correct, run.rows)
        assert first.steps + second.steps == run.steps
        # Sums in float64 in another order: a rounding per row.
        assert abs(first.loss + second.loss - run.loss) <= run.rows * 2.3e-16 * abs(run.loss)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_two_runs_are_equal(kind: str, rng: np.random.Generator) -> None:
    problem = Problem(rng, kind, n=1_000, columns=40, classes=4)
    states = [problem.start() for _ in range(2)]
    runs = [problem.train(kernels, state, batch_size=64, lr=0.01) for state in states]
    assert runs[0] == runs[1]
    assert same_bytes(tuple(flat(states[0])), tuple(flat(states[1])))


@pytest.mark.parametrize("dtype", DTYPES)
def test_column_of_targets(dtype: Any, rng: np.random.Generator) -> None:
    """With one output, targets of (N,) and (N, 1) are the same."""
    problem = Problem(rng, "linear", classes=1, dtype=dtype)
    wanted = problem.start()
    run = problem.train(kernels, wanted, batch_size=32, lr=0.02)
    problem.target = problem.target[:, None]
    got = problem.start()
    assert problem.train(kernels, got, batch_size=32, lr=0.02) == run
    assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_learning_a_run_measures(dtype: Any, rng: np.random.Generator) -> None:
    """With lr 0 the loss and the accuracy of a run are those of evaluate_softmax_regression."""
    for rows in ROW_DTYPES:
        problem = Problem(rng, n=200, rows=rows, dtype=dtype, momentum=False)
        problem.order = np.arange(200)
        state = problem.start()
        run = problem.train(kernels, state, batch_size=64, lr=0.0)
        assert same_bytes(tuple(flat(state)), tuple(flat(problem.start())))
        seen = kernels.evaluate_softmax_regression(
            problem.x, problem.target, state[0], state[1], scale=problem.scale, shift=problem.shift
        )
        assert (seen.correct, seen.rows) == (run.correct, run.rows)
        assert abs(seen.loss - run.loss) <= 32 * eps(dtype) * run.loss


# Evaluation.


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", ROW_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_evaluation(kind: str, rows: Any, dtype: Any, rng: np.random.Generator) -> None:
    name = f"evaluate_{kind}_regression"
    for classes in CLASSES:
        problem = Problem(rng, kind, n=301, columns=19, classes=classes, rows=rows, dtype=dtype)
        weight, bias, _ = problem.start()
        for order in (None, problem.order[:100], np.array([3, 3, 300])):
            for offset in (bias, None):
                given = {"order": order, "scale": problem.scale, "shift": problem.shift}
                before = (weight.copy(), weight if offset is None else offset.copy())
                got = getattr(kernels, name)(problem.x, problem.target, weight, offset, **given)
                wanted = getattr(reference, name)(
                    problem.x, problem.target, weight, offset, **given
                )
                assert got.rows == wanted.rows == (301 if order is None else len(order))
                # The logits' bound, K + 2 roundings of their terms, times the loss's slope.
                logits = np.abs(problem.features()).max() * np.abs(weight).sum(1).max() + 1
                slope = 2 if kind == "softmax" else 4 * (logits + np.abs(problem.target).max())
                bound = got.rows * (21 * slope * logits + 40) * eps(dtype)
                assert abs(got.loss - wanted.loss) <= bound, f"{classes} classes"
                assert abs(got.correct - wanted.correct) <= 1
                assert same_bytes(before, (weight, weight if offset is None else offset))


def test_ties_go_to_the_first_class(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 3)).astype(np.float32)
    for classes in (2, 3, 10, 33):
        weight, bias = np.zeros((classes, 3), np.float32), np.zeros(classes, np.float32)
        for label, right in ((0, 40), (1, 0), (classes - 1, 0)):
            target = np.full(40, label)
            assert kernels.evaluate_softmax_regression(x, target, weight, bias).correct == right
            run = kernels.train_softmax_regression(
                x, target, np.arange(40), weight, bias, batch_size=8, lr=0.0
            )
            assert run.correct == right
            # Ties among the last classes go to the first of them.
            bias[-2:] = 1
            got = kernels.evaluate_softmax_regression(x, target, weight, bias).correct
            assert got == (40 if label == classes - 2 else 0)
            bias[:] = 0
