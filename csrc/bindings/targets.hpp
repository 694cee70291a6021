// Targets and weights of a cross-entropy: taken with the GIL, looked at without it, refused with it.
#pragma once

#include <limits>

#include "bindings/arrays.hpp"
#include "bindings/numbers.hpp"
#include "kernels/cross_entropy.hpp"

namespace softstep {

using MaybeArray = std::optional<py::array>;

template <class T>
[[noreturn]] void bad_target(const CrossEntropy<T>& p, const TargetCheck& found) {
  const std::string row = std::to_string(found.bad_row), target = "target[" + row + "]";
  if (p.target)
    throw py::index_error(target + " is " + label_text(p.target[found.bad_row]) + "; accepted: 0 to " +
                          std::to_string(p.classes - 1) + ", or ignore_index (" + std::to_string(p.ignore_index) + ")");
  if (found.bad_column >= 0)
    throw py::value_error(target + "[" + std::to_string(found.bad_column) + "] is " +
                          number_text(p.distribution[found.bad_row * p.classes + found.bad_column]) + " (row " + row +
                          "); accepted: a distribution, of entries that are not negative");
  throw py::value_error(target + " sums to " + number_text(found.bad_sum) + " (row " + row +
                        "); accepted: a distribution, whose sum is 1 to within " + number_text(p.tolerance));
}

template <class T>
const T* weights(const char* name, const MaybeArray& a, int64_t count) {
  if (!a) return nullptr;
  check_shape(name, *a, {count});
  return input<T>(name, *a);
}

template <class T>
void bad_weight(const char* name, const T* weight, int64_t bad) {
  if (bad >= 0)
    throw py::value_error(std::string(name) + "[" + std::to_string(bad) + "] is " + number_text(weight[bad]) +
                          "; accepted: finite numbers that are not negative");
}

// Into the problem, whose rows and classes are set.
template <class T>
void take_targets(CrossEntropy<T>& p, const py::array& target, const MaybeArray& class_weight,
                  const MaybeArray& sample_weight, int64_t ignore_index, double label_smoothing, double tolerance) {
  if (target.ndim() == 2) {
    check_shape("target", target, {p.rows, p.classes});
    p.distribution = input<T>("target", target);
  } else {
    check_shape("target", target, {p.rows});
    p.target = input<int64_t>("target", target);
  }
  p.class_weight = weights<T>("class_weight", class_weight, p.classes);
  p.sample_weight = weights<T>("sample_weight", sample_weight, p.rows);
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw py::value_error("label_smoothing is " + number_text(label_smoothing) + "; accepted: 0 to 1");
  p.label_smoothing = label_smoothing;
  p.tolerance = tolerance;
  p.ignore_index = ignore_index;
}

// What is wrong with them, if anything is.
struct Verdict {
  int64_t bad_class = -1, bad_sample = -1;
  TargetCheck found;

  bool good() const { return bad_class < 0 && bad_sample < 0 && found.bad_row < 0; }
};

// Sets the divisor as well. A mean over no weight is NaN; its gradient is 0.
template <class T>
Verdict judge(CrossEntropy<T>& p, bool mean, int threads) {
  const Verdict verdict{first_bad_weight(p.class_weight, p.classes, threads),
                        first_bad_weight(p.sample_weight, p.rows, threads), check_targets(p, threads)};
  const double divisor = verdict.found.divisor;
  p.divisor = !mean ? 1 : divisor > 0 ? divisor : std::numeric_limits<double>::infinity();
  return verdict;
}

template <class T>
void raise(const CrossEntropy<T>& p, const Verdict& verdict) {
  bad_weight("class_weight", p.class_weight, verdict.bad_class);
  bad_weight("sample_weight", p.sample_weight, verdict.bad_sample);
  if (verdict.found.bad_row >= 0) bad_target(p, verdict.found);
}

}  // namespace softstep
