"""How ``softstep bench`` measures: turns, scaling, the limits; not how fast anything is."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from typing import Any

import pytest

from softstep.bench import limits
from softstep.bench.case import Work
from softstep.bench.limits import Machine
from softstep.bench.peers import Call
from softstep.bench.results import Scaling, scaling
from softstep.bench.runner import QUICK, TASKS, Plan, alternate, others_sleep, settle
from softstep.runtime import resolve_threads

# Turns


def test_alternate_takes_the_median_in_turns() -> None:
    order: list[str] = []

    def call(name: str) -> Any:
        return lambda: order.append(name)

    plan = Plan(samples=3, sample=0.0, settle=0.0)
    seconds = alternate({"a": call("a"), "b": call("b")}, plan)
    assert set(seconds) == {"a", "b"}
    assert order[-4:] == ["a", "a", "b", "b"]  # one to warm up, one that counts


@pytest.mark.skipif(not TASKS.is_dir(), reason="Linux alone tells what state a thread is in")
def test_settle_waits_for_the_threads_that_are_awake() -> None:
    settle(Plan(settle=5.0))  # those of earlier tests
    assert others_sleep()
    busy = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"", b"", 1_000_000))
    busy.start()
    while others_sleep():
        assert busy.is_alive()
    start = time.perf_counter()
    settle(Plan(settle=0.02))
    assert time.perf_counter() - start >= 0.02
    settle(Plan(settle=60.0))
    busy.join(1.0)
    assert not busy.is_alive()


# Scaling


@pytest.mark.parametrize(
    ("wanted", "all_threads", "text"),
    [
        (None, 0.5, "2.00x of 1.90x"),
        (1.7, 0.5, "2.00x of 1.90x pass"),
        (1.7, 0.8, "1.25x of 1.90x MISS"),
    ],
)
def test_scaling_is_held_against_its_floor(
    wanted: float | None, all_threads: float, text: str
) -> None:
    assert Scaling("softstep", 1.0, all_threads, 1.9, 0.1, wanted).text == text


@pytest.mark.parametrize(
    ("one", "memory", "wanted"),
    [
        (0.1, 0.04, 1.7),
        (0.1, 0.05, None),  # 0.1 / 1.7 would take .85 of the bandwidth
        (0.0011, 0.0, 1.7),
        (0.0009, 0.0, None),
    ],
)
def test_what_has_to_scale(
    monkeypatch: pytest.MonkeyPatch, one: float, memory: float, wanted: float | None
) -> None:
    seconds = {"one": one, "all": 0.06, "loop one": 0.5, "loop all": 0.51, "memory": memory}

    def alternate(turns: dict[str, Call], plan: Plan) -> dict[str, float]:
        assert set(turns) == set(seconds)
        for turn in turns.values():
            turn()
        return seconds

    monkeypatch.setattr("softstep.bench.results.alternate", alternate)
    threads = []
    case = {"softstep": lambda: threads.append(resolve_threads(None))}
    (found,) = scaling(case, {"softstep": Work(400, 200)}, Machine(2, 1), QUICK)
    assert found.wanted == wanted
    assert (found.one, found.all, found.memory) == (one, 0.06, memory)
    assert found.times == pytest.approx(one / 0.06)
    assert found.machine == pytest.approx(2 * 0.5 / 0.51)
    assert threads == [1, 2]


@pytest.mark.parametrize("others", [[], ["softstep out="]])
def test_memory_is_new_where_results_are(
    monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    """A call with a variant that has ``out=`` allocates its results; that one does not."""
    asked: list[bool] = []

    def traffic(self: Machine, work: Work, fresh: bool) -> Call:
        asked.append(fresh)
        return list

    monkeypatch.setattr(Machine, "traffic", traffic)
    names = ["softstep", *others]
    calls: dict[str, Call] = dict.fromkeys(names, list)
    scaling(calls, dict.fromkeys(names, Work(4, 4)), Machine(2, 1), QUICK)
    assert asked == ([True, False] if others else [False])


@pytest.mark.parametrize(
    ("one", "gains", "pauses"),
    [
        (0.1, [1.0, 1.2, 1.9], 2),
        (0.1, [1.0] * 30, 24),  # two minutes of them at most
        (0.0009, [1.0], 0),  # too short for the floor
    ],
)
@pytest.mark.parametrize(("count", "hurry"), [(2, False), (2, True), (3, False)])
def test_scaling_waits_for_two_processors(
    monkeypatch: pytest.MonkeyPatch,
    one: float,
    gains: list[float],
    pauses: int,
    count: int,
    hurry: bool,
) -> None:
    plan = dataclasses.replace(QUICK, until=time.perf_counter() + 4.0) if hurry else QUICK
    pauses = 0 if hurry or count == 3 else pauses
    left = iter(gains)

    def alternate(turns: dict[str, Call], plan: Plan) -> dict[str, float]:
        loop = next(left)
        return {"one": one, "all": one / loop, "loop one": loop, "loop all": 2, "memory": 0}

    slept: list[float] = []
    monkeypatch.setattr("softstep.bench.results.alternate", alternate)
    monkeypatch.setattr("softstep.bench.limits.time.sleep", slept.append)
    machine = Machine(count, 1)
    (found,) = scaling({"softstep": lambda: None}, {"softstep": Work(4)}, machine, plan)
    assert slept == [5.0] * pauses
    assert found.times == gains[pauses]
    assert found.machine == gains[pauses] * count / 2


# Limits


def test_lower_bounds() -> None:
    """The larger of the bounds of bytes and of arithmetic; what is copied counts at that rate."""

    class Known(Machine):
        flops = 1000.0

        def read(self, footprint: int = 0) -> float:
            return 10.0

        def copy(self, footprint: int = 0) -> float:
            return 5.0

    machine = Known(2)
    assert machine.least(Work(100)) == (10.0, "read")
    assert machine.least(Work(100, 100)) == (40.0, "copy")
    assert machine.least(Work(300, 100)) == (40.0 + 20.0, "read")
    assert machine.least(Work(100, flops=20_000)) == (20.0, "flops")
    assert machine.least(Work(100, 50, in_place=True)) == (10.0, "read")
    assert Work(100, 50).footprint == 150
    assert Work(100, 50, in_place=True).footprint == 100


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("work", "copied", "moved"),
    [
        (Work(400, 400), 400, 0),
        (Work(400, 100), 100, 300),
        (Work(100, 400), 100, 300),
        (Work(400, 100, in_place=True), 0, 400),
    ],
)
def test_traffic(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, work: Work, copied: int, moved: int
) -> None:
    """What is copied goes to the same place or to a new one each time; the rest is read."""
    assert (work.copied, work.moved) == (copied, moved)
    read: list[int] = []
    targets: list[Any] = []

    class Loops:
        def read_stream(self, x: Any, repeats: int, threads: int) -> None:
            read.append(x.nbytes)

        def copy_stream(
            self, out: Any, x: Any, streaming: bool, repeats: int, threads: int
        ) -> None:
            assert out.nbytes == x.nbytes == copied
            targets.append(out)

    monkeypatch.setattr(limits._native, "module", Loops())
    call = Machine(2).traffic(work, fresh)
    read.clear()
    targets.clear()
    call()
    call()
    assert read == [moved] * (2 if moved else 0)
    assert len(targets) == (2 if copied else 0)
    assert len({id(target) for target in targets}) == (0 if not copied else 2 if fresh else 1)


def test_rates_are_measured_once() -> None:
    machine = Machine(1, samples=1)
    assert machine.read(2**20) == machine.read(2**20) > 1e8
    assert machine.copy(2**20) == machine.copy(2**20) > 1e8
    assert machine.flops == machine.flops > 1e8
