"""Cases of training softmax regression: a shuffled epoch of MNIST, and one step of a large probe.

Every call starts from the same weights and sees the rows in the same order, so all of them end at
the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import softstep
from softstep import kernels, reference
from softstep.bench.bounds import EPS
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.peers import Call, load, tensors
from softstep.data import permutation


class Run(NamedTuple):
    """Rows (n, K) float32, classes (n,), the order of the rows, and where training starts."""

    x: Array
    pixels: Array | None
    """The same rows as uint8, if there are such, to be multiplied by `scale`."""
    scale: Array | None
    target: Array
    order: Array
    weight: Array
    bias: Array
    batch_size: int
    lr: float

    def batches(self) -> list[Array]:
        """Row numbers of each minibatch; the last may be short."""
        return [
            self.order[start : start + self.batch_size]
            for start in range(0, len(self.order), self.batch_size)
        ]


@cache
def has_mnist() -> bool:
    """Tell whether the files of MNIST are where `softstep.MNIST` looks for them."""
    try:
        softstep.MNIST(val=False)
    except FileNotFoundError:
        return False
    return True


def _images() -> tuple[Array, Array]:
    """Training images of MNIST and their classes, or without its files bytes of the same shape.

    Of the synthetic bytes four fifths are 0, as in MNIST, and each class prefers pixels of its own.
    """
    if has_mnist():
        arrays = softstep.MNIST(val=False).arrays(True)
        assert arrays is not None
        return arrays[0], arrays[1].astype(np.int64)
    rng = np.random.default_rng(10)
    target = rng.integers(0, CLASSES, ROWS)
    pixels = rng.integers(1, 256, (ROWS, FEATURES), np.uint8)
    often = rng.uniform(0, 0.4, (CLASSES, FEATURES)).astype(np.float32)
    for start in range(0, ROWS, 1000):
        rows = slice(start, start + 1000)
        pixels[rows] *= rng.random((1000, FEATURES), np.float32) < often[target[rows]]
    return pixels, target


@cache
def make_epoch() -> Run:
    """Rows of MNIST or as large, batches of 256 and lr 0.1, from small random weights."""
    pixels, target = _images()
    scale = np.float32(1 / 255)
    rows = pixels * scale
    return Run(
        x=rows,
        pixels=pixels,
        scale=np.asarray(scale),
        target=target,
        order=np.asarray(permutation(len(rows), 0, 0)),
        weight=_normal((CLASSES, rows.shape[1]), 0.01),
        bias=np.zeros(CLASSES, np.float32),
        batch_size=BATCH,
        lr=0.1,
    )


def make_probe() -> Run:
    """One step on all of 1,024 rows of 768 features from N(0, 1), with 1,000 classes."""
    n, features, classes = PROBE
    return Run(
        x=_normal((n, features), 1.0),
        pixels=None,
        scale=None,
        target=np.random.default_rng(6).integers(0, classes, n),
        order=np.arange(n),
        weight=_normal((classes, features), 0.01),
        bias=np.zeros(classes, np.float32),
        batch_size=n,
        lr=0.1,
    )


def _normal(shape: tuple[int, ...], deviation: float) -> Array:
    values = np.random.default_rng(5).standard_normal(shape, dtype=np.float32)
    return values * np.float32(deviation)


def _softstep(run: Run) -> Call:
    return _fused(run, run.x, None)


def _softstep_uint8(run: Run) -> Call:
    assert run.pixels is not None
    return _fused(run, run.pixels, run.scale)


def _fused(run: Run, x: Array, scale: Array | None) -> Call:
    weight, bias = run.weight.copy(), run.bias.copy()

    def call() -> tuple[Array, Array]:
        weight[...], bias[...] = run.weight, run.bias
        kernels.train_softmax_regression(
            x,
            run.target,
            run.order,
            weight,
            bias,
            batch_size=run.batch_size,
            lr=run.lr,
            scale=scale,
        )
        return weight, bias

    return call


def _numpy(run: Run) -> Call:
    lr = np.float32(run.lr)

    def call() -> tuple[Array, Array]:
        weight, bias = run.weight.copy(), run.bias.copy()
        for rows in run.batches():
            x, target = run.x[rows], run.target[rows]
            gradient = x @ weight.T + bias
            gradient -= gradient.max(-1, keepdims=True)
            np.exp(gradient, out=gradient)
            gradient /= gradient.sum(-1, keepdims=True)
            gradient[np.arange(len(rows)), target] -= 1
            gradient *= lr / np.float32(len(rows))
            weight -= gradient.T @ x
            bias -= gradient.sum(0)
        return weight, bias

    return call


def _torch_training(run: Run, batches: Callable[[Any, Any], Any]) -> Call:
    """Train on what `batches` makes of all rows and targets."""
    torch = load("torch")
    functional = torch.nn.functional
    x, target = tensors(run.x, run.target)
    start = tensors(run.weight, run.bias)
    parameters = [torch.nn.Parameter(value.clone()) for value in start]
    weight, bias = parameters
    optimizer = torch.optim.SGD(parameters, lr=run.lr)

    def call() -> tuple[Any, Any]:
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)
        for rows, classes in batches(x, target):
            optimizer.zero_grad()
            functional.cross_entropy(functional.linear(rows, weight, bias), classes).backward()
            optimizer.step()
        return weight.detach(), bias.detach()

    return call


def _torch_gather(run: Run) -> Call:
    (order,) = tensors(run.order)

    def batches(x: Any, target: Any) -> Any:
        for rows in order.split(run.batch_size):
            yield x[rows], target[rows]

    return _torch_training(run, batches)


def _torch_slices(run: Run) -> Call:
    """Without a shuffle: the rows stand in their order beforehand."""
    ordered = run._replace(x=run.x[run.order], target=run.target[run.order])

    def batches(x: Any, target: Any) -> Any:
        return zip(x.split(run.batch_size), target.split(run.batch_size), strict=True)

    return _torch_training(ordered, batches)


def _torch_whole(run: Run) -> Call:
    return _torch_training(run, lambda x, target: [(x, target)])


def _torch_loader(run: Run) -> Call:
    """Give the order of the others as a list; PyTorch's own sampler makes such a list, too."""
    data = load("torch.utils.data")
    order: list[int] = run.order.tolist()

    def batches(x: Any, target: Any) -> Any:
        dataset = data.TensorDataset(x, target)
        return data.DataLoader(dataset, batch_size=run.batch_size, sampler=order)

    return _torch_training(run, batches)


