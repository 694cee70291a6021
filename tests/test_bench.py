"""The command ``softstep bench``, its cases, checks and tables; not how fast anything is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softstep
from softstep import cli
from softstep.bench.case import Case, Expected, Figure, Floor, Work, check
from softstep.bench.cases import CASES, TIMED, train_step
from softstep.bench.command import select
from softstep.bench.limits import Bound
from softstep.bench.results import Measured, Scaling, floor_scale
from softstep.bench.table import Table, duration

PROJECT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not measure 256 MB in every test."""
    monkeypatch.setattr("softstep.bench.limits.LARGE", 2**22)


@pytest.fixture
def numpy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the other peers look as if they were not installed."""
    for name in ("scipy", "sklearn", "torch", "jax"):
        monkeypatch.setitem(sys.modules, name, None)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = cli.main(["bench", *arguments])
    except SystemExit as left:
        status = int(left.code or 0)
    return status, *capsys.readouterr()


# The command


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--list")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [case.name for case in CASES]
    status, out, _ = run(capsys, "--list", "--json", "--case", "adamw", "--case", "startup")
    assert status == 0
    found = [entry["case"] for entry in json.loads(out)["cases"]]
    assert found == ["startup/import", "adamw/softmax-regression", "adamw/twenty-million"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--case", "no-such-case"), r"no case is named 'no-such-case'; accepted: .*--list"),
        (("--case", "softmax", "--case", "nonsense"), "no case is named 'nonsense'"),
        (("--threads", "0"), r"--threads: is '0'; accepted: "),
        (("--json", "--markdown"), "not allowed with"),
    ],
)
def test_wrong_arguments(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(f"^softstep: error: .*{text}", err)


@pytest.mark.usefixtures("numpy_only")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--quick", "--case", "/minibatch", "--case", "overhead", "--threads", "1")
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["quick"] is True
    assert found["threads"] == 1
    config = json.loads(json.dumps(softstep.show_config()))
    assert found["config"] == {**config, "threads": 1}
    assert found["peers"] == {"numpy": np.__version__}
    assert all(value > 0 for value in found["limits"].values())
    assert len(found["cases"]) == len([c for c in CASES if "/minibatch" in c.name]) + 1
    for case in found["cases"]:
        if case["case"].startswith("overhead"):
            assert set(case["parts"]) == {"softstep", "numpy"}
            continue
        assert {"softstep", "numpy"} <= set(case["seconds"])
        assert all(value > 0 for value in case["seconds"].values())
        ours = case["ours"]["softstep"]
        assert ours["best_peer"].startswith("numpy")
        wanted = case["seconds"][ours["best_peer"]] / case["seconds"]["softstep"]
        assert ours["ratio"] == pytest.approx(wanted)
        assert ours["of_limit"] == pytest.approx(ours["limit_seconds"] / ours["seconds"])
        assert ours["limit"] in ("read", "copy", "flops")


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("style", ["text", "markdown"])
def test_table(capsys: pytest.CaptureFixture[str], style: str) -> None:
    arguments = ["--quick", "--case", "softmax/single", "--case", "overhead", "--threads", "1"]
    status, out, err = run(capsys, *arguments, *(["--markdown"] * (style == "markdown")))
    assert (status, err) == (0, "")
    assert "1 threads for everybody; limits: read " in out
    (line,) = [line for line in out.splitlines() if "softmax/single 1 x 10" in line]
    assert re.search(r"\d us\b.*\d us\b.*\d\.\d\dx\b.*\d GB/s.*\d% copy", line)
    (line,) = [line for line in out.splitlines() if "softmax-call 1 x 10" in line]
    assert re.search(r"\d us.*at most 2 us: (pass|MISS)", line)


@pytest.mark.usefixtures("numpy_only")
def test_scaling_has_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--quick", "--case", "softmax/minibatch", "--scaling", "--threads", "2", "--json")
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    for case in json.loads(out)["cases"]:
        for found in case["scaling"]:
            assert found["wanted"] is None  # it takes microseconds
            assert found["times"] == pytest.approx(found["one"] / found["all"])
            assert found["machine"] > 0


def test_nothing_of_it_is_imported_with_softstep() -> None:
    code = "import sys, softstep, softstep.cli; print([m for m in sys.modules if 'bench' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


# The cases


def test_names_are_unique_and_tell_families_apart() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]+/[a-z0-9-]+", name) for name in names)


def test_every_timed_case_has_ours_and_a_peer() -> None:
    for case in TIMED:
        libraries = {name.split()[0] for name in case.implementations}
        assert {"softstep", "numpy"} <= libraries, case.name
        for floor in case.floors:
            assert floor.ours in case.implementations
            assert any(name.startswith(floor.against) for name in case.implementations)
        for name in (*case.works, *case.requires):
            assert name in case.implementations
        assert case.work.read > 0


def test_every_timed_case_is_in_benches() -> None:
    """A file per room, and every family of its cases in a test of it."""
    for module in {Path(str(sys.modules[case.expect.__module__].__file__)).stem for case in TIMED}:
        text = (PROJECT / "benches" / f"bench_{module}.py").read_text(encoding="utf-8")
        families = {c.family for c in TIMED if c.expect.__module__.rpartition(".")[2] == module}
        if f"{module}.CASES)" not in text:
            for family in families:
                assert f'"{family}"' in text, family


def test_quick_is_a_part() -> None:
    quick, everything = select((), quick=True), select((), quick=False)
    assert everything == list(CASES)
    assert "epoch" in quick[-1].name  # the longest comes last, lest it take the others' time
    assert 8 <= len(quick) < len(everything)
    # What is asked for by name is measured whether or not it is quick.
    assert [case.name for case in select(("linear/wide",), quick=True)] == ["linear/wide"]


def test_synthetic_rows_where_mnist_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "has_mnist", lambda: False)
    pixels, target = train_step._images()
    assert (pixels.shape, pixels.dtype) == ((60_000, 784), np.uint8)
    assert target.shape == (60_000,)
    assert set(target.tolist()) == set(range(10))
    assert 0.7 < (pixels == 0).mean() < 0.9


# Checks of results


def test_check() -> None:
    wanted = [Expected("sum", np.arange(4.0), 0.5), Expected("loss", 1.0, np.float64(0.1))]
    check(wanted, [np.arange(4.0) + 0.5, 1.05])
    for results, text in (
        ([np.arange(4.0)], "1 results, expected 2"),
        ([np.arange(3.0), 1.0], r"sum: shape \(3,\), not \(4,\)"),
        ([np.arange(4.0) + 0.6, 1.0], "sum: 4 of 4 elements"),
        ([np.arange(4.0), np.nan], "loss: 1 of 1 elements"),
    ):
        with pytest.raises(AssertionError, match=text):
            check(wanted, results)


def example(results: Any = 1.0, **options: Any) -> Case[Any]:
    call: Any = lambda inputs: lambda: (results,)  # noqa: E731
    return Case(
        "family", "shape", "1 x 1", lambda: None, {"softstep": call, "numpy": call},
        lambda inputs: [Expected("loss", 1.0, 0.0)], Work(8, 8), **options,
    )  # fmt: skip


@pytest.mark.usefixtures("numpy_only")
def test_wrong_results_are_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are measured all the same."""
    monkeypatch.setattr("softstep.bench.command.CASES", (example(2.0), example()))
    status, out, err = run(capsys, "--quick", "--case", "family")
    assert status == 2
    assert "WRONG RESULT" in out
    assert re.search(r"^family/shape 1 x 1 +\d", out, re.MULTILINE)
    assert err.startswith("softstep: error: wrong results: family/shape, softstep: loss: 1 of 1")


