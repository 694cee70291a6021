"""``softstep plot``: pictures of histories."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command import check_error, run

Capture = pytest.CaptureFixture[str]
PNG = b"\x89PNG\r\n"


def write_history(capsys: Capture, path: str, *arguments: str) -> str:
    status, out, _ = run(capsys, "train", "--epochs", "2", "--json", *arguments)
    assert status == 0
    Path(path).write_text(out, encoding="utf-8")
    return out


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved."""
    from softstep import plotting

    figures: list[Any] = []
    save = plotting.save_figure

    def keep(figure: Any, path: Any) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plotting, "save_figure", keep)
    return figures


def test_one_history(capsys: Capture, drawn: list[Any]) -> None:
    out = write_history(capsys, "one.json")
    assert run(capsys, "plot", "one.json") == (0, "picture saved to one.png\n", "")
    assert Path("one.png").read_bytes().startswith(PNG)
    (figure,) = drawn
    losses = [one["train_loss"] for one in json.loads(out)["history"]]
    assert figure.axes[0].lines[0].get_ydata().tolist() == losses
    assert figure.get_suptitle() == "softmax on digits"
    status, out, _ = run(capsys, "plot", "one.json", "--out", "one.svg", "--log", "--json")
    assert status == 0
    assert json.loads(out) == {"picture": "one.svg", "histories": ["one.json"]}
    assert drawn[1].axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ((), "test"),  # of digits: no others were held out
        (("--model", "mlp"), "test"),
        (("--val-size", "0.1"), "validation"),
        (("--early-stopping", "5"), "validation"),  # holds rows out, too
        (("--model", "linear"), "validation"),
    ],
)
def test_rows_are_called_what_they_are(
    capsys: Capture, drawn: list[Any], arguments: tuple[str, ...], rows: str
) -> None:
    out = write_history(capsys, "run.json", "--plot", "run.png", *arguments)
    assert "val_loss" in json.loads(out)["history"][0]  # whatever the rows are
    assert run(capsys, "plot", "run.json", "--out", "again.png")[0] == 0
    assert len(drawn) == 2
    for figure in drawn:
        for ax in figure.axes:
            names = [text.get_text() for text in ax.get_legend().get_texts()]
            assert names == ["training", rows]


def test_a_list_of_epochs_alone(capsys: Capture, drawn: list[Any]) -> None:
    Path("list.json").write_text('[{"train_loss": 2.0}, {"train_loss": 1.0}]', encoding="utf-8")
    assert run(capsys, "plot", "list.json")[0] == 0
    assert drawn[0].axes[0].lines[0].get_xydata().tolist() == [[1, 2], [2, 1]]
    text = '{"history": [{"val_loss": 2.0}], "data": "mine", "val_size": null}'
    for changed in (text, text.replace('"mine"', '["digits"]'), text.replace("val_size", "data")):
        Path("other.json").write_text(changed, encoding="utf-8")
        assert run(capsys, "plot", "other.json")[0] == 0
        assert drawn[-1].axes[0].lines[0].get_label() == "validation"


def test_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_history(capsys, "one.json")
    monkeypatch.setattr(sys, "stdin", io.StringIO(out))
    assert run(capsys, "plot", "-") == (0, "picture saved to softstep-history.png\n", "")


def test_several_histories(capsys: Capture, drawn: list[Any]) -> None:
    """Their learning rates tell them apart, if they do; else the files."""
    write_history(capsys, "a.json", "--lr", "0.5")
    write_history(capsys, "b.json", "--lr", "0.05")
    write_history(capsys, "c.json", "--lr", "0.5", "--seed", "1")
    assert run(capsys, "plot", "a.json", "b.json")[0] == 0
    assert run(capsys, "plot", "a.json", "c.json", "--out", "both.pdf")[0] == 0
    names = [[text.get_text() for text in f.axes[0].get_legend().texts] for f in drawn]
    assert names == [["0.5", "0.05"], ["a.json", "c.json"]]
    check_error(run(capsys, "plot", "a.json", "a.json"), "names a file twice")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("is no JSON",)),
        ("[1, 2", ("is no JSON",)),
        ("3", ("holds no history",)),
        ("{}", ("holds no history",)),
        ('{"history": {}}', ("holds no history",)),
        ("[]", ("has no epochs",)),
        ("[1]", ("the history of h.json[0] is a int",)),
        ('[{"train_loss": "x"}]', ("the train_loss 'x'",)),
        ('[{"seconds": 1}]', ("without a loss",)),
        ("[" * 100_000, ("is no JSON",)),
    ],
)
def test_wrong_histories(capsys: Capture, text: str, words: tuple[str, ...]) -> None:
    Path("h.json").write_text(text, encoding="utf-8")
    check_error(run(capsys, "plot", "h.json"), *words)
    assert not Path("h.png").exists()


def test_wrong_files(capsys: Capture) -> None:
    Path("bytes").write_bytes(b"\xff\xfe\x00")
    check_error(run(capsys, "plot", "bytes"), "bytes is no text")
    check_error(run(capsys, "plot", "nowhere.json"), "nowhere.json: No such file")
    check_error(run(capsys, "plot", "."), "not a regular file")
    check_error(run(capsys, "plot", "h.json", "--out", "h.gif"), "--out h.gif ends with 'gif'")
    check_error(run(capsys, "plot", "h.json", "--out", "no/h.png"), "is no folder")
    check_error(
        run(capsys, "plot", "h.png"),
        "the picture h.png would replace the history itself; choose --out",
    )
    check_error(run(capsys, "plot"), "HISTORY")
