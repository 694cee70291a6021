"""What the documents show runs, and what they name exists."""

from __future__ import annotations

import gzip
import importlib
import inspect
import os
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, get_origin

import numpy as np
import pytest

import softstep

PROJECT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md",
    *sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").rglob("*.md")
            if "_build" not in path.parts),
)  # fmt: skip


def text_of(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(name), re.DOTALL | re.MULTILINE)


def write_idx(path: Path, array: Any) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the reader of the README has: MNIST in data/mnist (a small one here), arrays, logits."""
    rng = np.random.default_rng(0)
    mnist = tmp_path / "data" / "mnist"
    mnist.mkdir(parents=True)
    for part, n in (("train", 600), ("t10k", 100)):
        write_idx(mnist / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 28, 28)))
        write_idx(mnist / f"{part}-labels-idx1-ubyte.gz", rng.integers(0, 10, n))
    np.save(tmp_path / "features.npy", rng.integers(0, 256, (2000, 30), np.uint8))
    np.save(tmp_path / "labels.npy", rng.integers(0, 1000, 2000))
    return tmp_path


def run(folder: Path, *command: str) -> str:
    variables = {key: value for key, value in os.environ.items() if key != "SOFTSTEP_DATA"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**variables, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_python_of_the_readme(folder: Path) -> None:
    """All of it, in the order of the page."""
    found = blocks("README.md", "python")
    assert found
    given = (
        "import numpy as np\n"
        "logits = np.zeros((4, 3), np.float32)\n"
        "target = np.array([0, 1, 2, 0])\n"
    )
    script = folder / "readme.py"
    script.write_text("\n".join([given, *found]), encoding="utf-8")
    run(folder, "-W", "error", str(script))
    assert (folder / "mnist.safetensors").is_file()


def test_commands_of_the_readme(folder: Path) -> None:
    """Every line that begins with softstep; installing is for the two commands' own check."""
    pytest.importorskip("matplotlib")
    picture = pytest.importorskip("PIL.Image")
    picture.fromarray(np.full((28, 28), 200, np.uint8)).save(folder / "digit.png")
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    commands = [words for line in lines if (words := shlex.split(line, comments=True))]
    ours = [words[1:] for words in commands if words[0] == "softstep"]
    assert {words[0] for words in ours} == {"train", "evaluate", "predict", "plot", "info"}
    for words in ours:
        if ">" not in words:
            run(folder, "-m", "softstep", *words)
            continue
        printed = run(folder, "-m", "softstep", *words[: words.index(">")])
        (folder / words[-1]).write_text(printed, encoding="utf-8")
    assert (folder / "mlp.png").is_file()
    assert (folder / "curves.png").is_file()


def test_korean_readme_is_that_of_the_readme() -> None:
    """The same code, commands, links and figures."""
    for language in ("python", "sh"):
        assert blocks("README.ko.md", language) == blocks("README.md", language)

    def links(name: str) -> list[str]:
        found = re.findall(r"\]\(([^)\s]+)\)", text_of(name))
        return [target for target in found if not target.startswith("README")]

    def headings(name: str) -> int:
        return len(re.findall(r"^#+ ", text_of(name), re.MULTILINE))

    def measured(name: str) -> list[str]:
        rows = [line for line in text_of(name).splitlines() if re.match(r" *\| .*\d", line)]
        return [number for row in rows for number in re.findall(r"\d+(?:\.\d+)?", row)]

    assert links("README.ko.md") == links("README.md")
    assert headings("README.ko.md") == headings("README.md")
    assert measured("README.ko.md") == measured("README.md")
    assert "(README.ko.md)" in text_of("README.md")
    assert "(README.md)" in text_of("README.ko.md")


def test_names_from_elsewhere_exist() -> None:
    """Every name in the second column of the tables of docs/coming-from.md."""
    names = set()
    for line in text_of("docs/coming-from.md").splitlines():
        if line.startswith("| `"):
            names |= set(re.findall(r"`([A-Za-z_][\w.]*)", line.split(" | ")[1]))
    assert len(names) > 70
    objects: tuple[Any, ...] = (
        softstep, softstep.DataModule, softstep.FashionMNIST, softstep.HyperParameters,
        softstep.SoftmaxRegression, softstep.Trainer, softstep.SGD,
    )  # fmt: skip
    arguments = {"seed", "val_size", "max_epochs", "lr", "batch_size"}
    for name in names - arguments:
        own = name.removeprefix("model.")
        own = own.removesuffix(".data") if own in ("weight.data", "bias.data") else own
        if own in ("weight", "bias"):
            continue  # attributes of an instance
        found = False
        for value in objects:
            for part in own.split("."):
                value = getattr(value, part, None)
            found = found or value is not None
        assert found, name


