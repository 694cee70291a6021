"""Every tutorial runs, and its page shows what it prints and draws."""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
TUTORIALS = DOCS / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("*.py"))


def load_render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", DOCS / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render"] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


render = load_render()


def write_idx(path: Path, array: Any) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), 1))


@pytest.fixture
def has_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether MNIST is here; files of its names with noise are put in its place where it is not."""
    folder = os.environ.get("SOFTSTEP_DATA")
    if folder and list(Path(folder).glob("mnist/train-images-idx3-ubyte*")):
        return True
    rng = np.random.default_rng(0)
    for part, n in (("train", 9000), ("t10k", 600)):
        path = tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz"
        path.parent.mkdir(exist_ok=True)
        write_idx(path, rng.integers(0, 256, (n, 28, 28)))
        write_idx(path.with_name(f"{part}-labels-idx1-ubyte.gz"), rng.integers(0, 10, n))
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path))
    return False


def test_there_are_five() -> None:
    assert sorted(render.NAMES) == [script.stem for script in SCRIPTS]
    assert len(SCRIPTS) == 5


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_tutorial(script: Path, has_mnist: bool, tmp_path: Path) -> None:
    """It runs without a display and without a warning, and its page is not out of date."""
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    cells = render.run(script, tmp_path)
    if not has_mnist and "softstep.MNIST(" in script.read_text(encoding="utf-8"):
        return  # it ran on noise
    page = script.with_suffix(".md").read_text(encoding="utf-8")
    assert render.differences(cells, page) == []
    drawn = [name for cell in cells for name in cell.pictures]
    assert re.findall(r"!\[.+\]\(pictures/(.+)\)", page) == drawn
    for name in drawn:
        new, old = (imread(folder / name)[..., :3] for folder in (tmp_path, TUTORIALS / "pictures"))
        assert old.std() > 0.02, f"{name} is empty"
        # Other versions of matplotlib place things a little differently.
        assert np.allclose(new.shape, old.shape, rtol=0.1), name
        assert abs(new.mean() - old.mean()) < 0.05, name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_texts_of_the_page_are_those_of_the_script(script: Path) -> None:
    page = script.with_suffix(".md").read_text(encoding="utf-8")
    for cell in render.cells_of(script):
        assert cell.text in page, f"python docs/render.py {script.stem}"


def test_pictures_belong_to_a_page() -> None:
    named = {
        name
        for script in SCRIPTS
        for name in re.findall(
            r"\(pictures/(.+)\)", script.with_suffix(".md").read_text(encoding="utf-8")
        )
    }
    found = list((TUTORIALS / "pictures").iterdir())
    assert {path.name for path in found} == named
    assert sum(path.stat().st_size for path in found) < 3_000_000


def test_differences_are_found() -> None:
    """The comparison of pages can fail."""
    cell = render.Cell("", "print(x)\n", 1, True, output="accuracy: 0.918 of 10 classes\n")

    def page(output: str) -> str:
        return f"```python\nprint(x)\n```\n\n```text\n{output}\n```\n"

    assert render.differences([cell], page("accuracy: 0.921 of 10 classes")) == []
    for output in ("accuracy: 0.85 of 10 classes", "accuracy: 0.918 of 11 classes", "accuracy"):
        assert len(render.differences([cell], page(output))) == 1
    assert render.differences([cell], "```python\nprint(y)\n```\n") != []
    cell.varies = True
    assert render.differences([cell], page("accuracy: 0.1 of 10 classes")) == []
