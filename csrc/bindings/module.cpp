// Table of contents of the compiled module; built once per instruction-set level, as _native_<level>.
#include "bindings/rooms.hpp"

#define SOFTSTEP_JOIN(a, b) a##b
#define SOFTSTEP_MODULE(level) SOFTSTEP_JOIN(_native_, level)

PYBIND11_MODULE(SOFTSTEP_MODULE(SOFTSTEP_LEVEL), m, pybind11::mod_gil_not_used()) {
  m.doc() = "softstep's kernels, compiled for one instruction-set level";
  softstep::bind_runtime(m);
  softstep::bind_softmax(m);
  softstep::bind_cross_entropy(m);
  softstep::bind_linear(m);
  softstep::bind_linear_cross_entropy(m);
  softstep::bind_losses(m);
  softstep::bind_optimizers(m);
  softstep::bind_train_step(m);
  softstep::bind_train_mlp(m);
  softstep::bind_gather_rows(m);
  softstep::bind_limits(m);
}
