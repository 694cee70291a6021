"""One step of an optimizer on one parameter or several, in place, in one native call."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import Array, as_flag, as_float, as_pair, as_real, check_apart
from softstep.runtime import resolve_threads

Arrays = Array | list[Array] | tuple[Array, ...]


def sgd_step(
    param: Arrays,
    grad: ArrayLike | list[ArrayLike] | tuple[ArrayLike, ...],
    momentum_buffer: Arrays | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first_step: bool = False,
    max_norm: float | None = None,
    threads: int | None = None,
) -> float | None:
    r"""One step of stochastic gradient descent, in PyTorch's order, in place.

    ``g = -grad if maximize else grad``; ``g += weight_decay * param``; with momentum, ``buffer =
    g`` on the first step and ``momentum * buffer + (1 - dampening) * g`` later, then ``g = g +
    momentum * buffer if nesterov else buffer``; ``param -= lr * g``.

    Parameters
    ----------
    param : ndarray of any shape, float32 or float64, or a list or tuple of them
        Changed in place: C-contiguous, aligned, writable. A list holds arrays of one dtype, and
        then the other array arguments are lists or tuples of the same length.
    grad : array_like, shape and dtype of `param`, or a list of them
        Only read; copied if not C-contiguous, aligned and of native byte order.
    momentum_buffer : ndarray, shape and dtype of `param`, or a list of them
        Changed in place; needed when `momentum` is not 0, untouched when it is.
    lr, momentum, dampening, weight_decay : float
        Finite; none but `dampening` negative.
    nesterov : bool
        Needs `momentum` and no `dampening`.
    maximize : bool
        Go up instead of down.
    first_step : bool
        Fill the momentum buffer with the gradient, undampened, instead of reading it.
    max_norm : float, optional
        Gradients are multiplied by ``min(1, max_norm / (norm + 1e-6))`` as they are read, where
        `norm` is that of all of them together; see `clip_grad_norm`.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    float or None
        With `max_norm` the norm of the gradients before clipping, else None.

    Raises
    ------
    TypeError, ValueError
        Arrays or numbers that are not accepted, an array that shares memory with one that is
        changed; nothing has been changed then.

    Notes
    -----
    Ctrl-C is heard once the step is whole.

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
    return _step(
        _native.module.sgd_step, _SGD, param, (momentum_buffer,), grad,
        lr, momentum, dampening, weight_decay, nesterov, maximize, first_step,
        max_norm, resolve_threads(threads),
    )  # fmt: skip


def rmsprop_step(
    param: Arrays,
    grad: ArrayLike | list[ArrayLike] | tuple[ArrayLike, ...],
    square_avg: Arrays,
    *,
    grad_avg: Arrays | None = None,
    momentum_buffer: Arrays | None = None,
    lr: float = 0.01,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    maximize: bool = False,
    max_norm: float | None = None,
    threads: int | None = None,
) -> float | None:
    r"""One step of RMSprop, in PyTorch's order, in place.

    ``g = -grad if maximize else grad``; ``g += weight_decay * param``; ``square_avg = alpha *
    square_avg + (1 - alpha) * g**2``; if centered, ``grad_avg += (1 - alpha) * (g - grad_avg)``;
    ``g = g / (sqrt(square_avg) + eps)``, or ``g / (sqrt(square_avg - grad_avg**2) + eps)`` if
    centered; with momentum, ``g = buffer = momentum * buffer + g``; ``param -= lr * g``.

    Parameters
    ----------
    param, grad : as in `sgd_step`
    square_avg : ndarray, shape and dtype of `param`, or a list of them
        Changed in place; zeros before the first step. So are the next two.
    grad_avg : ndarray, shape and dtype of `param`, or a list of them, optional
        If given, the step is centered: the square root is that of a variance.
    momentum_buffer : ndarray, shape and dtype of `param`, or a list of them, optional
        Needed when `momentum` is not 0, untouched when it is.
    lr, eps, weight_decay, momentum : float
        Finite, none negative.
    alpha : float
        From 0 to 1: how much of the averages is kept.
    maximize, max_norm, threads : as in `sgd_step`

    Returns
    -------
    float or None
        With `max_norm` the norm of the gradients before clipping, else None.

    Raises
    ------
    TypeError, ValueError
        As `sgd_step`.

    Notes
    -----
    A variance that rounding would make negative counts as 0; ``torch.optim.RMSprop`` gives NaN
    there.

    References
    ----------
    Tieleman and Hinton, *Lecture 6.5: RMSProp*, COURSERA (2012); Graves, *Generating sequences with
    recurrent neural networks* (2013), for the centered version; the order is that of
    ``torch.optim.RMSprop``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import rmsprop_step
    >>> w, square_avg = np.array([1.0, 2.0]), np.zeros(2)
    >>> rmsprop_step(w, [4.0, -0.5], square_avg, lr=0.25, alpha=0.75)
    >>> w.round(6), square_avg
    (array([0.5, 2.5]), array([4.    , 0.0625]))
    """
    return _step(
        _native.module.rmsprop_step, _RMSPROP, param, (square_avg, grad_avg, momentum_buffer), grad,
        lr, alpha, eps, weight_decay, momentum, maximize, max_norm, resolve_threads(threads),
    )  # fmt: skip


