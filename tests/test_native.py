"""The compiled modules: one surface on every level, the choice between them, what they export."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import platform
import re
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fresh_python
import numpy as np
import pytest

import softstep
from softstep import _native, kernels

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(softstep.__file__).parent
ON_X86_64 = platform.machine().lower() in ("x86_64", "amd64")
LEVELS = ("v2", "v3", "v4") if ON_X86_64 else ("base",)

# The surface of every module


def kind(annotation: str) -> str:
    """An annotation without its spelling, which differs between stub and pybind11's versions."""
    text = annotation.lower()
    optional = " or None" if "none" in text or "optional" in text else ""
    if text == "none":
        return "None"
    names = {"array": "array", "float": "float", "bool": "bool", "int": "int", "dict": "dict",
             "str": "str", "object": "anything", "any": "anything"}  # fmt: skip
    if "tuple" in text:
        return "tuple"
    return next(kind for name, kind in names.items() if name in text) + optional


def signature(function: ast.FunctionDef) -> tuple[Any, ...]:
    """Names, kinds and order of the arguments, and what comes back."""
    arguments = function.args
    names = [argument.arg for argument in arguments.args]
    types = [*(argument.annotation for argument in arguments.args), function.returns]
    # No defaults, nothing by keyword only: Python's wrappers give every argument.
    given = (arguments.vararg, arguments.kwarg, arguments.kwonlyargs, arguments.posonlyargs)
    assert not any((*given, arguments.defaults))
    assert None not in types, f"{function.name} is not fully typed"
    return tuple(names), [kind(ast.unparse(node)) for node in types if node]


def stub() -> dict[str, ast.FunctionDef]:
    body = ast.parse((PACKAGE / "_native" / "_module.pyi").read_text(encoding="utf-8")).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    assert not [node for node in body if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)]
    return {function.name: function for function in functions}


def described(function: Any) -> ast.FunctionDef:
    """The signature in the first line of pybind11's docstring."""
    node = ast.parse(f"def {function.__doc__.splitlines()[0]}: ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def test_functions_of_the_stub_and_nothing_else(level: str) -> None:
    names = {name for name in vars(_native.module) if not re.fullmatch(r"__\w+__", name)}
    assert names == set(stub())
    for name in names:
        assert type(getattr(_native.module, name)) is types.BuiltinFunctionType, name


def test_signatures_of_the_stub(level: str) -> None:
    for name, function in stub().items():
        found = described(getattr(_native.module, name))
        assert found.name == name
        assert signature(found) == signature(function), name


def test_arguments_are_known_by_these_names(level: str) -> None:
    """The names are no mere text: they work as keywords, and other ones do not."""
    logits = np.zeros((2, 3))
    out = np.empty_like(logits)
    _native.module.softmax(threads=1, temperature=1.0, axis=-1, logits=logits, out=out)
    assert (out == 1 / 3).all()
    with pytest.raises(TypeError):
        _native.module.softmax(out, logits, 1, 1.0, 1, axis=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        _native.module.softmax(out, x=logits, axis=1, temperature=1.0, threads=1)  # type: ignore[call-arg]


def test_native_functions_convert_no_array(level: str) -> None:
    """An output that had to be converted would be filled and thrown away."""
    logits = np.zeros((2, 3))
    for wrong in (logits.astype(np.float32), logits.tolist(), np.zeros((2, 3), int), None):
        with pytest.raises((TypeError, ValueError)):
            _native.module.softmax(wrong, logits, 1, 1.0, 1)  # type: ignore[arg-type]


def test_native_functions_refuse_what_they_would_read_wrongly(level: str) -> None:
    """A scale without a shift, where both are read; objects, which are more than their bytes."""
    module = _native.module
    x, w, b = np.ones((4, 3)), np.ones((2, 3)), np.ones(2)
    scale, labels, order = np.ones(3), np.zeros(4, np.int64), np.arange(4)
    sgd = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0,
           "nesterov": False, "maximize": False, "first_step": False}  # fmt: skip
    calls: list[Any] = [
        lambda: module.linear(np.ones((4, 2)), x, w, b, None, scale, None, "none", 1),
        lambda: module.linear_backward(
            None, w.copy(), b.copy(), x, w, np.ones((4, 2)), None, scale, None, "none", 1
        ),
        lambda: module.train_mlp(
            None, [w, b], [], x, labels, order, scale, None, "none", 2, "sgd", sgd, None, 1
        ),
        lambda: module.linear_cross_entropy(
            None, None, None, None, None, None, x, w, b, labels, None, None, -100, 0.0, 0.0,
            scale, None, True, False, 1,
        ),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="scale is given without shift; accepted: both"):
            call()
    objects = np.full((4, 3), object())
    with pytest.raises(TypeError, match="x has dtype object"):
        module.gather_rows(objects.copy(), objects, None, None, None, 1)


def test_levels_are_compiled_for_their_vectors(level: str) -> None:
    wanted = {"v2": 16, "v3": 32, "v4": 64, "base": 16}[level]
    assert _native.module.build()["vector_bytes"] == wanted


@pytest.mark.parametrize("name", LEVELS)
def test_every_level_is_installed(name: str) -> None:
    """Whether or not this machine can run it."""
    found = importlib.util.find_spec(f"softstep._native._native_{name}")
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).is_file()


