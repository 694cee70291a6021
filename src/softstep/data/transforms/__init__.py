"""Transforms of whole batches of images.

A transform takes the features of a batch and returns new ones: any function of an array will do.
Those of this module also take the numbers of the batch's rows and the epoch, so that a random one
decides for each row and epoch alone: it depends neither on the batch a row is in nor on what came
before.
"""

from __future__ import annotations

from softstep.data.transforms.base import BatchTransform, Compose, Transform
from softstep.data.transforms.images import RandomHorizontalFlip, Resize
from softstep.data.transforms.tensors import Normalize, ToTensor

__all__ = [
    "BatchTransform",
    "Compose",
    "Normalize",
    "RandomHorizontalFlip",
    "Resize",
    "ToTensor",
    "Transform",
]
