#include "kernels/softmax.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

int64_t last_axis(const char* name, const py::array& a) {
  if (a.ndim() < 1) wrong_shape(name, a, "at least one axis");
  const int64_t columns = a.shape(a.ndim() - 1);
  if (columns == 0) wrong_shape(name, a, "at least one element along the axis");
  return columns;
}

// out and logits of one shape, worked row by row along the last axis.
template <class Kernel>
void row_by_row(py::array& out, const py::array& logits, Kernel kernel) {
  with_float("logits", logits, [&]<class T>(T) {
    const int64_t columns = last_axis("logits", logits);
    const T* x = input<T>("logits", logits);
    check_shape_of("out", out, logits);
    T* y = output<T>("out", out);
    check_overlap("out", out, "logits", logits, Same::accepted);
    without_gil([&, rows = logits.size() / columns] { kernel(y, x, rows, columns); });
  });
}

void softmax(py::array out, const py::array& logits, int threads) {
  row_by_row(out, logits,
             [=](auto* y, auto* x, int64_t rows, int64_t columns) { softmax_forward(y, x, rows, columns, threads); });
}

void log_softmax(py::array out, const py::array& logits, int threads) {
  row_by_row(out, logits, [=](auto* y, auto* x, int64_t rows, int64_t columns) {
    log_softmax_forward(y, x, rows, columns, threads);
  });
}

void logsumexp(py::array out, const py::array& logits, int threads) {
  with_float("logits", logits, [&]<class T>(T) {
    const int64_t columns = last_axis("logits", logits);
    const T* x = input<T>("logits", logits);
    check_shape_of("out", out, logits, logits.ndim() - 1);
    T* y = output<T>("out", out);
    check_overlap("out", out, "logits", logits, Same::refused);
    without_gil([&, rows = logits.size() / columns] { logsumexp_forward(y, x, rows, columns, threads); });
  });
}

}  // namespace

void bind_softmax(py::module_& m) {
  // For an axis that is not the last, Python works on a transposed copy and checks `out` with this beforehand.
  m.def(
      "check_out",
      [](py::array out, const py::array& logits) { row_by_row(out, logits, [](auto*, auto*, int64_t, int64_t) {}); },
      py::arg("out"), py::arg("logits"));
  m.def("softmax", &softmax, py::arg("out"), py::arg("logits"), py::arg("threads"));
  m.def("log_softmax", &log_softmax, py::arg("out"), py::arg("logits"), py::arg("threads"));
  m.def("logsumexp", &logsumexp, py::arg("out"), py::arg("logits"), py::arg("threads"));
}

}  // namespace softstep
