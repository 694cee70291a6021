"""Linear regression with weight decay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from softstep.models.checks import check_number
from softstep.models.linear_regression import LinearRegression

__all__ = ["WeightDecay"]


class WeightDecay(LinearRegression):
    r"""Linear regression whose weights decay: each step adds ``wd * weight`` to their gradient.

    That is the gradient of the penalty :math:`\mathrm{wd}\, \|w\|^2 / 2`; the bias has none. As
    with the weight decay of an optimizer, losses do not include the penalty.

    Parameters
    ----------
    wd : float
        The factor of the penalty, finite and at least 0.
    lr : float
        The learning rate, finite and at least 0.
    num_outputs, seed, dtype
        As in `LinearRegression`.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.7.4.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import WeightDecay
    >>> model = WeightDecay(wd=3, lr=0.1)
    >>> model.infer(2)
    >>> model.weight.data[:] = [[1.0, 2.0]]
    >>> model.backward((np.zeros((1, 2), np.float32), [0.0]))
    >>> model.weight.grad, model.bias.grad
    (array([[3., 6.]], dtype=float32), array([0.], dtype=float32))
    """

    def __init__(
        self,
        wd: float,
        lr: float,
        *,
        num_outputs: int = 1,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(lr, num_outputs=num_outputs, seed=seed, dtype=dtype)
        self.wd = check_number("wd", wd)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"wd": float(self.wd), **super().hyperparameters()}

    def backward(self, batch: Any) -> None:
        """Add the gradient of the batch's mean loss and of the penalty on the weights."""
        super().backward(batch)
        self.weight.accumulate(self.weight.dtype.type(self.wd) * self.weight.data)
