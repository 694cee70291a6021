"""What optimizers share: parameters, their state, and one native call for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.kernels._arrays import as_float
from softstep.models.parameter import Parameter

__all__ = ["Optimizer", "State"]

State = list[NDArray[Any] | None]


class Optimizer:
    """What optimizers share: parameters, their state, and one native call for all of them.

    A subclass names its states, and gives `settings` and `_move`.

    Parameters
    ----------
    params : iterable of Parameter
        Each of them once. Read at each step, so they need no values yet.

    Attributes
    ----------
    params : list of Parameter
    state : dict of str to list of ndarray or None
        Under each name one array for each parameter, None before it is first needed.
    threads : int or None
        How many threads a step uses at the most. A trainer sets it while it runs.

    Raises
    ------
    TypeError, ValueError
        Something other than a Parameter, none at all, or one twice.
    """

    states: tuple[str, ...] = ()
    _kinds: tuple[str, ...] = ()  # arguments of the constructor that are no settings of a step

    def __init__(self, params: Iterable[Parameter]) -> None:
        self.params = list(params)
        for i, param in enumerate(self.params):
            if not isinstance(param, Parameter):
                raise TypeError(f"params[{i}] is a {type(param).__name__}; accepted: a Parameter")
        if not self.params:
            raise ValueError("params is empty; accepted: at least one Parameter")
        if len({id(param) for param in self.params}) < len(self.params):
            raise ValueError("params holds a Parameter twice; accepted: each of them once")
        self.state: dict[str, State] = {name: [None] * len(self.params) for name in self.states}
        self.threads: int | None = None

    def settings(self) -> dict[str, Any]:
        """Return the numbers of a step, under the names that the kernels give them."""
        raise NotImplementedError

    def step(self) -> None:
        """Change every parameter that has a gradient.

        Raises
        ------
        TypeError, ValueError
            A gradient is no array of its parameter's shape, and no parameter has been changed; a
            setting that was changed is not accepted.
        """
        # One native call for the parameters of one dtype and as far on: usually all.
        groups: dict[Any, tuple[list[int], list[Any], list[Any]]] = {}
        for i, param in enumerate(self.params):
            grad = param.grad
            if grad is None:
                continue
            data = param.data
            if type(grad) is not np.ndarray or grad.dtype != data.dtype:
                grad = as_float(f"the gradient of params[{i}]", grad, data, f"params[{i}]")
            if grad.shape != data.shape:
                raise ValueError(
                    f"the gradient of params[{i}] has the shape {grad.shape}; "
                    f"accepted: {data.shape}"
                )
            key = data.dtype.char, self._begun(i)
            if key not in groups:
                groups[key] = [], [], []
            numbers, params, grads = groups[key]
            numbers.append(i)
            params.append(data)
            grads.append(grad)
        for numbers, params, grads in groups.values():
            self._move(numbers, params, grads)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for param in self.params:
            param.grad = None

    def configuration(self) -> dict[str, Any]:
        """Return the constructor's arguments: the settings of a step, and what kind it is."""
        return {**self.settings(), **{name: getattr(self, name) for name in self._kinds}}

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state, for a checkpoint: numbers, None and the arrays themselves."""
        return {
            "settings": self.configuration(),
            "state": {name: list(arrays) for name, arrays in self.state.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` of an optimizer of equal parameters has returned.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is not of such an optimizer; nothing has been changed then.
        """
        checked = type(self)(self.params, **state["settings"])  # the constructor's checks
        kept: dict[str, State] = {}
        if set(state["state"]) != set(self.state):
            raise ValueError(f"its states are {sorted(state['state'])}, not {sorted(self.state)}")
        for name in self.state:
            arrays = state["state"][name]
            if len(arrays) != len(self.params):
                raise ValueError(f"{name} holds {len(arrays)} arrays, not {len(self.params)}")
            kept[name] = [
                None if array is None else _like(f"{name}[{i}]", array, param)
                for i, (array, param) in enumerate(zip(arrays, self.params, strict=True))
            ]
        for name in self.configuration():
            setattr(self, name, getattr(checked, name))
        self.state = kept

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"{type(self).__name__}({len(self.params)} parameters, {settings})"

    def _begun(self, i: int) -> Any:
        """Return what parameters that share a native call have in common."""
        return None

    def _move(
        self, numbers: list[int], params: list[NDArray[Any]], grads: list[NDArray[Any]]
    ) -> None:
        """Make one step of these parameters."""
        raise NotImplementedError

    def _arrays(self, name: str, numbers: list[int], like: list[NDArray[Any]]) -> list[Any]:
        """Return the arrays of a state, zeros where there is none yet."""
        kept = self.state[name]
        for i, array in zip(numbers, like, strict=True):
            if kept[i] is None:
                kept[i] = np.zeros_like(array)
        return [kept[i] for i in numbers]


def _like(name: str, array: Any, param: Parameter) -> NDArray[Any]:
    """Return an array of an optimizer's state; ValueError unless it is as its parameter is."""
    data = param.data
    if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (data.shape, data.dtype):
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(array)
        raise ValueError(f"{name} is {found}, not {data.dtype} {data.shape}")
    return np.array(array, order="C")
