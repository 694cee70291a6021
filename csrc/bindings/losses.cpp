#include "kernels/losses.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// The sum of the elements' losses. With `mean` the gradient is divided by the number of elements.
double squared_error_into(std::optional<py::array> element_loss, std::optional<py::array> dprediction,
                          const py::array& prediction, const py::array& target, bool mean, int threads) {
  return with_float("prediction", prediction, [&]<class T>(T) {
    SquaredError<T> p{};
    p.size = prediction.size();
    p.prediction = input<T>("prediction", prediction);
    check_shape_of("target", target, prediction);
    p.target = input<T>("target", target);
    for (auto [array, place] : {std::pair{&element_loss, &p.element_loss}, std::pair{&dprediction, &p.dprediction}}) {
      if (!*array) continue;
      check_shape_of("out", **array, prediction);
      *place = output<T>("out", **array);
      check_overlap("out", **array, "prediction", prediction, Same::accepted);
      check_overlap("out", **array, "target", target, Same::refused);
    }
    p.weight = mean && p.size ? static_cast<T>(1.0 / static_cast<double>(p.size)) : T(1);
    double sum = 0;
    without_gil([&] { sum = squared_error(p, threads); });
    return sum;
  });
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def("squared_error", &squared_error_into, py::arg("element_loss"), py::arg("dprediction"), py::arg("prediction"),
        py::arg("target"), py::arg("mean"), py::arg("threads"));
}

}  // namespace softstep
