"""``python -m softstep``: the command line."""

from __future__ import annotations

import sys

from softstep.cli import main

if __name__ == "__main__":
    sys.exit(main())
