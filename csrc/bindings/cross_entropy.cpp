#include "kernels/cross_entropy.hpp"

#include <limits>

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

using MaybeArray = std::optional<py::array>;

template <class T>
[[noreturn]] void bad_target(const CrossEntropy<T>& p, const TargetCheck& found) {
  const std::string row = std::to_string(found.bad_row), target = "target[" + row + "]";
  if (p.target)
    throw py::index_error(target + " is " + std::to_string(p.target[found.bad_row]) + "; accepted: 0 to " +
                          std::to_string(p.classes - 1) + ", or ignore_index (" + std::to_string(p.ignore_index) + ")");
  if (found.bad_column >= 0)
    throw py::value_error(target + "[" + std::to_string(found.bad_column) + "] is " +
                          std::to_string(p.distribution[found.bad_row * p.classes + found.bad_column]) + " (row " +
                          row + "); accepted: a distribution, of entries that are not negative");
  throw py::value_error(target + " sums to " + std::to_string(found.bad_sum) + " (row " + row +
                        "); accepted: a distribution, whose sum is 1 to within the square root of the logits' eps");
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
    throw py::value_error(std::string(name) + "[" + std::to_string(bad) + "] is " + std::to_string(weight[bad]) +
                          "; accepted: finite numbers that are not negative");
}

// (sum of the row losses, what a mean divides by, rows predicted right). With `mean` the gradient is divided too.
py::tuple cross_entropy_into(MaybeArray row_loss, MaybeArray dlogits, MaybeArray logsumexp, MaybeArray predicted,
                             const py::array& logits, const py::array& target, const MaybeArray& class_weight,
                             const MaybeArray& sample_weight, int64_t ignore_index, double label_smoothing, bool mean,
                             bool count_correct, int threads) {
  return with_float("logits", logits, [&]<class T>(T) {
    CrossEntropy<T> p{};
    check_ndim("logits", logits, 2, "(N, C)");
    p.rows = logits.shape(0);
    p.classes = logits.shape(1);
    if (p.classes == 0) wrong_shape("logits", logits, "(N, C) with at least one class");
    p.logits = input<T>("logits", logits);
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
      throw py::value_error("label_smoothing is " + std::to_string(label_smoothing) + "; accepted: 0 to 1");
    p.label_smoothing = label_smoothing;
    p.ignore_index = ignore_index;
    p.count_correct = count_correct;

    // What is written lies apart from what is read, and from everything else that is written.
    const std::pair<const char*, const MaybeArray*> written[] = {
        {"out", &dlogits}, {"out", &row_loss}, {"logsumexp", &logsumexp}, {"predicted", &predicted}};
    for (const auto& [name, array] : written) {
      if (!*array) continue;
      const bool in_place = array == &dlogits;
      if (in_place) check_shape(name, **array, {p.rows, p.classes});
      else check_shape(name, **array, {p.rows});
      check_overlap(name, **array, "logits", logits, in_place ? Same::accepted : Same::refused);
      check_overlap(name, **array, "target", target, Same::refused);
      if (class_weight) check_overlap(name, **array, "class_weight", *class_weight, Same::refused);
      if (sample_weight) check_overlap(name, **array, "sample_weight", *sample_weight, Same::refused);
      for (const auto& [other_name, other] : written) {
        if (other == array) break;
        if (*other) check_overlap(name, **array, "another output", **other, Same::refused);
      }
    }
    if (dlogits) p.dlogits = output<T>("out", *dlogits);
    if (row_loss) p.row_loss = output<T>("out", *row_loss);
    if (logsumexp) p.logsumexp = output<T>("logsumexp", *logsumexp);
    if (predicted) p.predicted = output<int64_t>("predicted", *predicted);

    int64_t bad_class = -1, bad_sample = -1;
    TargetCheck found;
    CrossEntropySum sum{};
    without_gil([&] {
      bad_class = first_bad_weight(p.class_weight, p.classes, threads);
      bad_sample = first_bad_weight(p.sample_weight, p.rows, threads);
      found = check_targets(p, threads);
      if (bad_class >= 0 || bad_sample >= 0 || found.bad_row >= 0) return;
      // A mean over no weight is NaN; its gradient is 0.
      if (mean) p.divisor = found.divisor > 0 ? found.divisor : std::numeric_limits<double>::infinity();
      else p.divisor = 1;
      sum = cross_entropy(p, threads);
    });
    bad_weight("class_weight", p.class_weight, bad_class);
    bad_weight("sample_weight", p.sample_weight, bad_sample);
    if (found.bad_row >= 0) bad_target(p, found);
    return py::make_tuple(sum.loss, found.divisor, sum.correct);
  });
}

}  // namespace

void bind_cross_entropy(py::module_& m) {
  m.def("cross_entropy", &cross_entropy_into, py::arg("row_loss"), py::arg("dlogits"), py::arg("logsumexp"),
        py::arg("predicted"), py::arg("logits"), py::arg("target"), py::arg("class_weight"), py::arg("sample_weight"),
        py::arg("ignore_index"), py::arg("label_smoothing"), py::arg("mean"), py::arg("count_correct"),
        py::arg("threads"));
}

}  // namespace softstep
