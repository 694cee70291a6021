#include "kernels/limits.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

void check_positive(const char* name, int64_t value) {
  if (value < 1) throw py::value_error(std::string(name) + " is " + std::to_string(value) + "; accepted: at least 1");
}

double read(const py::array& x, int repeats, int threads) {
  const float* data = input<float>("x", x);
  check_positive("repeats", repeats);
  double sum = 0;
  without_gil([&] { sum = read_stream(data, x.size(), repeats, threads); });
  return sum;
}

void copy(py::array out, const py::array& x, bool streaming, int repeats, int threads) {
  const float* data = input<float>("x", x);
  check_shape_of("out", out, x);
  float* written = output<float>("out", out);
  check_overlap("out", out, "x", x, Same::refused);
  check_positive("repeats", repeats);
  without_gil([&] { copy_stream(written, data, x.size(), streaming, repeats, threads); });
}

std::pair<double, double> multiply_add(int64_t steps, int threads) {
  check_positive("steps", steps);
  MultiplyAdds done{};
  without_gil([&] { done = multiply_add_loop(steps, threads); });
  return {done.sum, done.operations};
}

}  // namespace

void bind_limits(py::module_& m) {
  m.def("read_stream", &read, py::arg("x"), py::arg("repeats"), py::arg("threads"));
  m.def("copy_stream", &copy, py::arg("out"), py::arg("x"), py::arg("streaming"), py::arg("repeats"),
        py::arg("threads"));
  m.def("multiply_add_loop", &multiply_add, py::arg("steps"), py::arg("threads"));
}

}  // namespace softstep