# What the files export


def exported(path: Path) -> Iterator[tuple[str, int]]:
    """Names and bindings of the dynamic symbols that a 64-bit ELF file defines."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", f"{path.name} is no such file"
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    # name, type, flags, address, offset, size, link, info, alignment, entry size
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + size * i) for i in range(count)]
    (symbols,) = (section for section in sections if section[1] == 11)  # SHT_DYNSYM
    names = sections[symbols[6]][4]
    for at in range(symbols[4], symbols[4] + symbols[5], symbols[9]):
        name, info, _, section = struct.unpack_from("<IBBH", data, at)
        if section:  # 0: used here, defined elsewhere
            end = data.index(b"\0", names + name)
            yield data[names + name : end].decode(), info >> 4


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: reads ELF files")
@pytest.mark.parametrize("name", [*(f"_native_{level}" for level in LEVELS), "_cpu"])
def test_hidden_visibility(name: str) -> None:
    """One strong symbol; weak ones are of the standard library, which compiles into every user."""
    found = importlib.util.find_spec(f"softstep._native.{name}")
    assert found is not None
    assert found.origin is not None
    symbols = [
        (symbol, binding)
        for symbol, binding in exported(Path(found.origin))
        if not symbol.startswith("__odr_asan")  # a sanitizer's
    ]
    strong = [symbol for symbol, binding in symbols if binding == 1]
    assert strong == [f"PyInit_{name}"]
    assert not [symbol for symbol, binding in symbols if binding != 1 and "softstep" in symbol]


# The choice of a level

REPORT = """
import json, softstep
config = softstep.show_config()
print(json.dumps([config["level"], config["reason"], softstep._native.module.__name__]))
"""


def failure(code: str, **environment: str) -> str:
    """The last line of a script that has to end in an error."""
    done = fresh_python.start(code, **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    return str(done.stderr.splitlines()[-1])


def with_levels(*levels: str) -> str:
    """A script on a machine that supports these levels, as far as the probe can tell."""
    return f"""
import sys, types
probe = types.ModuleType("softstep._native._cpu")
probe.supported_levels = lambda: {levels!r}
sys.modules[probe.__name__] = probe
{REPORT}"""


def test_the_best_level_is_the_default() -> None:
    name, reason, module = fresh_python.answer(REPORT)
    assert name == _native.supported[-1]
    assert reason == "the best this processor supports"
    assert module == f"softstep._native._native_{name}"


def test_softstep_isa(level: str) -> None:
    name, reason, module = fresh_python.answer(REPORT, SOFTSTEP_ISA=level)
    assert name == level
    assert reason == "set by SOFTSTEP_ISA"
    assert module == f"softstep._native._native_{level}"


@pytest.mark.parametrize("value", ["avx2", "V3", "v1", "3", "../v2"])
def test_unknown_level(value: str) -> None:
    error = failure(REPORT, SOFTSTEP_ISA=value)
    assert error.startswith("ImportError: ")
    for part in ("SOFTSTEP_ISA", repr(value), ", ".join(_native.supported)):
        assert part in error


def test_level_that_the_processor_lacks() -> None:
    lowest = _native.supported[0]
    assert fresh_python.answer(with_levels(lowest))[0] == lowest
    error = failure(with_levels(lowest), SOFTSTEP_ISA="v4")
    assert error.startswith("ImportError: ")
    assert re.search(rf"SOFTSTEP_ISA='v4'.*accepted: {lowest}$", error)


def test_processor_that_is_too_old() -> None:
    error = failure(with_levels())
    assert error.startswith("ImportError: ")
    assert "x86-64-v2" in error
    assert failure(with_levels(), SOFTSTEP_ISA="v2").startswith("ImportError: ")


def test_processor_that_is_too_old_for_numpy() -> None:
    """NumPy may end in an illegal instruction there, so nothing imports it before the check."""
    error = failure("import sys\nsys.modules['numpy'] = None" + with_levels())
    assert error.startswith("ImportError: ")
    assert "x86-64-v2" in error


def test_use_restores() -> None:
    before = _native.level, _native.module
    for level in _native.supported:
        with _native.use(level):
            assert _native.level == softstep.show_config()["level"] == level
            assert _native.module.__name__.endswith(f"_native_{level}")
            for inner in _native.supported:
                with _native.use(inner):
                    assert _native.level == inner
                assert _native.level == level
        assert (_native.level, _native.module) == before
        with pytest.raises(KeyError), _native.use(level):
            raise KeyError
        assert (_native.level, _native.module) == before


def test_use_of_an_unknown_level() -> None:
    before = _native.level, _native.module
    wanted = rf"'v9'.*accepted: {', '.join(_native.supported)}"
    with pytest.raises(ImportError, match=wanted), _native.use("v9"):
        pytest.fail("accepted")
    assert (_native.level, _native.module) == before


def test_kernels_follow_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels look the module up at each call."""
    called = []

    class Module:
        def __getattr__(self, name: str) -> Any:
            called.append(name)
            return getattr(_native.load(_native.level), name)

    monkeypatch.setattr(_native, "module", Module())
    kernels.softmax([0.0, 1.0])
    assert "softmax" in called


