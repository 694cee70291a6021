#include "kernels/train_step.hpp"

#include <algorithm>

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

std::string at(const char* name, int64_t i) { return std::string(name) + "[" + std::to_string(i) + "]"; }

// Every row that the order names must exist, and its label must be a class.
void check_rows(const int64_t* order, int64_t rows, int64_t n, const int64_t* labels, int64_t classes) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = order ? order[i] : i;
    if (static_cast<std::uint64_t>(row) >= static_cast<std::uint64_t>(n))
      throw py::index_error(at("order", i) + " is " + std::to_string(row) + "; accepted: row numbers 0 to " +
                            std::to_string(n - 1));
    if (labels && static_cast<std::uint64_t>(labels[row]) >= static_cast<std::uint64_t>(classes))
      throw py::index_error(at("target", row) + " is " + std::to_string(labels[row]) + "; accepted: classes 0 to " +
                            std::to_string(classes - 1));
  }
}

// Features: rows in any stride, each row contiguous.
template <class T>
void take_features(TrainProblem<T>& p, const py::array& x) {
  check_ndim("x", x, 2, "(n, K)");
  with_feature("x", x, [&]<class X>(X) { p.feature = feature_of<X>(); });
  if (x.size() > 0 && x.shape(1) > 1 && x.strides(1) != x.itemsize())
    throw py::value_error("x has columns that are not contiguous; accepted: contiguous rows");
  if (!(x.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    throw py::value_error("x is not aligned to its items; accepted: an aligned array");
  p.x = x.data();
  p.row_bytes = x.strides(0);
  p.features = x.shape(1);
}

// What training writes; evaluation only reads it.
enum class Use { read, written };

template <class T>
T* take_parameter(const char* name, py::array& a, std::initializer_list<int64_t> shape, const py::array& x,
                  const py::array& target, Use use = Use::written) {
  check_shape(name, a, shape);
  if (use == Use::read) return const_cast<T*>(input<T>(name, a));
  T* data = output<T>(name, a);
  check_overlap(name, a, "x", x, Same::refused);
  check_overlap(name, a, "target", target, Same::refused);
  return data;
}

// What train and evaluate have in common.
template <class T>
TrainProblem<T> problem(const py::array& x, const py::array& target, bool labels, const std::optional<py::array>& order,
                        py::array& weight, std::optional<py::array>& bias, const std::optional<py::array>& scale,
                        const std::optional<py::array>& shift, Use use) {
  TrainProblem<T> p{};
  take_features(p, x);
  check_ndim("weight", weight, 2, "(C, K)");
  p.outputs = weight.shape(0);
  if (p.outputs == 0) wrong_shape("weight", weight, "(C, K) with at least one output");
  p.weight = take_parameter<T>("weight", weight, {p.outputs, p.features}, x, target, use);
  if (bias) {
    p.bias = take_parameter<T>("bias", *bias, {p.outputs}, x, target, use);
    if (use == Use::written) check_overlap("bias", *bias, "weight", weight, Same::refused);
  }
  if (scale) check_shape("scale", *scale, {p.features}), p.scale = input<T>("scale", *scale);
  if (shift) check_shape("shift", *shift, {p.features}), p.shift = input<T>("shift", *shift);
  if (labels) {
    check_shape("target", target, {x.shape(0)});
    p.labels = input<int64_t>("target", target);
  } else {
    check_shape("target", target, {x.shape(0), p.outputs});
    p.targets = input<T>("target", target);
  }
  p.rows = x.shape(0);
  if (order) {
    check_ndim("order", *order, 1, "(rows,)");
    p.order = input<int64_t>("order", *order);
    p.rows = order->shape(0);
  }
  check_rows(p.order, p.rows, x.shape(0), p.labels, p.outputs);
  return p;
}

py::tuple result(const TrainResult& r) { return py::make_tuple(r.loss, r.correct, r.rows, r.steps, r.bad_row); }

py::tuple train_into(py::array weight, std::optional<py::array> bias, std::optional<py::array> weight_buffer,
                     std::optional<py::array> bias_buffer, const py::array& x, const py::array& target, bool labels,
                     const py::array& order, std::optional<py::array> scale, std::optional<py::array> shift,
                     int64_t batch_size, double lr, double momentum, double dampening, double weight_decay,
                     bool nesterov, bool maximize, bool first_step, int threads) {
  return with_float("weight", weight, [&]<class T>(T) {
    TrainProblem<T> p = problem<T>(x, target, labels, order, weight, bias, scale, shift, Use::written);
    if (batch_size < 1) throw py::value_error("batch_size is " + std::to_string(batch_size) + "; accepted: at least 1");
    p.batch_size = std::min(batch_size, std::max<int64_t>(p.rows, 1));
    if (momentum != 0) {
      if (!weight_buffer || (bias && !bias_buffer))
        throw py::value_error("momentum_buffers is missing an array; accepted: one for weight and one for bias");
      p.weight_buffer = take_parameter<T>("momentum_buffers[0]", *weight_buffer, {p.outputs, p.features}, x, target);
      check_overlap("momentum_buffers[0]", *weight_buffer, "weight", weight, Same::refused);
      if (bias) {
        p.bias_buffer = take_parameter<T>("momentum_buffers[1]", *bias_buffer, {p.outputs}, x, target);
        check_overlap("momentum_buffers[1]", *bias_buffer, "bias", *bias, Same::refused);
      }
    }
    p.rule = {T(lr), T(momentum), T(dampening), T(weight_decay), nesterov, maximize, first_step};
    TrainResult r;
    without_gil([&] { r = train(p, threads); });
    return result(r);
  });
}

py::tuple evaluate_into(py::array weight, std::optional<py::array> bias, const py::array& x, const py::array& target,
                        bool labels, std::optional<py::array> order, std::optional<py::array> scale,
                        std::optional<py::array> shift, int threads) {
  return with_float("weight", weight, [&]<class T>(T) {
    const TrainProblem<T> p = problem<T>(x, target, labels, order, weight, bias, scale, shift, Use::read);
    TrainResult r;
    without_gil([&] { r = evaluate(p, threads); });
    return result(r);
  });
}

}  // namespace

void bind_train_step(py::module_& m) {
  m.def("train", &train_into, py::arg("weight"), py::arg("bias"), py::arg("weight_buffer"), py::arg("bias_buffer"),
        py::arg("x"), py::arg("target"), py::arg("labels"), py::arg("order"), py::arg("scale"), py::arg("shift"),
        py::arg("batch_size"), py::arg("lr"), py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"),
        py::arg("nesterov"), py::arg("maximize"), py::arg("first_step"), py::arg("threads"));
  m.def("evaluate", &evaluate_into, py::arg("weight"), py::arg("bias"), py::arg("x"), py::arg("target"),
        py::arg("labels"), py::arg("order"), py::arg("scale"), py::arg("shift"), py::arg("threads"));
}

}  // namespace softstep
