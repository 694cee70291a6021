"""Children of every kind, little memory, and neighbours with an OpenMP of their own.

RELIABILITY.md, lines 11, 15, 18 and 19, on every level.

A script each: a child of this process would inherit the test session. Fork from the kernels' tests
and eight Python threads are in tests/kernels/test_threads.py, two trainings of one model at once
in tests/training/test_trainer.py.
"""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from typing import Any

import fresh_python
import pytest

pytestmark = pytest.mark.usefixtures("level")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this platform")

# A bit of everything that runs in parallel, and its bytes.
WORK = """
import hashlib, os, signal, sys, threading, time
import numpy as np
import softstep
from softstep import kernels

x = np.linspace(-5, 5, 500_000, dtype=np.float32).reshape(50_000, 10)[::-1].copy()
labels = np.arange(50_000) % 10

def work():
    weight, bias = np.zeros((10, 10), np.float32), np.zeros(10, np.float32)
    run = kernels.train_softmax_regression(
        x, labels, np.arange(50_000)[::-1], weight, bias, batch_size=10_000, lr=0.1
    )
    arrays = [*kernels.cross_entropy_with_grad(x, labels), *kernels.linear_backward(x, weight, x)]
    arrays += [kernels.softmax(x, 0), weight, bias, np.array(run)]
    return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()
"""

# A child gets ten seconds. Its first act makes it end by itself if it hangs where nobody can ask.
CHILD = """
def wait(child):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"

def in_child(function):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if function() else 3
        finally:
            sys.stderr.flush()
            os._exit(status)
    return wait(child)
"""


def script(body: str) -> str:
    return WORK + CHILD + textwrap.dedent(body)


@functools.cache
def digest(level: str) -> str:
    code = WORK + "with softstep.threads(1):\n    print(work())"
    return fresh_python.run(code, SOFTSTEP_ISA=level).strip()


@pytest.fixture
def wanted(level: str) -> str:
    """What `work` returns in a process of its own that runs serially."""
    return digest(level)


# Forked children


@needs_fork
@pytest.mark.parametrize("parent", ["pass", "work()", "with softstep.threads(4): work()"])
def test_forked_child(parent: str, wanted: str) -> None:
    """Serial by default, and the same bytes whatever was asked for, in the grandchild too."""
    body = f"""
    {parent}
    def child():
        assert softstep.show_config()["threads"] == 1
        for n in (None, 1, 3):
            with softstep.threads(n):
                assert work() == {wanted!r}
        assert len(threading.enumerate()) == 1
        if os.path.isdir("/proc/self/task"):
            assert len(os.listdir("/proc/self/task")) == 1
        return in_child(lambda: work() == {wanted!r}) == 0
    assert in_child(child) == 0
    assert work() == {wanted!r}
    """
    fresh_python.run(script(body))


@needs_fork
def test_fork_while_other_threads_are_in_kernels(wanted: str) -> None:
    """Whatever the others held at that moment, the child does not wait for it."""
    body = f"""
    stop = threading.Event()
    def loop():
        out = np.empty_like(x)
        while not stop.is_set():
            kernels.softmax(x, out=out, threads=2)
    callers = [threading.Thread(target=loop) for _ in range(2)]
    for caller in callers:
        caller.start()
    states = [in_child(lambda: work() == {wanted!r}) for _ in range(4)]
    stop.set()
    for caller in callers:
        caller.join()
    assert states == [0] * 4, states
    assert work() == {wanted!r}
    """
    fresh_python.run(script(body))


@needs_fork
def test_training_in_a_forked_child() -> None:
    body = """
    def train():
        model = softstep.SoftmaxRegression(10, 0.5)
        softstep.Trainer(3, threads=3).fit(model, softstep.Digits(batch_size=1000))
        return b"".join(parameter.data.tobytes() for parameter in model.parameters())
    bytes_of_parent = train()
    assert in_child(lambda: train() == bytes_of_parent) == 0
    """
    fresh_python.run(script(body))


# Pools. The functions are softstep's own: children can import those.

