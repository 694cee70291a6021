"""The data sets of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import softstep
from softstep.data import DataModule, ImageDataModule

__all__ = ["DATA", "DataSet", "open_data"]


class DataSet(NamedTuple):
    """A data set of the command line, with the settings that suit it."""

    make: Callable[..., DataModule]
    reads_files: bool
    has_classes: bool
    epochs: int
    lr: float
    batch_size: int


def _synthetic(batch_size: int = 32, seed: int = 0) -> DataModule:
    """Make the regression data of the book's section 3.3."""
    return softstep.SyntheticRegressionData([2.0, -3.4], 4.2, batch_size=batch_size, seed=seed)


DATA = {
    "digits": DataSet(softstep.Digits, False, True, epochs=30, lr=0.5, batch_size=32),
    "mnist": DataSet(softstep.MNIST, True, True, epochs=10, lr=0.1, batch_size=256),
    "fashion-mnist": DataSet(softstep.FashionMNIST, True, True, epochs=10, lr=0.1, batch_size=256),
    "synthetic": DataSet(_synthetic, False, False, epochs=10, lr=0.03, batch_size=32),
}


def open_data(name: str, options: argparse.Namespace, **arguments: Any) -> DataModule:
    """Make a data set, its files in the folder that the options name, downloaded if they say so.

    Raises
    ------
    ValueError
        Folder or download is given for data that come with softstep; the folder does not exist.
    """
    chosen = DATA[name]
    for option, value in (("--data-dir", options.data_dir), ("--download", options.download)):
        if value and not chosen.reads_files:
            raise ValueError(
                f"{option} is given, but {name} comes with softstep: "
                "choose a data set of files with --data"
            )
    if options.data_dir is not None:
        folder = Path(options.data_dir)
        if not folder.is_dir() and not (options.download and not folder.exists()):
            raise ValueError(f"--data-dir {options.data_dir} is no folder")
        arguments["root"] = options.data_dir
    if chosen.reads_files:
        arguments["download"] = options.download
    return chosen.make(**arguments)


def as_images(data: DataModule) -> ImageDataModule:
    """Return data of images as such."""
    assert isinstance(data, ImageDataModule)
    return data
