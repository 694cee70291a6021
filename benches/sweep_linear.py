"""Times `linear` on every shape of N x K x C and lists those that take too long.

    python -m benches.sweep_linear --threads 1
    python -m benches.sweep_linear --from 3e8      # the large ones, minutes

The bound is 1.5 times the better of NumPy (OpenBLAS) and PyTorch (MKL), plus 2 us. All three write
into an output that is there. Everybody's best counts, for a sweep has no time for medians, and a
shape beyond the bound is measured again, longer, before it is called so. The exit status is 1 if
any is left.
"""

from __future__ import annotations

import argparse
import itertools
from time import perf_counter

import numpy as np

from softstep import kernels
from softstep.bench.bounds import EPS
from softstep.bench.peers import Call, load, tensors
from softstep.bench.runner import FULL, same_threads, settle, thread_count, timed

SIZES = (1, 2, 7, 10, 16, 64, 100, 256, 784, 1000, 4096)
SLOWER, MORE = 1.5, 2e-6
AGAIN = 3
"""How many times a shape beyond the bound is measured again."""


def calls(n: int, features: int, outputs: int) -> dict[str, Call]:
    """Return ours and the peers', checked against each other."""
    rng = np.random.default_rng(0)
    x, weight, bias = (
        rng.random(shape, np.float32) for shape in ((n, features), (outputs, features), outputs)
    )
    out, blas, mkl = (np.empty((n, outputs), np.float32) for _ in range(3))
    torch = load("torch")
    *inputs, result = tensors(bias, x, weight.T, mkl)
    found: dict[str, Call] = {
        "softstep": lambda: [kernels.linear(x, weight, bias, out=out)],
        "numpy": lambda: [np.add(np.matmul(x, weight.T, out=blas), bias, out=blas)],
        "torch": lambda: [torch.addmm(*inputs, out=result)],
    }
    for call in found.values():
        call()
    bound = 2 * (features + 1) * EPS  # of two orders of adding terms of one sign
    for other in (blas, mkl):
        np.testing.assert_allclose(out, other, rtol=bound)
    return found


def best(call: Call, budget: float, samples: int) -> float:
    """Return the least seconds per call of some samples, each of about `budget`."""
    settle(FULL)
    once = timed(call, 1)
    number = max(1, min(200, int(budget / once)))
    return min(timed(call, number) for _ in range(samples))


def of_bound(n: int, features: int, outputs: int, patience: int) -> tuple[float, dict[str, float]]:
    """Return the part of the bound that we take, and everybody's seconds."""
    seconds = {
        name: best(call, 2e-4 * (1 + 4 * patience), 5)
        for name, call in calls(n, features, outputs).items()
    }
    peer = min(seconds[name] for name in ("numpy", "torch"))
    return seconds["softstep"] / (SLOWER * peer + MORE), seconds


def main() -> int:
    """Sweep; return how a shell sees the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=thread_count())
    parser.add_argument("--from", dest="least", type=float, default=0, metavar="MULTIPLICATIONS")
    parser.add_argument("--to", dest="most", type=float, metavar="MULTIPLICATIONS")
    chosen = parser.parse_args()
    most = chosen.most or (float("inf") if chosen.least else 3e8)
    shapes = [
        (n, k, c)
        for n, k, c in itertools.product(SIZES, repeat=3)
        if chosen.least <= n * k * c <= most
    ]
    beyond, start = [], perf_counter()
    with same_threads(chosen.threads, ("numpy", "torch")):
        for shape in shapes:
            patience = 0
            part, seconds = of_bound(*shape, patience)
            while part > 1 and patience < AGAIN:
                patience += 1
                part, seconds = of_bound(*shape, patience)
            if part > 1:
                times = ", ".join(f"{name} {1e6 * s:.1f} us" for name, s in seconds.items())
                print(" x ".join(map(str, shape)), f"{part:.2f} of the bound: {times}", flush=True)
                beyond.append(shape)
    print(
        f"{chosen.threads} threads, {len(shapes)} shapes, {len(beyond)} beyond the bound, "
        f"{perf_counter() - start:.0f} s"
    )
    return 1 if beyond else 0


if __name__ == "__main__":
    raise SystemExit(main())
