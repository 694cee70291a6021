#include "kernels/optimizers.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

void sgd_step_into(py::array param, std::optional<py::array> momentum_buffer, const py::array& grad, double lr,
                   double momentum, double dampening, double weight_decay, bool nesterov, bool maximize,
                   bool first_step, int threads) {
  with_float("param", param, [&]<class T>(T) {
    T* p = output<T>("param", param);
    check_shape_of("grad", grad, param);
    const T* g = input<T>("grad", grad);
    check_overlap("param", param, "grad", grad, Same::refused);
    T* buffer = nullptr;
    if (momentum_buffer) {
      check_shape_of("momentum_buffer", *momentum_buffer, param);
      buffer = output<T>("momentum_buffer", *momentum_buffer);
      check_overlap("momentum_buffer", *momentum_buffer, "param", param, Same::refused);
      check_overlap("momentum_buffer", *momentum_buffer, "grad", grad, Same::refused);
    } else if (momentum != 0) {
      throw py::value_error("momentum_buffer is None; accepted with momentum=0 only");
    }
    const Sgd<T> rule{T(lr), T(momentum), T(dampening), T(weight_decay), nesterov, maximize, first_step};
    without_gil([&] { sgd_step(p, momentum != 0 ? buffer : nullptr, g, param.size(), rule, threads); });
  });
}

}  // namespace

void bind_optimizers(py::module_& m) {
  m.def("sgd_step", &sgd_step_into, py::arg("param"), py::arg("momentum_buffer"), py::arg("grad"), py::arg("lr"),
        py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"), py::arg("maximize"),
        py::arg("first_step"), py::arg("threads"));
}

}  // namespace softstep
