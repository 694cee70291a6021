#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"
#include "simd/vec.hpp"

namespace softstep {

namespace {

// Runs Python's signal handlers; true if one raised (Ctrl-C). Outside the main thread there is nothing to run.
bool poll_signals() {
  py::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() != 0;
}

}  // namespace

void bind_runtime(py::module_& m) {
  set_poll(poll_signals);
  m.def("build", [] {
    py::dict info;
#if defined(__clang__)
    info["compiler"] = __VERSION__;
#else
    info["compiler"] = "GCC " __VERSION__;
#endif
    info["openmp"] = has_openmp();
    info["vector_bytes"] = vector_bytes;
    return info;
  });
  m.def("default_threads", [] { return default_threads(); });
}

}  // namespace softstep
