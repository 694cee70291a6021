"""How many threads kernels use: softstep.threads and what else is heard (RELIABILITY.md, line 18).

That threads change no bit of a result is shown in tests/kernels/test_threads.py.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import fresh_python
import numpy as np
import pytest

import softstep
from softstep import _native, kernels

pytestmark = pytest.mark.usefixtures("level")
LINUX = sys.platform == "linux"
OPENMP = bool(softstep.show_config()["openmp"])


def count() -> Any:
    """How many threads a large kernel call would use now."""
    return softstep.show_config()["threads"]


@pytest.fixture(autouse=True)
def automatic() -> Iterator[None]:
    """Begin and end with the automatic choice."""
    with softstep.threads(None):
        yield


# softstep.threads


def test_as_a_call_it_holds_until_the_next() -> None:
    before = count()
    softstep.threads(5)
    assert count() == 5
    kernels.softmax(np.zeros((3, 4)))
    assert count() == 5
    softstep.threads(3)
    assert count() == 3
    softstep.threads(None)
    assert count() == before


def test_as_a_context_manager_it_holds_in_its_block() -> None:
    before = count()
    with softstep.threads(5):
        assert count() == 5
        with softstep.threads(2):
            assert count() == 2
            with softstep.threads(None):
                assert count() == before
            assert count() == 2
        assert count() == 5
    assert count() == before
    softstep.threads(4)
    with softstep.threads(6):
        pass
    assert count() == 4


def test_a_call_inside_of_a_block_ends_with_it() -> None:
    softstep.threads(4)
    with softstep.threads(5):
        softstep.threads(6)
        assert count() == 6
    assert count() == 4


def test_an_object_that_is_used_again() -> None:
    """Each block returns to the number from before it, however often it is entered."""
    softstep.threads(3)
    two = softstep.threads(2)
    with two:
        assert count() == 2
    assert count() == 3
    softstep.threads(4)
    for _ in range(2):
        with two:
            assert count() == 2
        assert count() == 4
    softstep.threads(2)
    with two:
        assert count() == 2
    assert count() == 2
    with softstep.threads(1) as one:
        with one:
            assert count() == 1
        assert count() == 1
    assert count() == 2
    a, b = softstep.threads(5), softstep.threads(6)
    with a, b, a:
        assert count() == 5
    assert count() == 6


def test_a_block_that_raises() -> None:
    softstep.threads(4)
    with pytest.raises(KeyError), softstep.threads(5):
        raise KeyError
    assert count() == 4


@pytest.mark.parametrize("n", [np.int64(3), np.uint8(3)])
def test_integers_of_every_kind(n: Any) -> None:
    with softstep.threads(n):
        assert count() == 3
        assert type(count()) is int


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (True, ValueError), (False, ValueError),
     (np.int64(-2**63), ValueError), (1.0, TypeError), ("2", TypeError), ([2], TypeError),
     (float("nan"), TypeError)],
)  # fmt: skip
def test_wrong_numbers(n: Any, error: type[Exception]) -> None:
    softstep.threads(4)
    for call in (softstep.threads, lambda n: kernels.softmax(np.zeros((3, 4)), threads=n)):
        with pytest.raises(error, match=r"threads is .*; accepted: an integer of at least 1"):
            call(n)
        assert count() == 4


def test_absurdly_many() -> None:
    """A number of threads is a limit: it asks for no resources by itself."""
    for n in (10**6, 2**40, 10**30):
        with softstep.threads(n):
            assert 1 <= count() <= n
            assert kernels.softmax(np.zeros((3, 4))).sum() == 3
        assert kernels.softmax(np.zeros((3, 4)), threads=n).sum() == 3


def test_it_is_the_setting_of_the_process() -> None:
    seen = []
    with softstep.threads(5):
        thread = threading.Thread(target=lambda: seen.append(count()))
        thread.start()
        thread.join()
    assert seen == [5]


# What sets the automatic choice

COUNT = "import softstep; print(softstep.show_config()['threads'])"


def automatic_count(**environment: str) -> int:
    return int(fresh_python.run(COUNT, **environment))


def test_environment_variables() -> None:
    """The smaller of OpenMP's and ours, which is used instead of affinity and quota."""
    assert automatic_count(OMP_NUM_THREADS="1") == 1
    assert automatic_count(SOFTSTEP_NUM_THREADS="1") == 1
    for ours, openmp in ((3, 5), (5, 3), (1, 5), (4, 1)):
        got = automatic_count(SOFTSTEP_NUM_THREADS=str(ours), OMP_NUM_THREADS=str(openmp))
        assert got == (min(ours, openmp) if OPENMP else 1)


def test_environment_variable_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTSTEP_NUM_THREADS", "1")
    assert count() == 1
    with softstep.threads(3):  # what the program says wins
        assert count() == 3


