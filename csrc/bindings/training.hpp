// What the bindings of the fused paths have in common: labels, the optimizer's rule, the result.
#pragma once

#include <algorithm>
#include <string>

#include "bindings/arrays.hpp"
#include "bindings/numbers.hpp"
#include "kernels/train_step.hpp"

namespace softstep {

// The label of every row that the order names must be a class. All labels one after the other are looked at first: that
// is faster, if the order names many of them, and nearly always enough.
inline void check_labels(const int64_t* labels, int64_t count, const int64_t* order, int64_t rows, int64_t classes) {
  if (count <= 4 * rows && first_outside(labels, count, classes) < 0) return;
  int64_t bad = -1;
  look_through(rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && bad < 0; ++i) {
      const int64_t row = order ? order[i] : i;
      if (static_cast<std::uint64_t>(labels[row]) >= static_cast<std::uint64_t>(classes)) bad = row;
    }
    return bad < 0;
  });
  if (bad >= 0)
    throw py::index_error("target[" + std::to_string(bad) + "] is " + label_text(labels[bad]) +
                          "; accepted: classes 0 to " + std::to_string(classes - 1));
}

// What training writes; evaluation only reads it.
enum class Use { read, written };

template <class T>
T* take_parameter(const char* name, py::array& a, std::initializer_list<int64_t> shape, Use use = Use::written) {
  check_shape(name, a, shape);
  return use == Use::read ? const_cast<T*>(input<T>(name, a)) : output<T>(name, a);
}

using OptionalArrays = std::vector<std::optional<py::array>>;

// What an optimizer keeps for a parameter.
template <class T>
T* take_state(const std::string& name, std::size_t k, OptionalArrays& states, std::initializer_list<int64_t> shape,
              Apart& apart) {
  if (k >= states.size() || !states[k])
    throw py::value_error(name + " is missing; accepted: an array like the parameter");
  apart.writes(name, *states[k]);
  return take_parameter<T>(name.c_str(), *states[k], shape);
}

// Where the number of steps goes; null if it is not wanted.
inline int64_t* take_applied(std::optional<py::array>& applied, Apart& apart) {
  if (!applied) return nullptr;
  check_shape("applied", *applied, {1});
  apart.writes("applied", *applied);
  return output<int64_t>("applied", *applied);
}

inline int64_t take_batch_size(int64_t batch_size, int64_t rows) {
  if (batch_size < 1) throw py::value_error("batch_size is " + std::to_string(batch_size) + "; accepted: at least 1");
  return std::min(batch_size, std::max<int64_t>(rows, 1));
}

inline std::optional<double> take_max_norm(std::optional<double> max_norm) {
  if (max_norm) check_max_norm(*max_norm, ", or None");
  return max_norm;
}

inline py::tuple result(const TrainResult& r) { return py::make_tuple(r.loss, r.correct, r.rows, r.steps, r.bad_row); }

// The settings of an optimizer's rule. To read them may run code of the caller's, so they are read before any array is
// looked at.
struct RuleSettings {
  std::string name;
  double lr, weight_decay, momentum = 0, dampening = 0, alpha = 0, eps = 0, beta1 = 0, beta2 = 0;
  bool maximize, nesterov = false, first_step = false, centered = false, amsgrad = false;
  int64_t step = 1;
};

inline RuleSettings read_settings(const std::string& name, const py::dict& settings) {
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
  RuleSettings s{name, number("lr", 0), number("weight_decay", 0)};
  s.maximize = flag("maximize");
  if (name == "sgd") {
    s.momentum = number("momentum", 0);
    s.dampening = number("dampening", -INFINITY);
    s.nesterov = flag("nesterov");
    s.first_step = flag("first_step");
    if (s.nesterov && (s.momentum == 0 || s.dampening != 0))
      throw py::value_error("nesterov is True with momentum=" + number_text(s.momentum) + " and dampening=" +
                            number_text(s.dampening) + "; accepted with a momentum above 0 and no dampening");
  } else if (name == "rmsprop") {
    s.alpha = number("alpha", 0, 1);
    s.eps = number("eps", 0);
    s.momentum = number("momentum", 0);
    s.centered = flag("centered");
  } else if (name == "adam" || name == "adamw") {
    s.beta1 = setting("beta1", double{}, "a number");
    s.beta2 = setting("beta2", double{}, "a number");
    check_beta("betas[0]", s.beta1);
    check_beta("betas[1]", s.beta2);
    s.eps = number("eps", 0);
    s.amsgrad = flag("amsgrad");
    s.step = setting("step", int64_t{}, "an integer of at least 1");
    if (s.step < 1) throw py::value_error("step is " + std::to_string(s.step) + "; accepted: at least 1");
    s.step = std::min(s.step, int64_t{1} << 62);  // what is counted on from here; the corrections are long 1
  } else {
    throw py::value_error("optimizer is '" + name + "'; accepted: 'sgd', 'rmsprop', 'adam', 'adamw'");
  }
  return s;
}

// f(rule) for the rule with these settings.
template <class T, class F>
void with_rule(const RuleSettings& s, F f) {
  const T lr = narrow<T>("lr", s.lr), weight_decay = narrow<T>("weight_decay", s.weight_decay);
  if (s.name == "sgd")
    f(Sgd<T>{lr, narrow<T>("momentum", s.momentum), narrow<T>("dampening", s.dampening), weight_decay, s.nesterov,
             s.maximize, s.first_step});
  else if (s.name == "rmsprop") f(Rmsprop<T>(s.lr, s.alpha, s.eps, s.weight_decay, s.momentum, s.centered, s.maximize));
  else f(Adam<T>({s.lr, s.beta1, s.beta2, s.eps, s.weight_decay, s.name == "adamw", s.amsgrad, s.maximize}, s.step));
}

}  // namespace softstep
