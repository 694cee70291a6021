#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"
#include "simd/vec.hpp"

namespace softstep {

namespace {

unsigned long main_thread = 0;

// Runs Python's signal handlers; true if one raised (Ctrl-C). Only the main thread runs them; others do not ask for the
// GIL.
bool poll_signals() {
  if (PyThread_get_thread_ident() != main_thread) return false;
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return raised;
}

}  // namespace

void bind_runtime(py::module_& m) {
  main_thread = py::cast<unsigned long>(py::module_::import("threading").attr("main_thread")().attr("ident"));
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