@pytest.mark.skipif(not LINUX, reason="needs Linux: sched_setaffinity")
def test_affinity_is_read_at_each_call() -> None:
    cpus = os.sched_getaffinity(0)
    before = count()
    assert before <= len(cpus)
    try:
        os.sched_setaffinity(0, {min(cpus)})
        assert count() == 1
    finally:
        os.sched_setaffinity(0, cpus)
    assert count() == before


def test_threadpoolctl() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = count()
    with threadpoolctl.threadpool_limits(1):
        assert count() == 1
        with softstep.threads(3):
            assert count() == 3
    assert count() == before
    if OPENMP:
        assert "openmp" in {pool["user_api"] for pool in threadpoolctl.threadpool_info()}


def cgroup_quota(script: str, version: int, quota: str) -> subprocess.CompletedProcess[str]:
    """Run a script where the files of the control groups are ours: a mount namespace of its own."""
    limit, period = quota.split()
    group, files = {
        1: ("1:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": limit, "cpu/cpu.cfs_period_us": period}),
        2: ("0::/", {"cpu.max": quota}),
    }[version]
    lines = ["set -e", "cd /sys/fs/cgroup", "mount -t tmpfs none .", "cd /sys/fs/cgroup"]
    lines += ["mkdir cpu", f"echo '{group}' > group", "mount --bind group /proc/$$/cgroup"]
    lines += [f"echo '{text}' > {file}" for file, text in files.items()]
    command = "\n".join([*lines, "echo mounted", f'exec "$0" -c "{script}"'])
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, sys.executable],
        env={"OMP_NUM_THREADS": "4", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not LINUX, reason="needs Linux: control groups")
@pytest.mark.parametrize(
    ("version", "quota", "limit"),
    [(2, "50000 100000", 1), (2, "150000 100000", 2), (2, "max 100000", 4),
     (1, "100000 100000", 1), (1, "-1 100000", 4)],
)  # fmt: skip
def test_cgroup_quota(version: int, quota: str, limit: int) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs Linux with user namespaces")
    done = cgroup_quota(COUNT, version, quota)
    if "mounted" not in done.stdout:
        pytest.skip("needs Linux with user namespaces")
    assert done.returncode == 0, done.stderr
    wanted = min(limit, automatic_count(OMP_NUM_THREADS="4")) if OPENMP else 1
    assert int(done.stdout.split()[-1]) == wanted


# How many threads there are: OpenMP keeps those it has started.

STARTED = """
import json, os
import numpy as np
import softstep
from softstep import kernels

x = np.zeros((200_000, 10), np.float32)
target = np.zeros(200_000, int)
started = []

def note(**options):
    before = len(os.listdir("/proc/self/task"))
    kernels.softmax(x, **options)
    weight, bias = np.zeros((10, 10), np.float32), np.zeros(10, np.float32)
    kernels.train_softmax_regression(
        x, target, np.arange(20_000), weight, bias, batch_size=10_000, lr=0.1, **options
    )
    started.append(len(os.listdir("/proc/self/task")) - before)

note(threads=1)
with softstep.threads(1):
    note()
"""


@pytest.mark.skipif(not LINUX, reason="needs Linux: /proc/self/task")
@pytest.mark.parametrize(
    ("last", "environment", "wanted"),
    [
        ("note()", {"OMP_NUM_THREADS": "1"}, 0),
        ("note()", {"SOFTSTEP_NUM_THREADS": "1"}, 0),
        ("note()", {"OMP_NUM_THREADS": "3", "SOFTSTEP_NUM_THREADS": "4"}, 2),
        ("note(threads=3)", {"OMP_NUM_THREADS": "1"}, 2),
        ("note(threads=3)", {"SOFTSTEP_NUM_THREADS": "1"}, 2),
        ("softstep.threads(1); note(threads=3)", {}, 2),
        ("softstep.threads(4); note()", {"OMP_NUM_THREADS": "1"}, 3),
        ("softstep.threads(4); note(threads=1)", {}, 0),
        # threadpoolctl finds OpenMP once softstep has loaded it.
        ("import threadpoolctl\nwith threadpoolctl.threadpool_limits(1): note()", {}, 0),
        (
            "import threadpoolctl\nwith threadpoolctl.threadpool_limits(3, 'openmp'):"
            " note(threads=None)",
            {"SOFTSTEP_NUM_THREADS": "5"},
            2,
        ),
        # OpenMP may give fewer than were asked for; the training waits for those that came.
        ("note(threads=4)", {"OMP_THREAD_LIMIT": "2"}, 1),
    ],
)
def test_threads_that_are_started(last: str, environment: dict[str, str], wanted: int) -> None:
    if "threadpoolctl" in last:
        pytest.importorskip("threadpoolctl")
    code = f"{STARTED}{last}\nprint(json.dumps(started))"
    started = fresh_python.answer(code, **environment)
    assert started == [0, 0, wanted if OPENMP else 0]