def _jax_moved(parameters: Any, x: Any, target: Any, lr: float) -> tuple[Any, ...]:
    """Parameters after a step of gradient descent."""
    jax = load("jax")

    def loss(parameters: Any) -> Any:
        weight, bias = parameters
        logs = jax.nn.log_softmax(x @ weight.T + bias)
        return -logs[jax.numpy.arange(len(target)), target].mean()

    gradients = jax.grad(loss)(parameters)
    return tuple(p - lr * g for p, g in zip(parameters, gradients, strict=True))


def _jax_step(run: Run) -> Call:
    """One jitted step; NumPy gathers each minibatch."""
    jax = load("jax")
    step = jax.jit(_jax_moved, static_argnums=3)
    start = tuple(map(jax.numpy.asarray, (run.weight, run.bias)))
    classes = run.target.astype(np.int32)

    def call() -> tuple[Any, Any]:
        parameters = start
        for rows in run.batches():
            parameters = step(parameters, run.x[rows], classes[rows], run.lr)
        weight, bias = jax.block_until_ready(parameters)
        return weight, bias

    return call


def _jax_scan(run: Run) -> Call:
    """One jitted epoch: a scan over the whole minibatches, and the short one after it."""
    jax = load("jax")
    jnp = jax.numpy
    whole = len(run.order) // run.batch_size * run.batch_size

    def epoch(parameters: Any, x: Any, target: Any, order: Any) -> Any:
        def step(parameters: Any, rows: Any) -> Any:
            return _jax_moved(parameters, x[rows], target[rows], run.lr), None

        batches = order[:whole].reshape(-1, run.batch_size)
        parameters, _ = jax.lax.scan(step, parameters, batches)
        if whole < len(order):
            parameters, _ = step(parameters, order[whole:])
        return parameters

    jitted = jax.jit(epoch)
    start = (jnp.asarray(run.weight), jnp.asarray(run.bias))
    x, target, order = (
        jnp.asarray(array)
        for array in (run.x, run.target.astype(np.int32), run.order.astype(np.int32))
    )

    def call() -> tuple[Any, Any]:
        weight, bias = jax.block_until_ready(jitted(start, x, target, order))
        return weight, bias

    return call


