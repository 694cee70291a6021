"""``softstep predict``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep
from softstep.cli.data import DATA
from softstep.cli.models import features_of
from softstep.cli.output import print_json
from softstep.cli.pictures import Wanted, batches, read_rows
from softstep.data import ImageDataModule
from softstep.models.module import Module

__all__ = ["predict"]


def predict(options: argparse.Namespace) -> None:
    """Print what a model says of images, each with its probability."""
    model = softstep.load(options.model)
    model.eval()
    features, outputs = features_of(model)
    chosen = _data_set(options, model)
    wanted = _wanted(features, chosen, options.invert)
    names = [str(k) for k in range(outputs)] if chosen is None else list(chosen.labels)
    found: list[dict[str, Any]] = []
    with softstep.threads(options.threads):
        for path in options.images:
            rows = read_rows(Path(path), wanted)
            for i, answer in enumerate(_answers(model, rows.x, names)):
                if options.json:
                    found.append({"image": path, "index": i, **answer})
                    continue
                place = f"{path}[{i}]" if rows.numbered else path
                print(f"{place}: {_text(answer)}")
    if options.json:
        print_json({"model": options.model, "predictions": found})


def _answers(model: Module, x: NDArray[np.float32], names: list[str]) -> Iterator[dict[str, Any]]:
    for batch in batches(x):
        if isinstance(model, softstep.Classifier):
            probabilities = model.predict_proba(batch)
            best = probabilities.argmax(axis=1)
            for i, k in enumerate(best):
                yield {
                    "label": names[k], "class": int(k), "probability": float(probabilities[i, k])
                }  # fmt: skip
        else:
            for row in np.asarray(model(batch), np.float64):
                yield {"value": float(row[0]) if len(row) == 1 else row.tolist()}


def _text(answer: dict[str, Any]) -> str:
    if "label" in answer:
        return f"{answer['label']} ({answer['probability']:.4f})"
    values = answer["value"] if isinstance(answer["value"], list) else [answer["value"]]
    return " ".join(f"{value:.6g}" for value in values)


def _data_set(options: argparse.Namespace, model: Module) -> type[ImageDataModule] | None:
    """Return the images that the model was trained on: those named, else those of its size."""
    images = {
        name: data.make for name, data in DATA.items()
        if isinstance(data.make, type) and issubclass(data.make, ImageDataModule)
    }  # fmt: skip
    features, outputs = features_of(model)
    if not isinstance(model, softstep.Classifier):
        if options.data is not None:
            raise ValueError(
                f"--data is given, but {options.model} holds a {type(model).__name__}, "
                "which tells no classes apart"
            )
        return None
    sizes = {name: math.prod(data.image_shape) for name, data in images.items()}
    if options.data is None:
        # Digits alone has so few pixels. The class numbers of MNIST are its labels; whoever has
        # trained on clothes says so.
        if (features, outputs) == (sizes["digits"], 10):
            return images["digits"]
        return None
    data = images[options.data]
    if (features, outputs) != (sizes[options.data], len(data.labels)):
        raise ValueError(
            f"{options.model} tells {outputs} classes of rows of {features} features apart; "
            f"{options.data} has {len(data.labels)} classes of {sizes[options.data]} features "
            "(see --data)"
        )
    return data


def _wanted(features: int, chosen: type[ImageDataModule] | None, invert: bool) -> Wanted:
    if chosen is not None:
        return Wanted(features, chosen.image_shape, chosen.scale, invert)
    side = math.isqrt(features)
    return Wanted(features, (side, side) if side**2 == features else None, 1 / 255, invert)
