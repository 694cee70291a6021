"""Optimizers with a step size of each element's own: RMSprop, Adam, AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import NDArray

from softstep import kernels
from softstep.kernels._arrays import as_flag
from softstep.models.checks import check_integer, check_number
from softstep.models.parameter import Parameter
from softstep.optimizers.optimizer import Optimizer

__all__ = ["Adam", "AdamW", "RMSprop"]


class RMSprop(Optimizer):
    r"""RMSprop: gradients divided by the root of a running mean of their squares.

    For each parameter with a gradient, in PyTorch's order: the gradient's sign (`maximize`), weight
    decay, the averages, the division, momentum, the update; see `softstep.kernels.rmsprop_step`.

    Parameters
    ----------
    params : iterable of Parameter
        Each of them once. Read at each step, so they need no values yet.
    lr : float, default 0.01
        The learning rate. This and `eps`, `weight_decay`, `momentum`: finite numbers of at least 0.
    alpha : float, default 0.99
        How much of the averages is kept at each step, from 0 to 1.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
        The factor of ``param`` that is added to its gradient.
    momentum : float, default 0
    centered : bool, default False
        Divide by the standard deviation instead: the mean gradient's square is subtracted.
    maximize : bool, default False
        Go up instead of down.

    Attributes
    ----------
    state : dict of str to list of ndarray or None
        `square_avg`, `grad_avg` (if centered) and `momentum_buffer` (with momentum).

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.8; the order
    is that of ``torch.optim.RMSprop``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import Parameter, RMSprop
    >>> w = Parameter(np.array([1.0, 2.0]), grad=[2.0, -4.0])
    >>> RMSprop([w], lr=0.25, alpha=0.75).step()
    >>> w.data.round(6)
    array([0.5, 2.5])
    """

    states = ("square_avg", "grad_avg", "momentum_buffer")
    _kinds = ("centered",)

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = check_number("lr", lr)
        self.alpha = check_number("alpha", alpha)
        if self.alpha > 1:
            raise ValueError(f"alpha is {alpha!r}; accepted: 0 to 1")
        self.eps = check_number("eps", eps)
        self.weight_decay = check_number("weight_decay", weight_decay)
        self.momentum = check_number("momentum", momentum)
        self.centered = as_flag("centered", centered)
        self.maximize = as_flag("maximize", maximize)

    def settings(self) -> dict[str, Any]:
        """Return the numbers of a step, under the names that the kernels give them."""
        return {
            "lr": self.lr,
            "alpha": self.alpha,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "momentum": self.momentum,
            "maximize": self.maximize,
        }

    def _move(
        self, numbers: list[int], params: list[NDArray[Any]], grads: list[NDArray[Any]]
    ) -> None:
        squares = self._arrays("square_avg", numbers, params)
        means = self._arrays("grad_avg", numbers, params) if self.centered else None
        buffers = self._arrays("momentum_buffer", numbers, params) if self.momentum != 0 else None
        kernels.rmsprop_step(
            params, grads, squares, grad_avg=means, momentum_buffer=buffers, threads=self.threads,
            **self.settings(),
        )  # fmt: skip


class Adam(Optimizer):
    r"""Adam: running means of gradients, divided by roots of running means of their squares.

    For each parameter with a gradient, in PyTorch's order: the gradient's sign (`maximize`), weight
    decay, the averages, the update with corrected bias; see `softstep.kernels.adam_step`.

    Parameters
    ----------
    params : iterable of Parameter
        Each of them once. Read at each step, so they need no values yet.
    lr : float, default 1e-3
        The learning rate. This and `eps`, `weight_decay`: finite numbers of at least 0.
    betas : pair of float, default (0.9, 0.999)
        How much of the averages is kept at each step, each at least 0 and below 1.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
        The factor of ``param`` that is added to its gradient.
    amsgrad : bool, default False
        Divide by the largest average so far.
    maximize : bool, default False
        Go up instead of down.

    Attributes
    ----------
    state : dict of str to list of ndarray or None
        `exp_avg`, `exp_avg_sq` and `max_exp_avg_sq` (with `amsgrad`).
    steps : list of int
        How many steps each parameter has made.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.10; the order
    is that of ``torch.optim.Adam``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import Adam, Parameter
    >>> w = Parameter(np.array([1.0, 2.0]), grad=[2.0, -4.0])
    >>> Adam([w], lr=0.5).step()
    >>> w.data.round(6)
    array([0.5, 2.5])
    """

    states = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _kinds = ("amsgrad",)
    _kernel: Callable[..., Any] = staticmethod(kernels.adam_step)

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = check_number("lr", lr)
        try:
            first, second = betas
        except (TypeError, ValueError):
            raise TypeError(f"betas is {betas!r}; accepted: two numbers") from None
        self.betas = check_number("betas[0]", first), check_number("betas[1]", second)
        for i, beta in enumerate(self.betas):
            if beta >= 1:
                raise ValueError(f"betas[{i}] is {beta!r}; accepted: at least 0 and below 1")
        self.eps = check_number("eps", eps)
        self.weight_decay = check_number("weight_decay", weight_decay)
        self.amsgrad = as_flag("amsgrad", amsgrad)
        self.maximize = as_flag("maximize", maximize)
        self.steps = [0] * len(self.params)

    def settings(self) -> dict[str, Any]:
        """Return the numbers of a step, under the names that the kernels give them."""
        return {
            "lr": self.lr,
            "betas": self.betas,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "maximize": self.maximize,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state, with the number of steps of each parameter."""
        return {**super().state_dict(), "steps": list(self.steps)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` has returned; errors as `Optimizer.load_state_dict`."""
        steps = [check_integer("steps", count, 0) for count in state["steps"]]
        if len(steps) != len(self.params) or max(steps) > 2**53:
            raise ValueError(f"steps is {steps}; accepted: a count for each parameter")
        super().load_state_dict(state)
        self.steps = steps

    def _begun(self, i: int) -> int:
        return self.steps[i]

    def _move(
        self, numbers: list[int], params: list[NDArray[Any]], grads: list[NDArray[Any]]
    ) -> None:
        largest = self._arrays("max_exp_avg_sq", numbers, params) if self.amsgrad else None
        self._kernel(
            params, grads, self._arrays("exp_avg", numbers, params),
            self._arrays("exp_avg_sq", numbers, params), max_exp_avg_sq=largest,
            step=self.steps[numbers[0]] + 1, threads=self.threads, **self.settings(),
        )  # fmt: skip
        for i in numbers:
            self.steps[i] += 1


class AdamW(Adam):
    r"""Adam with decoupled weight decay: parameters shrink by ``lr * weight_decay`` before a step.

    The parameters, attributes and errors are those of `Adam`, with a `weight_decay` of 0.01 unless
    given; see `softstep.kernels.adamw_step`.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
        As in `Adam`.
    weight_decay : float, default 0.01
        Of the parameters, times the learning rate, before each step: finite, at least 0.

    References
    ----------
    Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR (2019); the order is that
    of ``torch.optim.AdamW``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import AdamW, Parameter
    >>> w = Parameter(np.array([1.0, 2.0]), grad=[2.0, -4.0])
    >>> AdamW([w], lr=0.5, weight_decay=0.5).step()
    >>> w.data.round(6)
    array([0.25, 2.  ])
    """

    _kernel = staticmethod(kernels.adamw_step)

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize)