def test_reference_has_every_public_name() -> None:
    page = text_of("docs/api/index.md")
    assert set(re.findall(r"`(\w+)`", page)) - {"softstep"} == set(softstep.__all__) - {
        "__version__"
    }


def test_arguments_are_documented() -> None:
    """Whatever takes arguments says which."""
    checked = 0
    for module in ("", "data", "data.transforms", "information", "kernels", "losses", "models",
                   "numerical", "optimizers", "plotting", "reference", "training"):  # fmt: skip
        owner = importlib.import_module(f"softstep.{module}".rstrip("."))
        for name in owner.__all__:
            thing = getattr(owner, name)
            if not callable(thing) or getattr(thing, "_is_protocol", False) or get_origin(thing):
                continue  # the last: an alias of a type
            try:
                arguments = inspect.signature(thing).parameters
            except (TypeError, ValueError):
                continue
            if arguments:
                text = inspect.getdoc(thing) or ""
                assert "Parameters\n----------\n" in text, f"{owner.__name__}.{name}"
                checked += 1
    assert checked > 200


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if not re.match(r"https://|#", target):
            assert ((PROJECT / name).parent / target.partition("#")[0]).exists(), target


def test_rooms_include_only_what_they_share() -> None:
    """As ARCHITECTURE.md lists it: which headers, and in parentheses for which rooms."""
    text = text_of("ARCHITECTURE.md").partition("## Rooms")[2].partition("\n## ")[0]
    rooms = re.findall(r"^\| (\w+) \|", text, re.MULTILINE)[1:]
    shared: dict[str, list[str]] = {}
    for part in re.split(r";|^- ", text.partition("What rooms share")[2], flags=re.MULTILINE):
        users = re.findall(r"\(([\w, \n]+)\)", part)
        for header in re.findall(r"`(\w+)\.(?:hpp|\*)`", part):
            shared[header] = re.split(r",\s+", users[-1]) if users else rooms
    assert {room for users in shared.values() for room in users} <= set(rooms)

    def room_of(stem: str) -> str:
        return max((room for room in rooms if stem.startswith(room)), key=len, default="")

    includes = [
        (path.stem, header)
        for path in (PROJECT / "csrc" / "kernels").iterdir()
        for header in re.findall(r'^#include "kernels/(\w+)\.hpp"', path.read_text(), re.MULTILINE)
    ]
    assert len(includes) > 50
    for stem, header in includes:
        room = room_of(stem)
        if stem in rooms or stem not in shared:
            fits = room_of(header) == room or room in shared.get(header, [])
        else:
            fits = header in shared
        assert fits, f"{stem} includes {header}.hpp"


@pytest.mark.parametrize(
    "name",
    ["README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/performance.md"],
)
def test_paths(name: str) -> None:
    """Names in backquotes that begin with one of the project's folders."""
    named = re.findall(r"`((?:csrc|src|tests|benches|docs|\.ci)/[\w./-]*)`", text_of(name))
    named += re.findall(r"`([A-Z]+\.md)`", text_of(name))
    assert named
    for path in named:
        assert (PROJECT / path).exists(), path


def public() -> list[tuple[str, Any]]:
    """Public functions and classes, and the methods that these define."""
    found: list[tuple[str, Any]] = []
    for module in (
        softstep,
        softstep.kernels,
        softstep.reference,
        softstep.data,
        softstep.information,
        softstep.losses,
        softstep.numerical,
    ):
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value):
                continue
            found.append((f"{module.__name__}.{name}", value))
            if isinstance(value, type):
                found += [
                    (f"{module.__name__}.{name}.{part}", method)
                    for part, method in vars(value).items()
                    if part[0] != "_" and callable(method)
                ]
    return found


def test_everything_public_says_what_it_is() -> None:
    things = public()
    assert len(things) > 60
    silent = [name for name, value in things if len((value.__doc__ or "").strip()) < 10]
    assert silent == []


@pytest.mark.parametrize(
    "name",
    [
        f"{module}.{name}"
        for module in ("kernels", "information", "losses", "numerical")
        for name in getattr(softstep, module).__all__
        if inspect.isfunction(getattr(getattr(softstep, module), name))
    ],
)
def test_functions_have_an_example_and_name_every_argument(name: str) -> None:
    module, _, own = name.partition(".")
    function = getattr(getattr(softstep, module), own)
    documented = function.__doc__
    assert ">>>" in documented
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"\b{argument}\b", documented), argument
