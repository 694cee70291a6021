"""``softstep evaluate``."""

from __future__ import annotations

import argparse

import softstep
from softstep.cli.data import DATA, as_images, open_data
from softstep.cli.models import features_of
from softstep.cli.output import print_json

__all__ = ["evaluate"]


def evaluate(options: argparse.Namespace) -> None:
    """Measure a saved model on the test rows."""
    model = softstep.load(options.model)
    classifies = isinstance(model, softstep.Classifier)
    name = options.data
    if classifies != DATA[name].has_classes:
        accepted = "a classifier" if DATA[name].has_classes else "a regression"
        raise ValueError(
            f"{options.model} holds a {type(model).__name__}; accepted with {name}: {accepted} "
            "(see --data)"
        )
    # A regression's test rows are drawn with the seed after that of its training, as `train` does.
    drawn = {} if classifies else {"seed": model.seed + 1}
    data = open_data(name, options, **drawn)
    inputs, outputs = features_of(model)
    if classifies:
        images = as_images(data)
        height, width = images.image_shape
        if (inputs, outputs) != (height * width, images.num_classes):
            raise ValueError(
                f"{options.model} tells {outputs} classes of rows of {inputs} features apart; "
                f"{name} has {images.num_classes} classes of {height * width} features (see --data)"
            )
    found = softstep.evaluate(model, data, threads=options.threads)
    if options.json:
        print_json(
            {
                "data": name,
                "model": options.model,
                "rows": found.rows,
                "test_loss": found.mean_loss,
                "test_accuracy": found.accuracy,
            }
        )
    elif found.accuracy is None:
        print(f"test loss {found.mean_loss:.4g}")
    else:
        print(f"test accuracy {found.accuracy:.4f}, test loss {found.mean_loss:.4g}")
