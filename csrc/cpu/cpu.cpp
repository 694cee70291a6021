// The probe: which instruction-set levels do this processor and its operating system support?
//
// Compiled for the oldest processor of the architecture and loaded before anything else. The levels are those of
// the x86-64 psABI: v2 (SSE4.2), v3 (AVX2, FMA), v4 (AVX-512 F, BW, CD, DQ, VL). A level counts only when the
// operating system saves the registers it uses (XCR0), which CPUID alone does not tell.
// Plain C API: a probe needs no more.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>

namespace {

struct Leaf {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
};

Leaf cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Leaf r;
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool has(std::uint32_t word, std::initializer_list<int> bits) {
  for (int bit : bits)
    if (!(word >> bit & 1)) return false;
  return true;
}

std::uint64_t enabled_state() {  // XCR0: the register sets that the operating system saves
  std::uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

std::vector<std::string> supported_levels() {
  std::vector<std::string> levels;
  const Leaf basic = cpuid(1), extended = cpuid(7), amd = cpuid(0x80000001u);
  const int sse3 = 0, ssse3 = 9, cx16 = 13, sse41 = 19, sse42 = 20, popcnt = 23, lahf = 0;
  if (!has(basic.c, {sse3, ssse3, cx16, sse41, sse42, popcnt}) || !has(amd.c, {lahf})) return levels;
  levels.push_back("v2");
  const int fma = 12, movbe = 22, osxsave = 27, avx = 28, f16c = 29, lzcnt = 5;
  if (!has(basic.c, {fma, movbe, osxsave, avx, f16c}) || !has(amd.c, {lzcnt})) return levels;
  const int bmi1 = 3, avx2 = 5, bmi2 = 8;
  const std::uint64_t xmm_ymm = 0x06, opmask_zmm = 0xe0;
  if (!has(extended.b, {bmi1, avx2, bmi2}) || (enabled_state() & xmm_ymm) != xmm_ymm) return levels;
  levels.push_back("v3");
  const int f = 16, dq = 17, cd = 28, bw = 30, vl = 31;
  if (!has(extended.b, {f, dq, cd, bw, vl}) || (enabled_state() & opmask_zmm) != opmask_zmm) return levels;
  levels.push_back("v4");
  return levels;
}

}  // namespace
#else
namespace {
std::vector<std::string> supported_levels() { return {"base"}; }
}  // namespace
#endif

namespace {

PyObject* supported(PyObject*, PyObject*) {
  const auto levels = supported_levels();
  PyObject* names = PyTuple_New(static_cast<Py_ssize_t>(levels.size()));
  for (std::size_t i = 0; names && i < levels.size(); ++i) {
    PyObject* name = PyUnicode_FromString(levels[i].c_str());
    if (!name) Py_CLEAR(names);
    else PyTuple_SET_ITEM(names, static_cast<Py_ssize_t>(i), name);
  }
  return names;
}

PyMethodDef methods[] = {{"supported_levels", supported, METH_NOARGS, "The levels this machine can run, lowest first."},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef_Slot slots[] = {
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "_cpu",
                          "What this processor and operating system support.",
                          0,
                          methods,
                          slots,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__cpu() { return PyModuleDef_Init(&definition); }
