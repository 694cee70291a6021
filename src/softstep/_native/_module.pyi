"""The functions of every compiled module `_native_<level>`; a test compares the two.

Arguments are normalised arrays, outputs first: C-contiguous, aligned, native byte order. `threads`
of 0 means automatic.
"""

from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def build() -> dict[str, Any]: ...
def default_threads() -> int: ...
def check_out(out: _Array, logits: _Array) -> None: ...
def softmax(out: _Array, logits: _Array, threads: int) -> None: ...
def log_softmax(out: _Array, logits: _Array, threads: int) -> None: ...
def logsumexp(out: _Array, logits: _Array, threads: int) -> None: ...
def cross_entropy(
    row_loss: _Array | None,
    dlogits: _Array | None,
    logits: _Array,
    target: _Array,
    ignore_index: int,
    mean: bool,
    threads: int,
) -> tuple[float, int]: ...
def linear(out: _Array, x: _Array, weight: _Array, bias: _Array | None, threads: int) -> None: ...
def linear_backward(
    dx: _Array,
    dweight: _Array,
    dbias: _Array,
    x: _Array,
    weight: _Array,
    dlogits: _Array,
    threads: int,
) -> None: ...
def squared_error(
    element_loss: _Array | None,
    dprediction: _Array | None,
    prediction: _Array,
    target: _Array,
    mean: bool,
    threads: int,
) -> float: ...
def sgd_step(
    param: _Array,
    momentum_buffer: _Array | None,
    grad: _Array,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first_step: bool,
    threads: int,
) -> None: ...
def train(
    weight: _Array,
    bias: _Array | None,
    weight_buffer: _Array | None,
    bias_buffer: _Array | None,
    x: _Array,
    target: _Array,
    labels: bool,
    order: _Array,
    scale: _Array | None,
    shift: _Array | None,
    batch_size: int,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first_step: bool,
    threads: int,
) -> tuple[float, int, int, int, int]: ...
def evaluate(
    weight: _Array,
    bias: _Array | None,
    x: _Array,
    target: _Array,
    labels: bool,
    order: _Array | None,
    scale: _Array | None,
    shift: _Array | None,
    threads: int,
) -> tuple[float, int, int, int, int]: ...
