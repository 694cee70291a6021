#include "kernels/losses.hpp"

#include <cmath>

#include "bindings/arrays.hpp"
#include "bindings/numbers.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// Numbers for all elements: those of `a`, each `repeat` times in a row, over and over.
template <class T>
Spread<T> spread_input(const char* name, const std::optional<py::array>& a, int64_t repeat, int64_t size) {
  if (!a) return {nullptr, 1, 1};
  const Spread<T> spread{input<T>(name, *a), repeat, a->size()};
  if (repeat < 1 || (size > 0 && (spread.period == 0 || size % spread.period || size / spread.period % repeat)))
    throw py::value_error(std::string(name) + " has " + std::to_string(spread.period) + " numbers, " +
                          std::to_string(repeat) + " times each; accepted: as many as divide the " +
                          std::to_string(size) + " elements");
  return spread;
}

template <class T>
ElementLoss<T> problem(std::optional<py::array>& loss, std::optional<py::array>& slope, const char* name,
                       const py::array& x, const py::array& target, const std::optional<py::array>& weight,
                       int64_t repeat, const std::optional<py::array>& positive_weight = {}) {
  ElementLoss<T> p{};
  p.size = x.size();
  p.x = input<T>(name, x);
  check_shape_of("target", target, x);
  p.target = input<T>("target", target);
  p.weight = spread_input<T>("weight", weight, repeat, p.size);
  Apart apart;
  apart.reads(name, x).reads("target", target).reads("weight", weight).reads("pos_weight", positive_weight);
  for (auto [array, place] : {std::pair{&loss, &p.loss}, std::pair{&slope, &p.slope}}) {
    if (!*array) continue;
    check_shape_of("out", **array, x);
    *place = output<T>("out", **array);
    apart.writes("out", **array, &x);
  }
  return p;
}

// The sum of the elements' losses, and of their weights. With `mean` the gradient is divided by the latter; it is zero
// where that is zero.
py::tuple squared_error_into(std::optional<py::array> loss, std::optional<py::array> slope, const py::array& prediction,
                             const py::array& target, std::optional<py::array> weight, int64_t repeat, bool mean,
                             int threads) {
  return with_float("prediction", prediction, [&]<class T>(T) {
    ElementLoss<T> p = problem<T>(loss, slope, "prediction", prediction, target, weight, repeat);
    double sum = 0, weights = 0;
    if (mean) without_gil([&] { weights = sum_of_weights(p.weight, p.size, threads); });
    p.factor = mean ? static_cast<T>(weights != 0 ? 1 / weights : 0) : T(1);
    if (p.slope && std::abs(weights) <= 1 && std::isinf(p.factor))
      throw py::value_error("weight sums to " + number_text(weights) +
                            "; accepted: 0, or a sum by which its dtype can divide");
    without_gil([&] { sum = squared_error(p, threads); });
    return py::make_tuple(sum, weights);
  });
}

// An element's index as Python writes it.
std::string index_text(const py::array& a, int64_t flat) {
  std::string text;
  for (py::ssize_t axis = a.ndim() - 1; axis >= 0; --axis) {
    text = std::to_string(flat % a.shape(axis)) + (text.empty() ? "" : ", ") + text;
    flat /= a.shape(axis);
  }
  return text.empty() ? "" : "[" + text + "]";
}

// The sum of the elements' losses. With `mean` the gradient is divided by the number of elements.
double logistic_loss_into(std::optional<py::array> loss, std::optional<py::array> slope, const py::array& logits,
                          const py::array& target, std::optional<py::array> weight, int64_t repeat,
                          std::optional<py::array> positive_weight, int64_t positive_repeat, bool mean, int threads) {
  return with_float("logits", logits, [&]<class T>(T) {
    ElementLoss<T> p = problem<T>(loss, slope, "logits", logits, target, weight, repeat, positive_weight);
    p.positive_weight = spread_input<T>("pos_weight", positive_weight, positive_repeat, p.size);
    p.factor = mean && p.size ? static_cast<T>(1.0 / static_cast<double>(p.size)) : T(1);
    double sum = 0;
    int64_t outside = -1;
    without_gil([&] {
      outside = first_outside_unit(p.target, p.size, threads);
      if (outside < 0) sum = logistic_loss(p, threads);
    });
    if (outside >= 0)
      throw py::value_error("target" + index_text(target, outside) + " is " +
                            std::string(py::str(py::float_(static_cast<double>(p.target[outside])))) +
                            "; accepted: 0 to 1");
    return sum;
  });
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def("squared_error", &squared_error_into, py::arg("loss"), py::arg("slope"), py::arg("prediction"),
        py::arg("target"), py::arg("weight"), py::arg("repeat"), py::arg("mean"), py::arg("threads"));
  m.def("logistic_loss", &logistic_loss_into, py::arg("loss"), py::arg("slope"), py::arg("logits"), py::arg("target"),
        py::arg("weight"), py::arg("repeat"), py::arg("positive_weight"), py::arg("positive_repeat"), py::arg("mean"),
        py::arg("threads"));
}

}  // namespace softstep
