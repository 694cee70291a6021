"""What was measured of a case, and what follows from it: ratios, rates, floors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import softstep
from softstep import _native
from softstep.bench.case import Case, Figure, Floor, Reading, Work, check, is_ours
from softstep.bench.limits import Bound, Machine
from softstep.bench.peers import Call
from softstep.bench.runner import FULL, Plan, alternate

__all__ = ["Measured", "Passed", "Scaling", "measure", "scaling"]

WIDEST = 64
"""Bytes of the vectors for which the floors are stated; with narrower ones they are half."""


class Passed(NamedTuple):
    """A floor and what was reached; None where the peer is not there."""

    ours: str
    against: str
    at_least: float
    reached: float | None

    @property
    def text(self) -> str:
        """Such as ``4x jax scan: MISS 2.4``."""
        floor = f"{self.at_least:g}x" + (f" {self.against}:" if self.against else "")
        if self.reached is None:
            return f"{floor} no peer"
        return f"{floor} pass" if self.reached >= self.at_least else f"{floor} MISS"


class Scaling(NamedTuple):
    """From one thread to all of them."""

    ours: str
    one: float
    """Seconds with one thread."""
    all: float
    machine: float
    """How many times faster multiply-adds in registers were, in the same rounds."""
    memory: float
    """Seconds that all threads took to move the bytes, in the same rounds."""
    wanted: float | None
    """The floor, or None: too short, or bound by memory."""

    @property
    def times(self) -> float:
        """How many times faster."""
        return self.one / self.all

    @property
    def text(self) -> str:
        """Such as ``1.90x of 1.98x pass``."""
        text = f"{self.times:.2f}x of {self.machine:.2f}x"
        if self.wanted is None:
            return text
        return f"{text} pass" if self.times >= self.wanted else f"{text} MISS"


@dataclass
class Measured:
    """A case or figure and what came of it, which may be that it could not be measured."""

    case: Case[Any] | Figure
    skipped: str = ""
    failed: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    """The median of each implementation."""
    bounds: dict[str, Bound] = field(default_factory=dict)
    """What the machine allows each of ours."""
    reading: Reading | None = None
    scaling: list[Scaling] = field(default_factory=list)

    @property
    def ours(self) -> list[str]:
        """Our implementations."""
        return [name for name in self.seconds if is_ours(name)]

    def peers(self, ours: str) -> list[str]:
        """Whom to compare one of ours with.

        Without ``out=`` we are compared with those who allocate their results as well; with it,
        with everybody.
        """
        return [
            name
            for name in self.seconds
            if not is_ours(name) and ("out=" in ours or "out=" not in name)
        ]

    def best_peer(self, ours: str) -> str | None:
        """Return the fastest of them."""
        return min(self.peers(ours), key=self.seconds.__getitem__, default=None)

    def ratio(self, ours: str) -> float | None:
        """How many times faster we are than the best peer."""
        best = self.best_peer(ours)
        return None if best is None else self.seconds[best] / self.seconds[ours]

    def rate(self, ours: str) -> tuple[float, str]:
        """GFLOP/s where arithmetic is the limit, else GB/s."""
        assert isinstance(self.case, Case)
        work = self.case.work_of(ours)
        if self.bounds[ours].kind == "flops":
            return work.flops / self.seconds[ours] / 1e9, "GFLOP/s"
        return (work.read + work.written) / self.seconds[ours] / 1e9, "GB/s"

    def floors(self) -> list[Passed]:
        """Each floor of the case and what was reached."""
        if not isinstance(self.case, Case) or not self.seconds:
            return []
        return [self._held_against(floor) for floor in self.case.floors]

    def _held_against(self, floor: Floor) -> Passed:
        if floor.against in self.seconds:
            rivals = [floor.against]
        else:
            rivals = [name for name in self.peers(floor.ours) if name.startswith(floor.against)]
        own = bool(floor.against) and is_ours(floor.against)
        at_least = floor.factor if own else floor.factor * floor_scale()
        reached = None
        if rivals and floor.ours in self.seconds:
            reached = min(self.seconds[name] for name in rivals) / self.seconds[floor.ours]
        return Passed(floor.ours, floor.against, at_least, reached)

    @property
    def held(self) -> bool:
        """Whether there is a floor: for a ratio, for the scaling, or for what is read."""
        return bool(self.floors() or self.reading or any(s.wanted for s in self.scaling))

    @property
    def missed(self) -> bool:
        """Whether a floor was missed."""
        late = any(p.reached is not None and p.reached < p.at_least for p in self.floors())
        slow = any(s.wanted is not None and s.times < s.wanted for s in self.scaling)
        above = (
            isinstance(self.case, Figure)
            and self.reading is not None
            and self.reading.value > self.case.at_most
        )
        return late or slow or above

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        found: dict[str, Any] = {"case": self.case.name, "size": self.case.size}
        if self.skipped or self.failed:
            return {
                **found,
                **({"skipped": self.skipped} if self.skipped else {"failed": self.failed}),
            }
        if isinstance(self.case, Figure):
            assert self.reading is not None
            return {
                **found,
                "value": self.reading.value,
                "unit": self.case.unit,
                "parts": self.reading.parts,
                "at_most": self.case.at_most,
                "passed": self.reading.value <= self.case.at_most,
            }
        return {
            **found,
            "seconds": self.seconds,
            "ours": {
                name: {
                    "seconds": self.seconds[name],
                    "best_peer": self.best_peer(name),
                    "ratio": self.ratio(name),
                    "rate": self.rate(name)[0],
                    "unit": self.rate(name)[1],
                    "limit": self.bounds[name].kind,
                    "limit_seconds": self.bounds[name].seconds,
                    "of_limit": self.bounds[name].seconds / self.seconds[name],
                }
                for name in self.ours
            },
            "floors": [
                {
                    **passed._asdict(),
                    "passed": None if passed.reached is None else passed.reached >= passed.at_least,
                }
                for passed in self.floors()
            ],
            "scaling": [{**found._asdict(), "times": found.times} for found in self.scaling],
        }


def floor_scale() -> float:
    """Half of the floors hold on a processor without AVX-512."""
    return 1.0 if softstep.show_config()["vector_bytes"] == WIDEST else 0.5


def measure(case: Case[Any] | Figure, machine: Machine, plan: Plan, scale: bool) -> Measured:
    """Check every implementation, then time them in turns."""
    result = Measured(case)
    if isinstance(case, Figure):
        try:
            result.reading = case.measure(plan.samples < FULL.samples)
        except NotImplementedError as error:
            result.skipped = str(error)
    else:
        _measure_times(result, case, machine, plan, scale)
    return result


def _measure_times(
    result: Measured, case: Case[Any], machine: Machine, plan: Plan, scale: bool
) -> None:
    inputs = case.make_inputs()
    expected = case.expect(inputs)
    calls: dict[str, Call] = {}
    for name in case.installed():
        calls[name] = case.implementations[name](inputs)
        try:
            check(expected, calls[name]())
        except AssertionError as error:
            result.failed = f"{name}: {error}"
            return
    del expected
    result.seconds = alternate(calls, plan)
    result.bounds = {name: machine.least(case.work_of(name)) for name in result.ours}
    if scale and machine.threads > 1:
        works = {name: case.work_of(name) for name in result.ours}
        result.scaling = scaling({name: calls[name] for name in works}, works, machine, plan)


SCALES_BY, FROM, OF_BANDWIDTH = 1.7, 1e-3, 0.8
LOOP_STEPS = 200_000


def scaling(
    calls: Mapping[str, Call], works: Mapping[str, Work], machine: Machine, plan: Plan
) -> list[Scaling]:
    """Time ours with one thread and with all of them, in turns, and so what the machine gains.

    Two threads have to be 1.7 times as fast where one takes more than a millisecond, unless that
    would take more than 0.8 of the memory's bandwidth: that is bound by memory. What has a
    variant with ``out=`` allocates its outputs without it. Where the machine itself gained less
    than 1.7, whose processors others had, everything is measured again after a pause.
    """
    all_found = []
    for name, call in calls.items():
        traffic = machine.traffic(works[name], fresh=f"{name} out=" in calls)
        found = _scaling(name, call, traffic, machine, plan)
        while (
            machine.threads == 2
            and found.machine < SCALES_BY
            and found.one > FROM
            and machine.wait(plan.until)
        ):
            found = _scaling(name, call, traffic, machine, plan)
        all_found.append(found)
    return all_found


def _scaling(
    name: str, call: Call, traffic: Callable[[], Any], machine: Machine, plan: Plan
) -> Scaling:
    """Time one of ours, what the machine does with registers, and what with memory, in turns."""
    loop, count = _native.module.multiply_add_loop, machine.threads

    def with_threads(number: int) -> Call:
        def limited() -> Any:
            with softstep.threads(number):
                return call()

        return limited

    turns: dict[str, Callable[[], Any]] = {
        "one": with_threads(1),
        "all": with_threads(count),
        "loop one": lambda: loop(LOOP_STEPS, 1),
        "loop all": lambda: loop(LOOP_STEPS, count),  # so many steps in each thread
        "memory": traffic,
    }
    seconds = alternate(turns, plan)
    gain = count * seconds["loop one"] / seconds["loop all"]
    counts = (
        count == 2
        and seconds["one"] > FROM
        and seconds["one"] / SCALES_BY > seconds["memory"] / OF_BANDWIDTH
    )
    wanted = SCALES_BY if counts else None
    return Scaling(name, seconds["one"], seconds["all"], gain, seconds["memory"], wanted)