def adam_step(
    param: Arrays,
    grad: ArrayLike | list[ArrayLike] | tuple[ArrayLike, ...],
    exp_avg: Arrays,
    exp_avg_sq: Arrays,
    *,
    step: int,
    max_exp_avg_sq: Arrays | None = None,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
    max_norm: float | None = None,
    threads: int | None = None,
) -> float | None:
    r"""One step of Adam, in PyTorch's order, in place.

    ``g = -grad if maximize else grad``; ``g += weight_decay * param``; ``exp_avg += (1 - beta1) *
    (g - exp_avg)``; ``exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g**2``; for AMSGrad,
    ``max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq)``, which takes the place of `exp_avg_sq`
    in ``param -= lr / (1 - beta1**step) * exp_avg / (sqrt(exp_avg_sq / (1 - beta2**step)) + eps)``.

    Parameters
    ----------
    param, grad : as in `sgd_step`
    exp_avg, exp_avg_sq : ndarray, shape and dtype of `param`, or a list of them
        Changed in place; zeros before the first step.
    step : int
        The number of this step, counted from 1.
    max_exp_avg_sq : ndarray, shape and dtype of `param`, or a list of them, optional
        If given, the step is AMSGrad's. Changed in place; zeros before the first step.
    lr, eps, weight_decay : float
        Finite, none negative.
    betas : pair of float
        Each at least 0 and below 1.
    maximize, max_norm, threads : as in `sgd_step`

    Returns
    -------
    float or None
        With `max_norm` the norm of the gradients before clipping, else None.

    Raises
    ------
    TypeError, ValueError
        As `sgd_step`.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR (2015); Reddi et al., *On the
    convergence of Adam and beyond*, ICLR (2018), for AMSGrad; the order is that of
    ``torch.optim.Adam``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import adam_step
    >>> w, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    >>> adam_step(w, [4.0, -0.5], m, v, step=1, lr=0.25)
    >>> w.round(6), m.round(6), v.round(6)
    (array([0.75, 2.25]), array([ 0.4 , -0.05]), array([0.016  , 0.00025]))
    """
    beta1, beta2 = as_pair("betas", betas)
    return _step(
        _native.module.adam_step, _ADAM, param, (exp_avg, exp_avg_sq, max_exp_avg_sq), grad,
        _index("step", step), lr, beta1, beta2, eps, weight_decay, False, maximize,
        max_norm, resolve_threads(threads),
    )  # fmt: skip


def adamw_step(
    param: Arrays,
    grad: ArrayLike | list[ArrayLike] | tuple[ArrayLike, ...],
    exp_avg: Arrays,
    exp_avg_sq: Arrays,
    *,
    step: int,
    max_exp_avg_sq: Arrays | None = None,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    maximize: bool = False,
    max_norm: float | None = None,
    threads: int | None = None,
) -> float | None:
    r"""One step of Adam with decoupled weight decay, in PyTorch's order, in place.

    ``param *= 1 - lr * weight_decay``, and then the step of `adam_step` without weight decay.

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq, step, max_exp_avg_sq, lr, betas, eps : as in `adam_step`
    weight_decay : float
        Finite, not negative.
    maximize, max_norm, threads : as in `sgd_step`

    Returns
    -------
    float or None
        With `max_norm` the norm of the gradients before clipping, else None.

    Raises
    ------
    TypeError, ValueError
        As `sgd_step`.

    References
    ----------
    Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR (2019); the order is that
    of ``torch.optim.AdamW``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import adamw_step
    >>> w, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    >>> adamw_step(w, [4.0, -0.5], m, v, step=1, lr=0.25, weight_decay=0.5)
    >>> w.round(6)
    array([0.625, 2.   ])
    """
    beta1, beta2 = as_pair("betas", betas)
    return _step(
        _native.module.adam_step, _ADAM, param, (exp_avg, exp_avg_sq, max_exp_avg_sq), grad,
        _index("step", step), lr, beta1, beta2, eps, weight_decay, True, maximize,
        max_norm, resolve_threads(threads),
    )  # fmt: skip


