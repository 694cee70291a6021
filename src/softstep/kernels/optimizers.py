"""One step of an optimizer on one parameter, in place."""

from __future__ import annotations

from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import Array, as_float, check_in_place
from softstep.runtime import resolve_threads


def sgd_step(
    param: Array,
    grad: ArrayLike,
    momentum_buffer: Array | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first_step: bool = False,
    threads: int | None = None,
) -> None:
    r"""One step of stochastic gradient descent, in PyTorch's order, in place.

    ``g = -grad if maximize else grad``; ``g += weight_decay * param``; with momentum, ``buffer =
    g`` on the first step and ``momentum * buffer + (1 - dampening) * g`` later, then ``g = g +
    momentum * buffer if nesterov else buffer``; ``param -= lr * g``.

    Parameters
    ----------
    param : ndarray of any shape, float32 or float64
        Changed in place: C-contiguous, aligned, writable.
    grad : array_like, shape and dtype of `param`
    momentum_buffer : ndarray, shape and dtype of `param`
        Changed in place; needed when `momentum` is not 0, untouched when it is.
    lr, momentum, dampening, weight_decay : float
        None negative.
    nesterov : bool
        Needs `momentum` and no `dampening`.
    maximize : bool
        Go up instead of down.
    first_step : bool
        Fill the momentum buffer with the gradient, undampened, instead of reading it.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Raises
    ------
    TypeError, ValueError
        Arrays or numbers that are not accepted; nothing has been changed then.

    References
    ----------
    Sutskever et al., *On the importance of initialization and momentum in deep learning*, ICML
    (2013); the order and the dampening are those of ``torch.optim.SGD``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import sgd_step
    >>> w = np.array([1.0, 2.0])
    >>> sgd_step(w, [4.0, -4.0], lr=0.25)
    >>> w
    array([0., 3.])
    """
    check_in_place("param", param)
    if momentum_buffer is not None:
        check_in_place("momentum_buffer", momentum_buffer)
    check_sgd(lr, momentum, dampening, weight_decay, nesterov)
    _native.module.sgd_step(
        param,
        momentum_buffer,
        as_float("grad", grad, param, "param"),
        lr,
        momentum,
        dampening,
        weight_decay,
        nesterov,
        maximize,
        first_step,
        resolve_threads(threads),
    )


def check_sgd(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool
) -> None:
    """Raise ValueError unless the numbers are those of a step of SGD."""
    for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} is {value!r}; accepted: a finite number of at least 0")
    if not abs(dampening) < float("inf"):
        raise ValueError(f"dampening is {dampening!r}; accepted: a finite number")
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            f"nesterov is True with momentum={momentum!r} and dampening={dampening!r}; "
            "accepted with a momentum above 0 and no dampening"
        )
