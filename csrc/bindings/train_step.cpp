#include "kernels/train_step.hpp"

#include <algorithm>

#include "bindings/arrays.hpp"
#include "bindings/numbers.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// The label of every row that the order names must be a class. All labels one after the other are looked at first: that
// is faster, if the order names many of them, and nearly always enough.
void check_labels(const int64_t* labels, int64_t count, const int64_t* order, int64_t rows, int64_t classes) {
  if (count <= 4 * rows && all_below(labels, count, classes)) return;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = order ? order[i] : i;
    if (static_cast<std::uint64_t>(labels[row]) >= static_cast<std::uint64_t>(classes))
      throw py::index_error("target[" + std::to_string(row) + "] is " + label_text(labels[row]) +
                            "; accepted: classes 0 to " + std::to_string(classes - 1));
  }
}

// What training writes; evaluation only reads it.
enum class Use { read, written };

template <class T>
T* take_parameter(const char* name, py::array& a, std::initializer_list<int64_t> shape, Use use = Use::written) {
  check_shape(name, a, shape);
  return use == Use::read ? const_cast<T*>(input<T>(name, a)) : output<T>(name, a);
}

// What train and evaluate have in common.
template <class T>
TrainProblem<T> problem(const py::array& x, const py::array& target, bool labels, const std::optional<py::array>& order,
                        py::array& weight, std::optional<py::array>& bias, const std::optional<py::array>& scale,
                        const std::optional<py::array>& shift, Use use) {
  TrainProblem<T> p{};
  p.x = features<T>("x", x, scale, shift);
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

py::tuple result(const TrainResult& r) { return py::make_tuple(r.loss, r.correct, r.rows, r.steps, r.bad_row); }

// f(rule) for the rule of that name and its settings.
template <class T, class F>
void with_rule(const std::string& name, const py::dict& settings, F f) {
  const auto setting = [&]<class Value>(const char* key, Value, const char* accepted) {
    try {
      return settings[key].template cast<Value>();
    } catch (const py::cast_error&) {
      throw py::type_error(std::string(key) + " is " + std::string(py::repr(settings[key])) +
                           "; accepted: " + accepted);
    }
  };
  const auto number = [&](const char* key, double least, double most = INFINITY) {
    const double value = setting(key, double{}, "a number");
    check_number(key, value, least, most);
    return value;
  };
  const auto flag = [&](const char* key) { return setting(key, bool{}, "True or False"); };
  const double lr = number("lr", 0), decay = number("weight_decay", 0);
  const bool maximize = flag("maximize");
  if (name == "sgd") {
    const double momentum = number("momentum", 0), dampening = number("dampening", -INFINITY);
    if (flag("nesterov") && (momentum == 0 || dampening != 0))
      throw py::value_error("nesterov is True with momentum=" + number_text(momentum) + " and dampening=" +
                            number_text(dampening) + "; accepted with a momentum above 0 and no dampening");
    f(Sgd<T>{narrow<T>("lr", lr), narrow<T>("momentum", momentum), narrow<T>("dampening", dampening),
             narrow<T>("weight_decay", decay), flag("nesterov"), maximize, flag("first_step")});
  } else if (name == "rmsprop") {
    f(Rmsprop<T>(lr, number("alpha", 0, 1), number("eps", 0), decay, number("momentum", 0), flag("centered"),
                 maximize));
  } else if (name == "adam" || name == "adamw") {
    const double beta1 = setting("beta1", double{}, "a number"), beta2 = setting("beta2", double{}, "a number");
    check_beta("betas[0]", beta1);
    check_beta("betas[1]", beta2);
    const auto step = setting("step", int64_t{}, "an integer of at least 1");
    if (step < 1) throw py::value_error("step is " + std::to_string(step) + "; accepted: at least 1");
    f(Adam<T>({lr, beta1, beta2, number("eps", 0), decay, name == "adamw", flag("amsgrad"), maximize}, step));
  } else {
    throw py::value_error("optimizer is '" + name + "'; accepted: 'sgd', 'rmsprop', 'adam', 'adamw'");
  }
}

using States = std::vector<std::optional<py::array>>;

// State k of the weight or the bias: there if the rule uses it.
template <class T>
T* take_state(const std::string& name, std::size_t k, States& states, std::initializer_list<int64_t> shape,
              Apart& apart) {
  if (k >= states.size() || !states[k])
    throw py::value_error(name + " is missing; accepted: an array like the parameter");
  apart.writes(name, *states[k]);
  return take_parameter<T>(name.c_str(), *states[k], shape);
}

py::tuple train_into(std::optional<py::array> applied, py::array weight, std::optional<py::array> bias,
                     States weight_states, States bias_states, const py::array& x, const py::array& target, bool labels,
                     const py::array& order, std::optional<py::array> scale, std::optional<py::array> shift,
                     int64_t batch_size, const std::string& rule_name, const py::dict& settings,
                     std::optional<double> max_norm, int threads) {
  return with_float("weight", weight, [&]<class T>(T) {
    TrainProblem<T> p = problem<T>(x, target, labels, order, weight, bias, scale, shift, Use::written);
    if (batch_size < 1) throw py::value_error("batch_size is " + std::to_string(batch_size) + "; accepted: at least 1");
    p.batch_size = std::min(batch_size, std::max<int64_t>(p.rows, 1));
    if (max_norm && !(*max_norm > 0))
      throw py::value_error("max_norm is " + number_text(*max_norm) + "; accepted: a number above 0, or None");
    p.max_norm = max_norm.value_or(0);
    // `order` is checked once and then read for each minibatch: a step must not write it.
    Apart apart;
    apart.reads("x", x).reads("target", target).reads("order", order).reads("scale", scale).reads("shift", shift);
    apart.writes("weight", weight);
    if (bias) apart.writes("bias", *bias);
    if (applied) {
      check_shape("applied", *applied, {1});
      p.applied = output<int64_t>("applied", *applied);
      apart.writes("applied", *applied);
    }
    TrainResult r;
    with_rule<T>(rule_name, settings, [&]<class Rule>(const Rule& rule) {
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
