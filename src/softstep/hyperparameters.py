"""Two conveniences of the book: constructor arguments as attributes, methods added to classes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

__all__ = ["HyperParameters", "add_to_class"]

Function = TypeVar("Function", bound=Callable[..., Any])


class HyperParameters:
    """Gives a class `save_hyperparameters`.

    Attributes
    ----------
    hparams : mapping of str to object
        What `save_hyperparameters` has kept; empty before.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.2.1.

    Examples
    --------
    >>> from softstep import HyperParameters
    >>> class Point(HyperParameters):
    ...     def __init__(self, x, y=2.0, name=None):
    ...         self.save_hyperparameters(ignore=["name"])
    >>> point = Point(1.0)
    >>> point.x, point.y, dict(point.hparams), hasattr(point, "name")
    (1.0, 2.0, {'x': 1.0, 'y': 2.0}, False)
    """

    # On the class, so that a subclass need not call an __init__ of this one.
    hparams: Mapping[str, Any] = MappingProxyType({})
    _hparams_depth: int = sys.maxsize

    def save_hyperparameters(self, ignore: Iterable[str] | str = ()) -> None:
        """Keep the arguments of the constructor that calls this, as attributes and in `hparams`.

        An argument has the value that it has when this is called. What ``**options`` collects is
        kept under its own names. Other local variables, and names that begin with ``_``, are left
        out. If a class and its base both call this, `hparams` is what the outer class was given.

        Parameters
        ----------
        ignore : str or iterable of str
            Names to leave out.

        Raises
        ------
        RuntimeError
            Called from something that is no method of this object.
        """
        frame = sys._getframe(1)
        names, more, options, values = inspect.getargvalues(frame)
        if not names or values.get(names[0]) is not self:
            raise RuntimeError("save_hyperparameters is called in a constructor, by that object")
        given = {name: values[name] for name in names[1:]}
        if more is not None:
            given[more] = values[more]
        if options is not None:
            given |= values[options]
        left_out = {ignore} if isinstance(ignore, str) else set(ignore)
        kept = {
            name: value
            for name, value in given.items()
            if name not in left_out and not name.startswith("_")
        }
        for name, value in kept.items():
            setattr(self, name, value)
        depth = _depth(type(self), frame.f_code)
        if depth <= self._hparams_depth:
            self.hparams, self._hparams_depth = kept, depth


def _depth(cls: type, code: Any) -> int:
    """Tell how far up from a class the constructor with this code is defined; 0 if nowhere."""
    for depth, owner in enumerate(cls.__mro__):
        if getattr(vars(owner).get("__init__"), "__code__", None) is code:
            return depth
    return 0


def add_to_class(cls: type) -> Callable[[Function], Function]:
    """Return a decorator that makes a function a method of a class, also of existing objects.

    Parameters
    ----------
    cls : type
        The class; the method gets the function's name.

    Raises
    ------
    TypeError
        `cls` is no class.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.2.1.

    Examples
    --------
    >>> from softstep import add_to_class
    >>> class Greeter:
    ...     def __init__(self, name):
    ...         self.name = name
    >>> greeter = Greeter("Ada")
    >>> @add_to_class(Greeter)
    ... def greet(self):
    ...     return f"Hello, {self.name}"
    >>> greeter.greet()
    'Hello, Ada'
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls is a {type(cls).__name__}; accepted: a class")

    def add(function: Function) -> Function:
        setattr(cls, function.__name__, function)
        return function

    return add
