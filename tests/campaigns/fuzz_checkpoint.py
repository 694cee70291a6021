"""Mutated checkpoints and model files: a result or a documented exception, soon, in little memory.

Run as a script for a long campaign: ``python tests/campaigns/fuzz_checkpoint.py --count 100000``.
A checkpoint is gone on from for a step, a model file is loaded.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import campaign, damage

import softstep
from softstep import (
    MLP,
    ArrayDataModule,
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    ModelFileError,
    SoftmaxRegression,
    Trainer,
)

VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2, 255, 2**31, 2**53, 2**63, 2**64, -(2**70), 10**300, 0.5, -0.5, 1e308,
    "", "x", "F32", "F64", "U8", "BF16", "parameters.weight", [], [1], [0, 0], {}, {"$array": "x"},
    {"$array": "parameters.weight"}, {"$float": "nan"}, {"$float": "inf"}, {"$float": []},
    {"$array": []}, [[[[]]]], "\0",
)  # fmt: skip


def data() -> ArrayDataModule:
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    return ArrayDataModule(x, np.arange(6) % 2, x, np.arange(6) % 2, batch_size=2)


def models() -> list[Callable[[], Any]]:
    return [lambda: SoftmaxRegression(2, 0.1), lambda: MLP(2, 4, 0.1, dropout=0.5)]


def train(make: Callable[[], Any], optimizer: str, epochs: int, **options: Any) -> Any:
    """Train, and go on where a checkpoint says, with early stopping."""
    trainer = Trainer(
        epochs, callbacks=[EarlyStopping(patience=5), *options.pop("more", [])],
        optimizer=optimizer, threads=1,
    )  # fmt: skip
    model = make()
    trainer.fit(model, data(), **options)
    return model


def seeds(folder: Path) -> list[tuple[bytes, Callable[[Path], Any]]]:
    """Whole files, and what is done with each of them."""
    found: list[tuple[bytes, Callable[[Path], Any]]] = []
    for make in models():
        for optimizer in ("momentum", "adam"):
            path = folder / "seed"
            model = train(make, optimizer, 2, more=[Checkpoint(path)])

            def go_on(path: Path, make: Any = make, optimizer: str = optimizer) -> Any:
                return train(make, optimizer, 3, resume=path)

            found.append((path.read_bytes(), go_on))
        model.save(folder / "seed")
        found.append(((folder / "seed").read_bytes(), softstep.load))
    (folder / "seed").unlink()
    return found


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damage a file in one of the ways files are damaged, or made to."""
    result = bytearray(content)
    at = rng.randrange(len(result) + 1)
    kind = rng.randrange(13)
    if damage(result, kind, at, rng):
        pass
    elif kind == 4:  # a header's length that lies
        result[:8] = rng.choice((0, 1, 2**20, 2**24, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")
    else:  # a header that is well-formed, and lies
        result = bytearray(relabel(content, rng))
    return bytes(result) if rng.random() < 0.8 else mutate(bytes(result), rng)


def relabel(content: bytes, rng: random.Random) -> bytes:
    """Change a value of the header, or of the description inside of it."""
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        described = json.loads(header["__metadata__"]["softstep"])
        for _ in range(rng.choice((1, 1, 2, 5))):
            poke(rng.choice((header, described, described)), rng)
        if isinstance(header.get("__metadata__"), dict):
            header["__metadata__"]["softstep"] = json.dumps(described)
        raw = json.dumps(header).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return content
    return len(raw).to_bytes(8, "little") + raw + content[8 + length :]


def poke(value: Any, rng: random.Random) -> None:
    """Replace, remove or add something somewhere in nested lists and dictionaries."""
    while isinstance(value, (dict, list)) and value:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        inside = value[key]
        if isinstance(inside, (dict, list)) and inside and rng.random() < 0.8:
            value = inside
            continue
        kind = rng.randrange(6)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, dict):
            value[rng.choice(("x", "$array", *map(str, keys)))] = inside
        elif kind == 2 and isinstance(value, list):
            value.insert(rng.randrange(len(value) + 1), inside)
        elif kind == 3:
            for _ in range(rng.choice((3, 40, 2000))):  # nested deeply
                inside = [inside]
            value[key] = inside
        else:
            value[key] = rng.choice(VALUES)
        return


def run(count: int, seed: int, folder: Path) -> tuple[Counter[str], float]:
    """Read mutated files; return how they ended, and the longest time in seconds.

    Any exception that is not documented comes out, after the file is kept as ``folder/failed``.
    """
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    longest = 0.0
    path = folder / "mutated"
    whole = seeds(folder)
    for _ in range(count):
        content, use = rng.choice(whole)
        path.write_bytes(mutate(content, rng))
        started = time.perf_counter()
        try:
            use(path)
        except (CheckpointError, ModelFileError) as error:
            ends[re.sub(r"0x\w+|-?\b\d+.*|\(.*|[:;\['].*", "_", error.reason)] += 1
        except FloatingPointError:  # a checkpoint that is whole, with values that lead nowhere
            ends["loss not finite"] += 1
        except BaseException:
            path.replace(folder / "failed")
            raise
        else:
            ends["read"] += 1
        longest = max(longest, time.perf_counter() - started)
    return ends, longest


def use_whole_files(folder: Path) -> None:
    """Use each file once before it is damaged: everything is loaded then."""
    for content, use in seeds(folder):
        (folder / "whole").write_bytes(content)
        use(folder / "whole")


if __name__ == "__main__":
    sys.exit(campaign("checkpoint", run, use_whole_files))
