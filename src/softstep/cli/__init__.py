"""The command line: ``softstep train``, ``evaluate``, ``predict``, ``plot``, ``info``, ``bench``.

What goes wrong is one line on standard error and exit status 2; Ctrl-C is status 130.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from softstep.cli.arguments import make_parser
from softstep.cli.output import (
    CLOSED_PIPE,
    INTERRUPTED,
    discard_output,
    fail,
    name_file,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those after the program's name; by default the process's own.

    Returns
    -------
    int
        The exit status: 0, 2 after an error, 130 after Ctrl-C, 141 if the reader of the output went
        away.

    Raises
    ------
    SystemExit
        Status 0 after ``--help`` and ``--version``, 2 after wrong arguments.

    Examples
    --------
    >>> from softstep.cli import main
    >>> main(["evaluate", "no-such-file"])
    2
    """
    try:
        try:
            options = make_parser().parse_args(arguments)
            options.run(options)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        discard_output()
        return CLOSED_PIPE
    except OSError as error:
        discard_output()
        return fail(name_file(error))
    except (
        ArithmeticError,
        ImportError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        return fail(str(error) or type(error).__name__)
    return 0
