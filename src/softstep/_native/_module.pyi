"""The functions of every compiled module `_native_<level>`; a test compares the two.

Arguments are normalised arrays, outputs first: C-contiguous, aligned, native byte order. `threads`
of 0 means automatic. A step of an optimizer returns NotImplemented, with nothing done, if a
gradient has to be converted first.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]
_Arrays = _Array | list[_Array] | tuple[_Array, ...]

def build() -> dict[str, Any]: ...
def default_threads() -> int: ...
def readable(a: _Array, axis: int) -> bool: ...
def softmax(out: _Array, logits: _Array, axis: int, temperature: float, threads: int) -> bool: ...
def log_softmax(
    out: _Array, logits: _Array, axis: int, temperature: float, threads: int
) -> bool: ...
def logsumexp(
    out: _Array, logits: _Array, axis: int, keepdims: bool, temperature: float, threads: int
) -> None: ...
def softmax_backward(
    out: _Array, dout: _Array, softmax: _Array, axis: int, temperature: float, threads: int
) -> None: ...
def log_softmax_backward(
    out: _Array, dout: _Array, log_softmax: _Array, axis: int, temperature: float, threads: int
) -> None: ...
def cross_entropy(
    row_loss: _Array | None,
    dlogits: _Array | None,
    logsumexp: _Array | None,
    predicted: _Array | None,
    logits: _Array,
    target: _Array,
    class_weight: _Array | None,
    sample_weight: _Array | None,
    ignore_index: int,
    label_smoothing: float,
    tolerance: float,
    mean: bool,
    count_correct: bool,
    threads: int,
) -> tuple[float, float, int]: ...
def linear(
    out: _Array,
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    order: _Array | None,
    scale: _Array | None,
    shift: _Array | None,
    activation: str,
    threads: int,
) -> None: ...
def linear_backward(
    dx: _Array | None,
    dweight: _Array | None,
    dbias: _Array | None,
    x: _Array,
    weight: _Array,
    dlogits: _Array,
    order: _Array | None,
    scale: _Array | None,
    shift: _Array | None,
    x_activation: str,
    threads: int,
) -> None: ...
def linear_cross_entropy(
    row_loss: _Array | None,
    logsumexp: _Array | None,
    predicted: _Array | None,
    dx: _Array | None,
    dweight: _Array | None,
    dbias: _Array | None,
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    target: _Array,
    class_weight: _Array | None,
    sample_weight: _Array | None,
    ignore_index: int,
    label_smoothing: float,
    tolerance: float,
    scale: _Array | None,
    shift: _Array | None,
    mean: bool,
    count_correct: bool,
    threads: int,
) -> tuple[float, float, int]: ...
def squared_error(
    loss: _Array | None,
    slope: _Array | None,
    prediction: _Array,
    target: _Array,
    weight: _Array | None,
    repeat: int,
    mean: bool,
    threads: int,
) -> tuple[float, float]: ...
def logistic_loss(
    loss: _Array | None,
    slope: _Array | None,
    logits: _Array,
    target: _Array,
    weight: _Array | None,
    repeat: int,
    positive_weight: _Array | None,
    positive_repeat: int,
    mean: bool,
    threads: int,
) -> float: ...
def sgd_step(
    param: _Arrays,
    momentum_buffer: _Arrays | None,
    grad: _Arrays,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first_step: bool,
    max_norm: float | None,
    threads: int,
) -> Any: ...
def rmsprop_step(
    param: _Arrays,
    square_avg: _Arrays,
    grad_avg: _Arrays | None,
    momentum_buffer: _Arrays | None,
    grad: _Arrays,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
    max_norm: float | None,
    threads: int,
) -> Any: ...
def adam_step(
    param: _Arrays,
    exp_avg: _Arrays,
    exp_avg_sq: _Arrays,
    max_exp_avg_sq: _Arrays | None,
    grad: _Arrays,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
    max_norm: float | None,
    threads: int,
) -> Any: ...
def clip_grad_norm(grads: _Arrays, max_norm: float, threads: int) -> float: ...
def gather_rows(
    out: _Array,
    x: _Array,
    order: _Array | None,
    scale: _Array | None,
    shift: _Array | None,
    threads: int,
) -> None: ...
def train(
    applied: _Array | None,
    weight: _Array,
    bias: _Array | None,
    weight_states: Sequence[_Array | None],
    bias_states: Sequence[_Array | None],
    x: _Array,
    target: _Array,
    labels: bool,
    order: _Array,
    scale: _Array | None,
    shift: _Array | None,
    batch_size: int,
    rule: str,
    settings: dict[str, Any],
    max_norm: float | None,
    threads: int,
) -> tuple[float, int, int, int, int]: ...
def train_mlp(
    applied: _Array | None,
    parameters: Sequence[_Array | None],
    states: Sequence[Sequence[_Array | None]],
    x: _Array,
    target: _Array,
    order: _Array,
    scale: _Array | None,
    shift: _Array | None,
    activation: str,
    batch_size: int,
    rule: str,
    settings: dict[str, Any],
    max_norm: float | None,
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
def read_stream(x: _Array, repeats: int, threads: int) -> float: ...
def copy_stream(out: _Array, x: _Array, streaming: bool, repeats: int, threads: int) -> None: ...
def multiply_add_loop(steps: int, threads: int) -> tuple[float, float]: ...