@pytest.mark.parametrize("limit", [{"OMP_THREAD_LIMIT": "2"}, {"OMP_DYNAMIC": "true"}])
def test_fewer_threads_than_asked_for(limit: dict[str, str]) -> None:
    """OpenMP's own limits change no bit either, and nothing waits for a thread that never came."""
    code = """
    import hashlib
    import numpy as np
    from softstep import kernels

    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(4000, 50)).astype(np.float32), rng.integers(0, 10, 4000)
    weight, bias = np.zeros((10, 50), np.float32), np.zeros(10, np.float32)
    run = kernels.train_softmax_regression(
        x, target, np.arange(4000), weight, bias, batch_size=1000, lr=0.1, threads=7
    )
    arrays = kernels.softmax(x, threads=7), *kernels.linear_backward(
        x, weight, rng.normal(size=(4000, 10)).astype(np.float32), threads=7
    )
    print(run, hashlib.sha256(b"".join(map(bytes, (weight, bias, *arrays)))).hexdigest())
    """
    assert fresh_python.run(code, **limit) == fresh_python.run(code)


def test_small_work_starts_no_thread() -> None:
    code = """
    import os, numpy as np
    from softstep import kernels

    before = os.listdir("/proc/self/task")
    kernels.softmax(np.zeros((30, 10)), threads=4)
    kernels.linear(np.zeros((3, 10)), np.zeros((3, 10)), threads=4)
    assert os.listdir("/proc/self/task") == before
    """
    if not LINUX:
        pytest.skip("needs Linux: /proc/self/task")
    fresh_python.run(code)


@pytest.mark.skipif(not LINUX, reason="needs Linux: /proc/self/task")
def test_calls_at_once_share_the_processors() -> None:
    """Two threads for one call; while it runs, another gets one, unless it asks for more."""
    code = """
    import json, os, threading, time
    import numpy as np
    from softstep import kernels

    def tasks():
        return len(os.listdir("/proc/self/task"))

    big, small = np.zeros((3000, 3000)), np.zeros((200_000, 10))
    before = tasks()
    caller = threading.Thread(target=kernels.linear, args=(big, big))
    caller.start()
    while caller.is_alive() and tasks() < before + 2:
        time.sleep(0.001)
    time.sleep(0.01)  # what it saw may have been a thread that ends at once
    counts = [tasks() - before]
    kernels.softmax(small)
    counts.append(tasks() - before)
    kernels.softmax(small, threads=2)
    counts.append(tasks() - before)
    assert caller.is_alive(), "the first call was over too soon"
    caller.join()
    print(json.dumps(counts))
    """
    if OPENMP:
        environment = {"OMP_NUM_THREADS": "2", "SOFTSTEP_NUM_THREADS": "2"}
        lowest = _native.supported[0]  # where the first call takes longest
        assert fresh_python.answer(code, **environment, SOFTSTEP_ISA=lowest) == [2, 2, 3]


@pytest.mark.skipif(not LINUX, reason="needs Linux: /proc/self/task")
@pytest.mark.parametrize("pool", ["concurrent.futures", "joblib"])
def test_a_pool_of_eight_threads_shares_the_processors(pool: str) -> None:
    """Eight calls at once on four threads: one gets all, one half, and the others run serially."""
    if pool == "joblib":
        pytest.importorskip("joblib")
    code = f"""
    import json, os, threading, time
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np
    from softstep import kernels

    big = np.ones((1500, 1500))
    meet = threading.Barrier(8)

    def call(_):
        meet.wait(30)
        result = kernels.linear(big, big)
        ended.append(True)
        return result

    def all_of_them():
        if {pool!r} == "joblib":
            import joblib
            parallel = joblib.Parallel(n_jobs=8, backend="threading")
            return parallel(joblib.delayed(call)(number) for number in range(8))
        with ThreadPoolExecutor(8) as executor:
            return list(executor.map(call, range(8)))

    def started():  # threads that are not Python's
        return len(os.listdir("/proc/self/task")) - threading.active_count()

    results, ended, most, last, before = [], [], 0, 0, started()
    runner = threading.Thread(target=lambda: results.extend(all_of_them()))
    runner.start()
    while runner.is_alive():
        number = started() - before
        if not ended:  # a call that is over leaves its share to the next
            most = max(most, min(number, last))  # a thread that ends is there for a moment more
        last = number
        time.sleep(0.01)
    runner.join()
    assert len(results) == 8 and all((result == 1500).all() for result in results)
    print(json.dumps(most))
    """
    lowest = _native.supported[0]  # where calls take longest
    environment = {"OMP_NUM_THREADS": "4", "SOFTSTEP_NUM_THREADS": "4", "SOFTSTEP_ISA": lowest}
    started = fresh_python.answer(code, **environment)
    assert started == ((4 - 1) + (4 // 2 - 1) if OPENMP else 0)


def test_every_combination_of_settings_is_consistent() -> None:
    for outer, inner in itertools.product((None, 1, 3), repeat=2):
        with softstep.threads(outer):
            before = count()
            with softstep.threads(inner):
                assert count() == (inner or fallback())
            assert count() == before


def fallback() -> Any:
    with softstep.threads(None):
        return count()