# What show_config says


def test_configuration(level: str) -> None:
    config = softstep.show_config()
    assert config["version"] == softstep.__version__ == importlib.metadata.version("softstep")
    assert config["level"] == level
    assert config["supported"] == list(_native.supported)
    assert set(_native.supported) <= set(LEVELS)
    assert isinstance(config["reason"], str)
    assert config["reason"]
    assert re.search(r"\d+\.\d+", str(config["compiler"]))
    assert isinstance(config["openmp"], bool)
    assert config["vector_bytes"] == _native.module.build()["vector_bytes"]
    assert isinstance(config["processor"], str)
    assert config["processor"]
    assert config["cpus"] == os.cpu_count()
    threads = config["threads"]
    assert isinstance(threads, int)
    assert threads >= 1


def test_configuration_is_a_copy() -> None:
    supported = softstep.show_config()["supported"]
    assert isinstance(supported, list)
    supported.clear()
    assert softstep.show_config()["supported"] == list(_native.supported)


# What is shipped


def test_typed() -> None:
    """py.typed, and a stub beside every compiled module that users or mypy meet."""
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_native" / "_module.pyi").is_file()
    assert (PACKAGE / "data" / "_permutation.pyi").is_file()


def test_stub_of_the_permutation() -> None:
    """Classes, methods and functions of the stub are those of the Cython module."""
    from softstep.data import _permutation

    tree = ast.parse((PACKAGE / "data" / "_permutation.pyi").read_text(encoding="utf-8"))
    declared = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    public = {
        name
        for name, value in vars(_permutation).items()
        if getattr(value, "__module__", None) == _permutation.__name__ and name[0] != "_"
    }
    assert public == {node.name for node in declared}
    for node in declared:
        if isinstance(node, ast.ClassDef):
            methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
            own = vars(getattr(_permutation, node.name))
            assert methods - set(own) - {"__init__"} == set()
            assert {name for name in own if name[0] != "_"} == {
                name for name in methods if name[0] != "_"
            }


# What no build may use: code for the builder's own processor, arithmetic that is not IEEE's.
FORBIDDEN = re.compile(
    r"""-m(arch|tune|cpu)=native | -Ofast | -mdaz-ftz | -mrecip | -ffp-contract=(fast|on)
    | -f(fast-math|unsafe-math-optimizations|finite-math-only|associative-math)
    | -f(reciprocal-math|no-signed-zeros)
    | SET_FLUSH_ZERO_MODE | SET_DENORMALS_ZERO_MODE | _(mm_)?setcsr | ldmxcsr
    | \bfe(setround|setenv)\b | \b__attribute__\s*\(\(\s*(optimize|target)\b
    | \bpragma\s+(GCC\s+(optimize|target)|clang\s+fp|STDC)""",
    re.VERBOSE,
)


def sources() -> list[Path]:
    folder = PROJECT / "csrc"
    files = [path for path in folder.rglob("*") if path.suffix in (".cpp", ".hpp", ".h", ".c")]
    assert len(files) > 10
    return [PROJECT / "CMakeLists.txt", PROJECT / "pyproject.toml", *files]


def test_flags() -> None:
    for path in sources():
        text = path.read_text(encoding="utf-8")
        # Comments may name what is not used.
        comment = r"//[^\n]*|/\*.*?\*/" if path.parent != PROJECT else r"#[^\n]*"
        text = re.sub(comment, "", text, flags=re.DOTALL)
        found = FORBIDDEN.search(text)
        assert found is None, f"{path.relative_to(PROJECT)}: {found and found.group()}"
    assert "-ffp-contract=off" in (PROJECT / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", ["-march=native", "-ffast-math", "_MM_SET_FLUSH_ZERO_MODE(1)", "_mm_setcsr(0)",
             "#pragma GCC optimize(3)", "fesetround(0)", "__attribute__((target(1)))"],
)  # fmt: skip
def test_the_flag_rule_finds(text: str) -> None:
    assert FORBIDDEN.search(text)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_numbers(level: str, dtype: Any) -> None:
    """No thread of a kernel flushes them to zero, and the caller does not afterwards either."""
    small = float(np.finfo(dtype).tiny) / 8
    param = np.full(300_007, small, dtype)
    for threads in (1, 3):
        kernels.sgd_step(param, np.zeros_like(param), lr=0.5, threads=threads)
        assert (param == small).all()
        x = np.full((20_000, 3), small, dtype)
        got = kernels.linear(x, np.ones((2, 3), dtype), threads=threads)
        assert (got == 3 * small).all()
        logits = np.array([0.0, np.log(small)], dtype)
        got = kernels.softmax(np.tile(logits, (100_000, 1)), threads=threads)
        np.testing.assert_allclose(got[:, 1], small, rtol=1e-2)
        assert ((param + param) / 2 == small).all()
    assert (np.full(100, small, dtype) * np.full(100, 0.5, dtype) == small / 2).all()
