"""Cases of training a multilayer perceptron: a shuffled epoch of MNIST with 256 hidden units.

Every call starts from the same weights and sees the rows in the same order, so all of them end near
the same weights. PyTorch gathers its rows in the same way, ``x[rows]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import softstep
from softstep.bench.bounds import EPS
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.cases.train_step import CLASSES, FEATURES, ROWS, Run, has_mnist, make_epoch
from softstep.bench.peers import Call, load, tensors

HIDDEN = 256
BATCH, LR = 256, 0.1


def _start(dtype: Any = np.float32) -> list[Array]:
    """Return the weights (outputs, inputs) and biases that `softstep.MLP` starts from."""
    model = softstep.MLP(CLASSES, HIDDEN, LR)
    model.infer(FEATURES)
    return [parameter.data.astype(dtype) for parameter in model.parameters()]


def _softstep(run: Run) -> Call:
    return _trained(run, run.x, None)


def _softstep_uint8(run: Run) -> Call:
    assert run.pixels is not None
    return _trained(run, run.pixels, run.scale)


def _trained(run: Run, x: Array, scale: Array | None) -> Call:
    """Train as a user does: a model, a data module, a trainer."""
    model = softstep.MLP(CLASSES, HIDDEN, LR)
    model.infer(FEATURES)
    start = _start()
    data = softstep.ArrayDataModule(x, run.target, batch_size=run.batch_size, scale=scale)
    trainer = softstep.Trainer(1, progress=False)

    def call() -> Sequence[Array]:
        for parameter, value in zip(model.parameters(), start, strict=True):
            parameter.data[...] = value
        trainer.fit(model, data)
        return [parameter.data for parameter in model.parameters()]

    return call


def _steps(run: Run, parameters: list[Array]) -> None:
    """Train in plain NumPy, in the dtype of the parameters, which are changed in place."""
    w1, b1, w2, b2 = parameters
    lr = w1.dtype.type(run.lr)
    for rows in run.batches():
        x, target = run.x[rows].astype(w1.dtype, copy=False), run.target[rows]
        hidden = x @ w1.T + b1
        np.maximum(hidden, 0, out=hidden)
        d = hidden @ w2.T + b2
        d -= d.max(-1, keepdims=True)
        np.exp(d, out=d)
        d /= d.sum(-1, keepdims=True)
        d[np.arange(len(rows)), target] -= 1
        d *= lr / w1.dtype.type(len(rows))
        dhidden = d @ w2
        dhidden *= hidden > 0
        w2 -= d.T @ hidden
        b2 -= d.sum(0)
        w1 -= dhidden.T @ x
        b1 -= dhidden.sum(0)


def _numpy(run: Run) -> Call:
    start = _start()

    def call() -> Sequence[Array]:
        parameters = [value.copy() for value in start]
        _steps(run, parameters)
        return parameters

    return call


def _torch(run: Run) -> Call:
    torch = load("torch")
    functional, layer = torch.nn.functional, torch.nn.Linear
    x, target, order = tensors(run.x, run.target, run.order)
    net = torch.nn.Sequential(layer(FEATURES, HIDDEN), torch.nn.ReLU(), layer(HIDDEN, CLASSES))
    start = tensors(*_start())
    parameters = list(net.parameters())
    optimizer = torch.optim.SGD(parameters, lr=run.lr)

    def call() -> Sequence[Any]:
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)
        for rows in order.split(run.batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(net(x[rows]), target[rows]).backward()
            optimizer.step()
        return [parameter.detach() for parameter in parameters]

    return call


def _expect(run: Run) -> list[Expected]:
    """Train in float64, and bound what roundings in float32 make of it.

    A step rounds as in the case of softmax regression, and the roundings add up as a random walk;
    both layers react to each other's errors, for which the factor 16 is. Besides, a hidden unit
    whose input is within a rounding of 0 may be on in one computation and off in another: some 50
    of the rows x units inputs of an epoch. Each such moves a weight by at most lr / batch, and with
    as many weights it is unlikely that several move the same one by so much.
    """
    parameters = _start(np.float64)
    _steps(run, parameters)
    walk = np.sqrt(len(run.batches())) * EPS / 2 * (run.lr * np.sqrt(FEATURES) + 1)
    bound = float(16 * walk + run.lr / run.batch_size)
    names = ("weight 1", "bias 1", "weight 2", "bias 2")
    return [Expected(name, p, bound) for name, p in zip(names, parameters, strict=True)]


def _work(bytes_per_feature: int) -> Work:
    """Every row and its class once; forward, and backward without the gradient of the features."""
    read = ROWS * (bytes_per_feature * FEATURES + 8)
    first, second = 4 * FEATURES * HIDDEN, 6 * HIDDEN * CLASSES
    return Work(read, flops=ROWS * (first + second))


CASES: tuple[Case[Any], ...] = (
    Case(
        "mlp",
        "mnist-epoch" if has_mnist() else "mnist-epoch-synthetic",
        f"{ROWS} x {FEATURES} x {HIDDEN} x {CLASSES}, batch {BATCH}",
        make_epoch,
        {
            "softstep": _softstep,
            "softstep uint8": _softstep_uint8,
            "numpy": _numpy,
            "torch gather": _torch,
        },
        _expect,
        _work(4),
        (Floor(1.5, "torch gather"), Floor(1.5, "torch gather", ours="softstep uint8")),
        works={"softstep uint8": _work(1)},
    ),
)
