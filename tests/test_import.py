"""What `import softstep` does not do (RELIABILITY.md, line 20), and what it does not load."""

from __future__ import annotations

import sys
from typing import Any

import fresh_python
import pytest

# Everything a process has that an import could change; `before` and `after` are compared.
STATE = """
import ctypes, json, locale, os, random, signal, sys, threading, warnings
import numpy as np

def floats():
    # The C library's view of the modes, and arithmetic that shows them.
    library = ctypes.CDLL(None)
    modes = [getattr(library, name)() for name in ("fegetround", "fegetexcept")
             if hasattr(library, name)]
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        buffer = (ctypes.c_ubyte * 64)()
        library.fegetenv(buffer)
        # The control word of the x87 and the control bits of MXCSR; the rest are flags of the past.
        modes += [buffer[0] + 256 * buffer[1], (buffer[28] + 256 * buffer[29]) & 0xFFC0]
    tiny = [np.full(9, np.finfo(kind).tiny, kind) / 4 for kind in ("f4", "f8")]
    third = np.full(9, 1.0) / 3
    return [*modes, *(str(array.sum()) for array in tiny), third.tobytes().hex(),
            sorted(np.geterr().items())]

def process():
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return []
    # SigQ counts the signals of all the user's processes.
    kept = [line for line in lines if line.startswith(("Sig", "Shd", "Threads"))]
    return [line for line in kept if not line.startswith("SigQ")]

def state():
    return {
        "handlers": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "threads": [thread.name for thread in threading.enumerate()],
        "process": process(),
        "floats": floats(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "random": [repr(random.getstate()), repr(np.random.get_state())],
        "warnings": repr(warnings.filters),
        "print": repr(np.get_printoptions()),
        "locale": locale.setlocale(locale.LC_ALL),
        "hooks": [repr(sys.excepthook), repr(sys.displayhook), repr(threading.excepthook)],
        "recursion": [sys.getrecursionlimit(), sys.getswitchinterval()],
    }

before = state()
"""

WORK = """
x = np.linspace(-5, 5, 300_000).reshape(30_000, 10)
softstep.kernels.cross_entropy_with_grad(x, np.zeros(30_000, int), threads=1)
softstep.kernels.linear_backward(x, np.ones((3, 10)), np.ones((30_000, 3)), threads=1)
softstep.Trainer(1, threads=1).fit(softstep.SoftmaxRegression(10, 0.5), softstep.Digits())
"""


def changed(script: str, *options: str) -> dict[str, Any]:
    code = STATE + script + "\nafter = state()\nprint(json.dumps([before, after]))"
    before, after = fresh_python.answer(code, *options)
    assert len(before) > 10
    return {key: (before[key], after[key]) for key in before if before[key] != after[key]}


def test_import_changes_nothing() -> None:
    assert changed("import softstep", "-W", "error") == {}


def test_serial_work_changes_nothing() -> None:
    assert changed(f"import softstep\n{WORK}", "-W", "error") == {}


def test_threaded_work_changes_threads_only() -> None:
    """OpenMP keeps its threads; they are not Python's, and nothing else is left behind."""
    found = changed(f"import softstep\n{WORK.replace('threads=1', 'threads=3')}")
    found.pop("process", None)
    assert found == {}


@pytest.mark.parametrize(
    "script",
    ["signal.signal(signal.SIGUSR1, lambda *_: None)", "np.seterr(over='ignore')",
     "threading.Thread(target=threading.Event().wait, daemon=True).start()",
     "ctypes.CDLL(None).fesetround(0x400)", "os.environ['OMP_NUM_THREADS'] = '1'",
     "np.random.seed(0)", "warnings.simplefilter('ignore', ImportWarning)"],
)  # fmt: skip
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: glibc's rounding modes")
def test_changes_are_seen(script: str) -> None:
    assert changed(script)


# What is loaded

LOADED = """
import sys
import numpy
before = set(sys.modules)
import softstep
print(*sorted(set(sys.modules) - before))
"""
# Packages that take their time or that not everyone has.
LATER = {
    "tqdm", "safetensors", "matplotlib", "sklearn", "torch", "scipy", "jax", "pandas", "pooch",
    "threadpoolctl", "joblib", "ml_dtypes", "pytest", "IPython",
    # of the standard library
    "argparse", "asyncio", "concurrent", "doctest", "email", "http", "inspect", "logging",
    "multiprocessing", "pydoc", "shutil", "socket", "ssl", "subprocess", "tempfile", "unittest",
    "xml",
}  # fmt: skip