def _sklearn(run: Run) -> Call:
    """One `partial_fit`, an epoch; rows are put in order first, as its own shuffle is another."""
    network = load("sklearn.neural_network").MLPClassifier(
        hidden_layer_sizes=(),
        solver="sgd",
        alpha=0.0,
        batch_size=run.batch_size,
        learning_rate_init=run.lr,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    first = slice(0, run.batch_size)  # makes the parameters, which are then written in place
    network.partial_fit(run.x[first], run.target[first], classes=np.arange(len(run.bias)))

    def call() -> tuple[Array, Array]:
        network.coefs_[0][...], network.intercepts_[0][...] = run.weight.T, run.bias
        network.partial_fit(run.x[run.order], run.target[run.order])
        return network.coefs_[0].T, network.intercepts_[0]

    return call


def _expect(run: Run) -> list[Expected]:
    """Train in float64, and bound the random walk of the roundings around that.

    The loss is convex and lr is small enough for a step not to move two weights further apart, so
    the errors of the steps add up, independent of each other. A step's error is that of the logits
    (K products), which the gradient of softmax halves, that of a sum over the rows, and the
    rounding of the weights.
    """
    weight, bias = (array.astype(np.float64) for array in (run.weight, run.bias))
    reference.train_softmax_regression(
        run.x, run.target, run.order, weight, bias, batch_size=run.batch_size, lr=run.lr
    )
    unit = EPS / 2
    larger = np.maximum(np.abs(weight), np.abs(run.weight)).astype(np.float32)
    magnitude = float((np.abs(run.x) @ larger.T).mean(0).max() + np.abs(bias).max())
    of_gradient = unit * (np.sqrt(run.x.shape[1]) * magnitude / 2 + np.sqrt(run.batch_size) + 8)
    of_step = run.lr * of_gradient * max(1.0, float(np.abs(run.x).max())) + unit * float(
        np.abs(weight).max()
    )
    bound = 4 * np.sqrt(len(run.batches())) * of_step  # lambda = 4, as in `summed`
    return [Expected("weight", weight, bound), Expected("bias", bias, bound)]


ROWS, FEATURES, CLASSES, BATCH = 60_000, 784, 10, 256
PROBE = (1024, 768, 1000)
FLOPS_PER_WEIGHT = 4  # forward and backward, a multiplication and an addition each


def _epoch_work(bytes_per_feature: int) -> Work:
    """Every row and its class once; the weights stay in cache."""
    read = ROWS * (bytes_per_feature * FEATURES + 8)
    return Work(read, flops=FLOPS_PER_WEIGHT * ROWS * FEATURES * CLASSES)


def _probe_work() -> Work:
    rows, features, classes = PROBE
    parameters = 4 * classes * (features + 1)
    read = 4 * rows * features + 8 * rows + parameters
    return Work(read, parameters, FLOPS_PER_WEIGHT * rows * features * classes)


CASES: tuple[Case[Any], ...] = (
    Case(
        "train_step",
        "mnist-epoch" if has_mnist() else "mnist-epoch-synthetic",
        f"{ROWS} x {FEATURES} x {CLASSES}, batch {BATCH}",
        make_epoch,
        {
            "softstep": _softstep,
            "softstep uint8": _softstep_uint8,
            "numpy": _numpy,
            "torch gather": _torch_gather,
            "torch slices": _torch_slices,
            "torch DataLoader": _torch_loader,
            "jax step": _jax_step,
            "jax scan": _jax_scan,
            "sklearn MLPClassifier": _sklearn,
        },
        _expect,
        _epoch_work(4),
        (
            Floor(4, "jax scan"),
            Floor(10, "torch gather"),
            Floor(40, "torch DataLoader"),
            Floor(1.25, "softstep", ours="softstep uint8"),
        ),
        works={"softstep uint8": _epoch_work(1)},
        quick=True,
    ),
    Case(
        "train_step",
        "probe-step",
        " x ".join(map(str, PROBE)),
        make_probe,
        {
            "softstep": _softstep,
            "numpy": _numpy,
            "torch whole": _torch_whole,
            "jax scan": _jax_scan,
        },
        _expect,
        _probe_work(),
        (Floor(1.1),),
        quick=True,
    ),
)
