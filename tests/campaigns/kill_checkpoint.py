"""Training that is killed at random moments, and a disk that is full: the checkpoint is whole.

A child trains and saves a checkpoint after each epoch, most of its time; it is killed with SIGKILL,
and the next child goes on from what is there. After each kill the checkpoint has to be readable, of
an epoch no earlier than the one before, and its parameters the very bytes of a training that was
never disturbed. Then files are written where only so many bytes fit, with the same demands.

Run as a script for a long campaign: ``python tests/campaigns/kill_checkpoint.py --count 200``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from softstep import ArrayDataModule, Callback, Checkpoint, SoftmaxRegression, Trainer
from softstep.training.state_file import read_state

MOST_EPOCHS = 10**6


class WrongError(AssertionError):
    """A checkpoint is not whole."""


def problem() -> tuple[SoftmaxRegression, ArrayDataModule]:
    """A training whose files are large and whose epochs are short."""
    x = np.random.default_rng(0).normal(size=(16, 5000)).astype(np.float32)
    return SoftmaxRegression(10, 1e-4), ArrayDataModule(x, np.arange(16) % 10, batch_size=8)


def digest(parameters: Any) -> str:
    """Tell parameters from others."""
    return hashlib.sha256(b"".join(parameters[k].tobytes() for k in sorted(parameters))).hexdigest()


class Remember(Callback):
    """The digest of the parameters after each epoch."""

    def __init__(self) -> None:
        self.digests: list[str] = []

    def on_epoch_end(self, trainer: Trainer, record: Any) -> None:
        """Add one."""
        assert trainer.model is not None
        found = trainer.model.named_parameters()
        self.digests.append(digest({name: p.data for name, p in found.items()}))


class Expected:
    """What the undisturbed training has after an epoch; as far as it was asked for."""

    def __init__(self) -> None:
        self.digests: list[str] = []

    def after(self, epochs: int) -> str:
        """Return the digest after so many epochs."""
        if epochs > len(self.digests):
            remember = Remember()
            trainer = Trainer(2 * epochs, callbacks=[remember], optimizer="adam", threads=1)
            trainer.fit(*problem())
            self.digests = remember.digests
        return self.digests[epochs - 1]


def train(path: Path) -> None:
    """Train until somebody kills this process; say when it begins."""
    print("ready", flush=True)
    trainer = Trainer(MOST_EPOCHS, callbacks=[Checkpoint(path)], optimizer="adam", threads=1)
    trainer.fit(*problem(), resume=path if path.exists() else None)


def check(path: Path, expected: Expected) -> int:
    """Return the epochs of a checkpoint; WrongError unless it is whole and right."""
    state = read_state(path)
    epochs = int(state["position"]["epoch"])
    if digest(state["parameters"]) != expected.after(epochs) or len(state["history"]) != epochs:
        raise WrongError(f"the checkpoint of epoch {epochs} holds something else")
    return epochs


def storm(count: int, rng: random.Random, folder: Path) -> int:
    """Kill a training so many times; return how many epochs it has made nevertheless."""
    path, expected, before = folder / "training", Expected(), 0
    for number in range(count):
        command = [sys.executable, __file__, "--child", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                assert child.stdout is not None
                if child.stdout.readline() != "ready\n":
                    raise WrongError("the training does not begin")
                if number == 0:  # so that there is something to keep
                    while not path.exists():
                        time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.2))
                if child.poll() is not None:
                    raise WrongError(f"the training ended by itself: {child.returncode}")
            finally:
                child.kill()
        epochs = check(path, expected)
        if epochs < before:
            raise WrongError(f"epoch {epochs} came after epoch {before}")
        before = epochs
    return before


def full_disks(count: int, rng: random.Random, folder: Path) -> None:
    """Save where less fits than has to be written: an error, and the old file."""
    path, expected = folder / "full", Expected()
    model, data = problem()
    trainer = Trainer(3, optimizer="adam", threads=1)
    trainer.fit(model, data)
    trainer.save_checkpoint(path)
    size = path.stat().st_size
    names = sorted(p.name for p in folder.iterdir())
    for _ in range(count):
        with limited_files(rng.randrange(size)):
            try:
                trainer.save_checkpoint(path)
            except OSError:
                pass
            else:
                raise WrongError("a file was written that does not fit")
        if check(path, expected) != 3 or sorted(p.name for p in folder.iterdir()) != names:
            raise WrongError("a full disk has changed something")
    trainer.save_checkpoint(path)
    check(path, expected)


@contextlib.contextmanager
def limited_files(size: int) -> Any:
    """Let no file grow beyond a size, as on a disk that has no more room."""
    try:
        import resource
    except ImportError:  # not on this system: the room is pretended to be gone
        from softstep.models import tensor_file

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        before, tensor_file.os.fsync = tensor_file.os.fsync, full  # type: ignore[attr-defined]
        try:
            yield
        finally:
            tensor_file.os.fsync = before  # type: ignore[attr-defined]
        return
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then it is an OSError
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def main() -> int:
    """Run a campaign; 1 if a checkpoint was not whole."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many kills and full disks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        train(Path(options.child))
        return 0
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-checkpoint-") as name:
        try:
            epochs = storm(options.count, rng, Path(name))
            left = len(list(Path(name).glob("*.tmp")))
            full_disks(options.count, rng, Path(name))
        except (WrongError, ValueError) as error:
            print(f"seed {options.seed}: {error}")
            return 1
    print(f"{epochs} epochs in spite of it; {left} kills in the midst of writing")
    print(
        f"{options.count} kills and {options.count} full disks, seed {options.seed}: "
        "every checkpoint whole"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
