"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.kernels._arrays import as_flag
from softstep.models.checks import check_number
from softstep.models.parameter import Parameter
from softstep.optimizers.optimizer import Optimizer, State

__all__ = ["SGD"]


class SGD(Optimizer):
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
        One for each parameter, None before its first step with momentum: `state` under the name
        `momentum_buffer`.
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

    states = ("momentum_buffer",)

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
        super().__init__(params)
        self.lr = check_number("lr", lr)
        self.momentum = check_number("momentum", momentum)
        self.dampening = check_number("dampening", dampening, -np.inf)
        self.weight_decay = check_number("weight_decay", weight_decay)
        self.nesterov = as_flag("nesterov", nesterov)
        self.maximize = as_flag("maximize", maximize)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov is True with momentum={momentum!r} and dampening={dampening!r}; "
                "accepted with a momentum above 0 and no dampening"
            )

    @property
    def momentum_buffers(self) -> State:
        """The momentum buffer of each parameter, None before its first step with momentum."""
        return self.state["momentum_buffer"]

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

    def _begun(self, i: int) -> bool:
        return self.momentum_buffers[i] is not None

    def _move(
        self, numbers: list[int], params: list[NDArray[Any]], grads: list[NDArray[Any]]
    ) -> None:
        kept, first = self.momentum_buffers, False
        buffers: list[Any] | None = None
        if self.momentum != 0:
            first = kept[numbers[0]] is None
            if first:
                buffers = [np.empty_like(param) for param in params]
            else:
                buffers = [kept[i] for i in numbers]
        kernels.sgd_step(
            params, grads, buffers, first_step=first, threads=self.threads, **self.settings()
        )
        if first and buffers is not None:
            for i, buffer in zip(numbers, buffers, strict=True):
                kept[i] = buffer
