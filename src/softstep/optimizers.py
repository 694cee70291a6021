"""Optimizers: they read ``grad`` and change ``data`` of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.models.checks import check_number
from softstep.models.parameter import Parameter

__all__ = ["SGD"]


class SGD:
    r"""Stochastic gradient descent, with momentum if wanted.

    For each parameter with a gradient, in PyTorch's order: the gradient's sign (`maximize`), weight
    decay, momentum (undampened at a parameter's first step), Nesterov, the update.

    Parameters
    ----------
    params : iterable of Parameter
        Each of them once. Read at each step, so they need no values yet.
    lr : float
        The learning rate. This and the next three: finite numbers of at least 0.
    momentum : float, default 0
    dampening : float, default 0
        May be negative.
    weight_decay : float, default 0
        The factor of ``param`` that is added to its gradient.
    nesterov : bool, default False
        Needs a momentum above 0 and no dampening.
    maximize : bool, default False
        Go up instead of down.

    Attributes
    ----------
    params : list of Parameter
    lr, momentum, dampening, weight_decay, nesterov, maximize
        The arguments; they may be changed between steps.
    momentum_buffers : list of ndarray or None
        One for each parameter, None before its first step with momentum.
    threads : int or None
        How many threads a step uses at the most. A trainer sets it while it runs.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", sections 3.4 and 12.6;
    the order and the dampening are those of ``torch.optim.SGD``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import SGD, Parameter
    >>> w = Parameter(np.array([1.0, 2.0]), grad=[2.0, -4.0])
    >>> SGD([w], lr=0.5).step()
    >>> w.data
    array([0., 4.])
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> None:
        self.params = list(params)
        for i, param in enumerate(self.params):
            if not isinstance(param, Parameter):
                raise TypeError(f"params[{i}] is a {type(param).__name__}; accepted: a Parameter")
        if not self.params:
            raise ValueError("params is empty; accepted: at least one Parameter")
        if len({id(param) for param in self.params}) < len(self.params):
            raise ValueError("params holds a Parameter twice; accepted: each of them once")
        self.lr = check_number("lr", lr)
        self.momentum = check_number("momentum", momentum)
        self.dampening = check_number("dampening", dampening, -np.inf)
        self.weight_decay = check_number("weight_decay", weight_decay)
        self.nesterov = bool(nesterov)
        self.maximize = bool(maximize)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov is True with momentum={momentum!r} and dampening={dampening!r}; "
                "accepted with a momentum above 0 and no dampening"
            )
        self.momentum_buffers: list[NDArray[Any] | None] = [None] * len(self.params)
        self.threads: int | None = None

    def settings(self) -> dict[str, Any]:
        """Return the numbers of a step, under the names that the kernels give them."""
        return {
            "lr": self.lr,
            "momentum": self.momentum,
            "dampening": self.dampening,
            "weight_decay": self.weight_decay,
            "nesterov": self.nesterov,
            "maximize": self.maximize,
        }

    def step(self) -> None:
        """Change every parameter that has a gradient.

        Raises
        ------
        TypeError, ValueError
            A gradient is no array of its parameter's shape, and no parameter has been changed; a
            setting that was changed is not accepted.
        """
        moved = [(i, p, p.grad) for i, p in enumerate(self.params) if p.grad is not None]
        for i, param, grad in moved:
            if np.shape(grad) != param.shape:
                raise ValueError(
                    f"the gradient of params[{i}] has the shape {np.shape(grad)}; "
                    f"accepted: {param.shape}"
                )
        settings = self.settings()
        for i, param, grad in moved:
            buffer = self.momentum_buffers[i]
            first = buffer is None
            if buffer is None and self.momentum != 0:
                buffer = np.empty_like(param.data)
            kernels.sgd_step(
                param.data, grad, buffer, first_step=first, threads=self.threads, **settings
            )
            self.momentum_buffers[i] = buffer

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for param in self.params:
            param.grad = None

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"SGD({len(self.params)} parameters, {settings})"