# What follows from the times


def measured(seconds: dict[str, float], *floors: Floor) -> Measured:
    case = example(floors=floors)
    bounds = {"softstep": Bound(1.0, "copy"), "softstep out=": Bound(1.0, "copy")}
    return Measured(case, seconds=seconds, bounds=bounds)


def test_best_peer() -> None:
    """Without out= the comparison is with those who allocate, too; with it, with everybody."""
    seconds = {"softstep": 2.0, "softstep out=": 1.0, "numpy": 6.0, "torch out=": 3.0}
    found = measured(seconds)
    assert (found.best_peer("softstep"), found.ratio("softstep")) == ("numpy", 3)
    assert (found.best_peer("softstep out="), found.ratio("softstep out=")) == ("torch out=", 3)
    assert measured({"softstep": 1.0}).best_peer("softstep") is None
    assert measured({"softstep": 1.0}).ratio("softstep") is None
    assert found.rate("softstep") == (8e-9, "GB/s")


@pytest.mark.parametrize(
    ("floor", "reached"),
    [(Floor(2), 3), (Floor(2, "torch"), 4), (Floor(2, "torch b"), 5), (Floor(2, "jax"), None),
     (Floor(2, "softstep", "softstep u8"), 2), (Floor(2, "numpy", "softstep u8"), 6)],
)  # fmt: skip
def test_floors(floor: Floor, reached: float | None) -> None:
    seconds = {"softstep": 2.0, "softstep u8": 1.0, "numpy": 6.0, "torch a": 8.0, "torch b": 10.0}
    found = measured(seconds, floor)
    (passed,) = found.floors()
    assert passed.reached == reached
    assert passed.at_least == (2 if floor.against == "softstep" else 2 * floor_scale())
    assert passed.text.endswith("no peer" if reached is None else "pass")
    assert not found.missed
    (late,) = measured(seconds, floor._replace(factor=100)).floors()
    assert late.text.endswith("no peer" if reached is None else "MISS")


@pytest.mark.parametrize(
    ("seconds", "wanted", "held", "missed"),
    [(0.5, None, False, False), (0.5, 1.7, True, False), (0.8, 1.7, True, True)],
)
def test_what_must_scale_is_held(
    seconds: float, wanted: float | None, held: bool, missed: bool
) -> None:
    found = measured({"softstep": seconds})
    found.scaling.append(Scaling("softstep", 1.0, seconds, 2.0, 0.1, wanted))
    assert (found.held, found.missed) == (held, missed)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (1.0, "1 s"), (0.0123, "12.3 ms"), (0.9994, "999 ms"), (4.5e-6, "4.5 us"),
     (1.2e-7, "0.12 us")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rows_of_a_table() -> None:
    seconds = {"softstep": 2.0, "softstep out=": 1.0, "numpy": 6.0, "torch a": 8.0, "torch b": 9.0}
    found = measured(seconds, Floor(2), Floor(100, "torch", "softstep out="))
    table = Table(["numpy", "torch"], markdown=True, scaling=False)
    columns = len(table.head()[0].split("|"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.lines(found)]
    assert all(len(line.split("|")) == columns for line in [*table.head(), *table.lines(found)])
    assert rows[0][:5] == ["family/shape 1 x 1", "2 s", "6 s", "8 s", "3.00x"]
    assert rows[0][-1] == f"{2 * floor_scale():g}x pass"
    assert rows[1][:2] == ["… softstep out=", "1 s"]
    assert rows[1][-1].endswith("MISS")
    assert [row[0] for row in rows[2:]] == ["… torch a", "… torch b"]
    figure = Figure("startup", "import", "", "s", 0.2, lambda quick: None)  # type: ignore[arg-type,return-value]
    (line,) = table.lines(Measured(figure, skipped="not here"))
    assert line.startswith("| startup/import |")
    assert line.endswith("| not here |")