def test_what_import_loads() -> None:
    names = fresh_python.run(LOADED).split()
    tops = {name.partition(".")[0] for name in names}
    assert "softstep" in tops
    assert tops & LATER == set()
    ours = {"softstep", "numpy", "cython_runtime"}
    others = {top for top in tops if top not in ours and not top.startswith("_cython_")}
    assert others <= sys.stdlib_module_names
    assert len(names) < 170  # 138 at the time of writing, softstep's own 88 among them


def test_one_level_is_loaded() -> None:
    """The modules of the other levels cost time and may not run here."""
    names = fresh_python.run(LOADED).split()
    assert len([name for name in names if "_native_" in name]) == 1


def test_optional_packages_are_not_needed() -> None:
    """Kernels and the digits work where only NumPy is installed."""
    code = """
    import sys
    for name in ("tqdm", "safetensors", "matplotlib", "sklearn", "torch", "scipy"):
        sys.modules[name] = None  # importing it is an ImportError
    import softstep
    softstep.kernels.softmax([0.0, 1.0])
    model = softstep.SoftmaxRegression(10, 0.5)
    trainer = softstep.Trainer(1)
    trainer.fit(model, softstep.Digits())
    assert len(trainer.history) == 1
    """
    fresh_python.run(code)


def test_import_opens_no_network() -> None:
    code = """
    import sys
    import numpy
    events = []
    sys.addaudithook(lambda event, args: events.append(event))
    import softstep
    assert "import" in events
    bad = ("socket.", "subprocess.", "os.system", "os.fork", "os.putenv", "os.mkdir", "os.remove",
           "pickle.find_class")
    found = [event for event in events if event.startswith(bad)]
    assert not found, found
    """
    fresh_python.run(code)


def test_public_names() -> None:
    import softstep

    assert sorted(softstep.__all__) == sorted(set(softstep.__all__))
    for name in softstep.__all__:
        assert getattr(softstep, name) is not None
    for module in (softstep.kernels, softstep.reference):
        for name in module.__all__:
            assert callable(getattr(module, name))


def test_modules_that_are_loaded_when_asked_for() -> None:
    """They are attributes all the same; the standard library's `decimal` stays away, too."""
    code = """
    import sys
    import softstep
    later = sorted(softstep._LATER)
    assert {"information", "losses", "numerical"} <= set(later)
    assert not {f"softstep.{name}" for name in later} & set(sys.modules)
    assert "decimal" not in sys.modules
    assert set(later) <= set(dir(softstep)) and set(later) <= set(softstep.__all__)
    assert softstep.information.entropy([1.0]) == 0
    for name, place in softstep._NAMES.items():
        module, _, original = place.rpartition(".")
        assert getattr(softstep, name) is getattr(getattr(softstep, module), original)
        assert name in softstep.__all__
    assert softstep.losses.sigmoid(0.0) == 0.5
    assert softstep.numerical.numerical_diff(float, 0.0) == 1
    try:
        softstep.informations
    except AttributeError as error:
        assert str(error) == "module 'softstep' has no attribute 'informations'"
    else:
        raise AssertionError
    """
    fresh_python.run(code)


def test_import_order_of_the_storeys() -> None:
    """Every module can be the first to be imported."""
    import pkgutil

    import softstep

    names = [
        module.name
        for module in pkgutil.walk_packages(softstep.__path__, "softstep.")
        if not module.name.rpartition(".")[2].startswith(("_native_", "__main__"))
    ]
    assert len(names) > 30
    # Each in a new set of modules; the compiled ones cannot be loaded twice and stay. What softstep
    # itself loads is loaded in its order, whichever of them is asked for.
    code = f"""
    import importlib, sys
    import numpy, softstep
    for name in sorted(set({names!r}) - (set(sys.modules) - {{"softstep"}})):
        for loaded in list(sys.modules):
            native = loaded.rpartition(".")[2].startswith(("_native_", "_cpu", "_permutation"))
            if loaded.partition(".")[0] == "softstep" and not native:
                del sys.modules[loaded]
        importlib.import_module(name)
    """
    fresh_python.run(code)
