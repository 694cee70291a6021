#include "kernels/train_step.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"
#include "bindings/training.hpp"

namespace softstep {

namespace {

// What train and evaluate have in common.
template <class T>
TrainProblem<T> problem(const py::array& x, const py::array& target, bool labels, const std::optional<py::array>& order,
                        py::array& weight, std::optional<py::array>& bias, const std::optional<py::array>& scale,
                        const std::optional<py::array>& shift, Use use) {
  TrainProblem<T> p{};
  p.x = features<T>("x", x, scale, shift, ScaleAlone::accepted);
  check_ndim("weight", weight, 2, "(C, K)");
  p.outputs = weight.shape(0);
  if (p.outputs == 0) wrong_shape("weight", weight, "(C, K) with at least one output");
  p.weight = take_parameter<T>("weight", weight, {p.outputs, p.x.columns}, use);
  if (bias) p.bias = take_parameter<T>("bias", *bias, {p.outputs}, use);
  if (labels) {
    check_shape("target", target, {x.shape(0)});
    p.labels = input<int64_t>("target", target);
  } else {
    check_shape("target", target, {x.shape(0), p.outputs});
    p.targets = input<T>("target", target);
  }
  p.rows = x.shape(0);
  if (order) {
    p.x.order = row_order(*order, x.shape(0));
    p.rows = order->shape(0);
  }
  if (p.labels) check_labels(p.labels, x.shape(0), p.x.order, p.rows, p.outputs);
  return p;
}

py::tuple train_into(std::optional<py::array> applied, py::array weight, std::optional<py::array> bias,
                     OptionalArrays weight_states, OptionalArrays bias_states, const py::array& x,
                     const py::array& target, bool labels, const py::array& order, std::optional<py::array> scale,
                     std::optional<py::array> shift, int64_t batch_size, const std::string& rule_name,
                     const py::dict& settings, std::optional<double> max_norm, int threads) {
  const RuleSettings rule_settings = read_settings(rule_name, settings);
  return with_float("weight", weight, [&]<class T>(T) {
    TrainProblem<T> p = problem<T>(x, target, labels, order, weight, bias, scale, shift, Use::written);
    p.batch_size = take_batch_size(batch_size, p.rows);
    p.max_norm = take_max_norm(max_norm);
    // `order` is checked once and then read for each minibatch: a step must not write it.
    Apart apart;
    apart.reads("x", x).reads("target", target).reads("order", order).reads("scale", scale).reads("shift", shift);
    apart.writes("weight", weight);
    if (bias) apart.writes("bias", *bias);
    p.applied = take_applied(applied, apart);
    TrainResult r;
    with_rule<T>(rule_settings, [&]<class Rule>(const Rule& rule) {
      const auto name = [&](std::size_t k, bool of_bias) {
        if (rule_name == "sgd") return std::string("momentum_buffers[") + (of_bias ? "1]" : "0]");
        return "states[" + std::to_string(k) + "] of " + (of_bias ? "bias" : "weight");
      };
      for (std::size_t k = 0; k < Rule::states; ++k) {
        if (!rule.uses(static_cast<int>(k))) continue;
        p.weight_state[k] = take_state<T>(name(k, false), k, weight_states, {p.outputs, p.x.columns}, apart);
        if (bias) p.bias_state[k] = take_state<T>(name(k, true), k, bias_states, {p.outputs}, apart);
      }
      without_gil([&] { r = train(p, rule, threads); });
    });
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
  m.def("train", &train_into, py::arg("applied"), py::arg("weight"), py::arg("bias"), py::arg("weight_states"),
        py::arg("bias_states"), py::arg("x"), py::arg("target"), py::arg("labels"), py::arg("order"), py::arg("scale"),
        py::arg("shift"), py::arg("batch_size"), py::arg("rule"), py::arg("settings"), py::arg("max_norm"),
        py::arg("threads"));
  m.def("evaluate", &evaluate_into, py::arg("weight"), py::arg("bias"), py::arg("x"), py::arg("target"),
        py::arg("labels"), py::arg("order"), py::arg("scale"), py::arg("shift"), py::arg("threads"));
}

}  // namespace softstep
