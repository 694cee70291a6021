"""The interpreter ends while daemon threads are inside kernels."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import threading, time
import numpy as np
from softstep import kernels

x = np.zeros((200_000, 10))

def loop():
    while True:
        kernels.softmax(x, threads=1)

for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.3)
"""


def test_daemon_threads_in_kernels_do_not_abort_the_exit() -> None:
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
        )
        assert (run.returncode, run.stderr) == (0, "")