def clip_grad_norm(grads: Arrays, max_norm: float, *, threads: int | None = None) -> float:
    r"""Scale gradients in place so that their common norm is at most `max_norm`.

    They are multiplied by ``min(1, max_norm / (norm + 1e-6))``, where `norm` is the square root of
    the sum of the squares of all elements of all arrays.

    Parameters
    ----------
    grads : ndarray of any shape, float32 or float64, or a list of them of one dtype
        Changed in place: C-contiguous, aligned, writable.
    max_norm : float
        At least 0; infinity leaves the gradients as they are.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    float
        The norm before clipping, summed in float64. Where it is NaN all gradients become NaN; where
        it is infinite the factor is 0 (as PyTorch with ``error_if_nonfinite=False``).

    Raises
    ------
    TypeError, ValueError
        Arrays or numbers that are not accepted, arrays that share memory; nothing has been changed
        then.

    References
    ----------
    Pascanu et al., *On the difficulty of training recurrent neural networks*, ICML (2013); the
    factor is that of ``torch.nn.utils.clip_grad_norm_``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import clip_grad_norm
    >>> grads = [np.array([3.0, 0.0]), np.array([[4.0]])]
    >>> clip_grad_norm(grads, 2.5)
    5.0
    >>> [grad.round(6) for grad in grads]
    [array([1.5, 0. ]), array([[2.]])]
    """
    return _native.module.clip_grad_norm(
        grads, as_real("max_norm", max_norm), resolve_threads(threads)
    )


# What the native steps take after the arrays, before `threads`; state arrays first.
_SGD = ("momentum_buffer",), (
    "lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "first_step", "max_norm",
)  # fmt: skip
_RMSPROP = ("square_avg", "grad_avg", "momentum_buffer"), (
    "lr", "alpha", "eps", "weight_decay", "momentum", "maximize", "max_norm",
)  # fmt: skip
_ADAM = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), (
    "step", "lr", "betas[0]", "betas[1]", "eps", "weight_decay", "decoupled", "maximize",
    "max_norm",
)  # fmt: skip
_FLAGS = {"nesterov", "maximize", "first_step"}


def _step(
    native: Callable[..., Any],
    names: tuple[tuple[str, ...], tuple[str, ...]],
    param: Any,
    states: tuple[Any, ...],
    grad: Any,
    *settings: Any,
) -> float | None:
    """Call a native step; convert gradients only where it says that they have to be."""
    try:
        norm = native(param, *states, grad, *settings)
        if norm is NotImplemented:
            gradients = _gradients(grad, param)
            for name, changed in zip(("param", *names[0]), (param, *states), strict=True):
                _check_copied(grad, gradients, name, changed)
            norm = native(param, *states, gradients, *settings)
    except TypeError:
        for name, value in zip(names[1], settings, strict=False):
            if name in _FLAGS:
                as_flag(name, value)
            elif name != "max_norm" or value is not None:
                as_real(name, value)
        raise
    return norm  # type: ignore[no-any-return]


def _check_copied(grad: Any, gradients: Any, name: str, changed: Any) -> None:
    """Raise ValueError if a gradient that was copied shares memory with an array of `changed`."""
    if changed is None:
        return
    if isinstance(changed, np.ndarray):
        check_apart(changed, "grad", grad, gradients, name)
        return
    for i, array in enumerate(changed):
        for k, (given, read) in enumerate(zip(grad, gradients, strict=True)):
            check_apart(array, f"grad[{k}]", given, read, f"{name}[{i}]")


def _index(name: str, value: Any) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; accepted: an integer of at least 1") from None
    if not 1 <= index < 2**63:
        raise ValueError(f"{name} is {index}; accepted: an integer of at least 1, of 64 bits")
    return index


def _gradients(grad: Any, param: Any) -> Any:
    """Gradients as arrays that native code reads as they are."""
    if isinstance(param, np.ndarray):
        return as_float("grad", grad, param, "param")
    like = list(param)
    if not isinstance(grad, (list, tuple)) or len(grad) != len(like):
        size = f" of {len(grad)}" if isinstance(grad, (list, tuple)) else ""
        raise ValueError(
            f"grad is a {type(grad).__name__}{size}; accepted: a list or tuple of {len(like)}, as "
            "param"
        )
    return [
        as_float(f"grad[{i}]", g, p, f"param[{i}]")
        for i, (g, p) in enumerate(zip(grad, like, strict=True))
    ]


def check_sgd(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool
) -> None:
    """Raise ValueError unless the numbers are those of a step of SGD."""
    for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
        if not 0 <= as_real(name, value) < float("inf"):
            raise ValueError(f"{name} is {value!r}; accepted: a finite number of at least 0")
    if not abs(as_real("dampening", dampening)) < float("inf"):
        raise ValueError(f"dampening is {dampening!r}; accepted: a finite number")
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            f"nesterov is True with momentum={momentum!r} and dampening={dampening!r}; "
            "accepted with a momentum above 0 and no dampening"
        )