POOL = """
import multiprocessing

if __name__ == "__main__":
    with softstep.threads(3):
        whole = kernels.softmax(x)
    parts = np.array_split(x, 4)
    context = multiprocessing.get_context({method!r})
    with context.Pool(2) as pool:
        results = pool.map_async(kernels.softmax, parts).get(timeout=10)
        counts = pool.apply_async(softstep.show_config).get(timeout=10)["threads"]
    assert np.concatenate(results).tobytes() == whole.tobytes()
    print(counts)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("no os.fork on this platform")
    counts = int(fresh_python.run(WORK + POOL.format(method=method)))
    if method == "fork":
        assert counts == 1
    else:
        assert counts >= 1


@needs_fork
def test_executor_of_processes() -> None:
    body = """
    import concurrent.futures, multiprocessing

    whole = kernels.logsumexp(x, threads=3)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        parts = list(pool.map(kernels.logsumexp, np.array_split(x, 4), timeout=10))
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    """
    fresh_python.run(script(body))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend: str) -> None:
    pytest.importorskip("joblib")
    body = f"""
    import joblib

    whole = kernels.softmax(x, threads=3)
    call = joblib.delayed(kernels.softmax)
    parallel = joblib.Parallel(n_jobs=2, backend={backend!r}, timeout=10)
    parts = parallel(call(part) for part in np.array_split(x, 4))
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    if {backend!r} == "loky":
        # Workers share the processors: joblib sets OMP_NUM_THREADS for them.
        (config,) = parallel(joblib.delayed(softstep.show_config)() for _ in range(1))
        assert config["threads"] <= max(1, joblib.cpu_count() // 2), config
    """
    fresh_python.run(script(body))


# PyTorch brings an OpenMP runtime of its own, under another name.

TORCH_WORK = """
def torch_work():
    a = torch.linspace(-1, 1, 1_000_000).reshape(1000, 1000).requires_grad_()
    (a @ a).logsumexp(1).sum().backward()
    return a.grad.numpy().tobytes()
"""


@pytest.mark.parametrize("first", ["torch", "softstep"])
def test_pytorch_beside(first: str, wanted: str) -> None:
    """Same bytes, no hang, whichever is imported and used first; a forked child works too."""
    pytest.importorskip("torch", exc_type=ImportError)
    imports = {
        "torch": f"import torch\n{TORCH_WORK}\nbefore = torch_work()\n{WORK}",
        "softstep": f"{WORK}\nassert work() == {wanted!r}\nimport torch\n{TORCH_WORK}",
    }[first]
    body = f"""
    for n in (None, 1, 3):
        with softstep.threads(n):
            assert work() == {wanted!r}
        torch_work()
        assert work() == {wanted!r}
    tensor = torch.from_numpy(x)
    ours = kernels.softmax(tensor)
    assert np.abs(ours - torch.softmax(tensor, 1).numpy()).max() < 1e-6
    number = torch.get_num_threads()
    with softstep.threads(1):
        work()
    assert torch.get_num_threads() == number
    results = []
    callers = [
        threading.Thread(target=lambda: results.append(work())),
        threading.Thread(target=torch_work),
        threading.Thread(target=lambda: results.append(work())),
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [{wanted!r}] * 2
    assert not hasattr(os, "fork") or in_child(lambda: work() == {wanted!r}) == 0
    """
    fresh_python.run(imports + CHILD + textwrap.dedent(body), timeout=120)


# Ends of processes


def end(body: str, **options: Any) -> Any:
    return fresh_python.start(script(body), **options)


def test_exit_after_threaded_work() -> None:
    done = end("with softstep.threads(3): work()\nsys.exit(5)")
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs Linux or macOS: SIGTERM")
def test_terminated_in_a_kernel() -> None:
    """Nothing of ours holds a signal back."""
    body = """
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    big = np.zeros((2000, 2000))
    while True:
        kernels.linear(big, big)
    """
    done = end(body)
    assert done.returncode == -15
    assert done.stderr == ""


# Too little memory


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: RLIMIT_AS")
@pytest.mark.parametrize("megabytes", [0, 1, 3, 6, 9, 12, 20, 40, 500])
def test_little_memory(megabytes: int, wanted: str) -> None:
    """A worker takes 8 MB or so: where it cannot be started, the caller works alone."""
    body = f"""
    import resource
    out = np.empty_like(x)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20, limits[1]))
    with softstep.threads(3):
        kernels.softmax(x, out=out)
        for _ in range(2):
            try:
                got = work()
            except MemoryError:
                got = None
    resource.setrlimit(resource.RLIMIT_AS, limits)
    np.testing.assert_array_equal(out, kernels.softmax(x))
    assert got in (({wanted!r},) if {megabytes} == 500 else (None, {wanted!r})), got
    assert work() == {wanted!r}
    """
    fresh_python.run(script(body))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: RLIMIT_AS")
def test_little_memory_in_training() -> None:
    """Wherever memory ends, threads are at work or not: MemoryError, and the weights stay."""
    fresh_python.run(
        """
    import resource
    import numpy as np
    from softstep import kernels
    classes, features = 8, 1_000_000
    x, target = np.ones((1, features), np.float32), np.zeros(1, np.int64)
    order, weight = np.zeros(256, np.int64), np.zeros((classes, features), np.float32)
    kernels.softmax(np.zeros((3000, 1000), np.float32), threads=2)  # the workers are there now

    def fits(more):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + more, limits[1]))
        try:
            kernels.train_softmax_regression(
                x, target, order, weight, None, batch_size=128, lr=1e-9, max_norm=1.0, threads=2
            )
        except MemoryError:
            assert not weight.any()
            return False
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        assert weight.any()
        weight[:] = 0
        return True

    least, enough = 0, 1 << 28
    assert fits(enough)
    while enough - least > 1 << 13:
        middle = (least + enough) // 2
        if fits(middle):
            enough = middle
        else:
            least = middle
    assert 1 << 20 < enough
    for less in range(0, 1 << 20, 1 << 14):
        fits(enough - less)
    """,
        MALLOC_MMAP_THRESHOLD_="65536",
    )  # the same for each attempt
