#include "kernels/cross_entropy.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// How many rows count. Every label must be a class or ignore_index; the first that is not is named.
int64_t check_labels(const int64_t* target, int64_t rows, int64_t classes, int64_t ignore_index) {
  int64_t counted = 0, bad = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const bool ignored = target[i] == ignore_index;
    counted += !ignored;
    bad += !ignored & (static_cast<std::uint64_t>(target[i]) >= static_cast<std::uint64_t>(classes));
  }
  if (!bad) return counted;
  int64_t row = 0;
  while (target[row] == ignore_index || (target[row] >= 0 && target[row] < classes)) ++row;
  throw py::index_error("target[" + std::to_string(row) + "] is " + std::to_string(target[row]) + "; accepted: 0 to " +
                        std::to_string(classes - 1) + ", or ignore_index (" + std::to_string(ignore_index) + ")");
}

// (sum of the row losses, rows that count). With `mean` the gradient is divided by the rows that count.
py::tuple cross_entropy_into(std::optional<py::array> row_loss, std::optional<py::array> dlogits,
                             const py::array& logits, const py::array& target, int64_t ignore_index, bool mean,
                             int threads) {
  return with_float("logits", logits, [&]<class T>(T) {
    CrossEntropy<T> p{};
    check_ndim("logits", logits, 2, "(N, C)");
    p.rows = logits.shape(0);
    p.classes = logits.shape(1);
    if (p.classes == 0) wrong_shape("logits", logits, "(N, C) with at least one class");
    p.logits = input<T>("logits", logits);
    check_shape("target", target, {p.rows});
    p.target = input<int64_t>("target", target);
    if (row_loss) {
      check_shape("out", *row_loss, {p.rows});
      p.row_loss = output<T>("out", *row_loss);
      check_overlap("out", *row_loss, "logits", logits, Same::refused);
      check_overlap("out", *row_loss, "target", target, Same::refused);
    }
    if (dlogits) {
      check_shape("out", *dlogits, {p.rows, p.classes});
      p.dlogits = output<T>("out", *dlogits);
      check_overlap("out", *dlogits, "logits", logits, Same::accepted);
      check_overlap("out", *dlogits, "target", target, Same::refused);
      if (row_loss) check_overlap("out", *dlogits, "the losses", *row_loss, Same::refused);
    }
    p.ignore_index = ignore_index;
    const int64_t counted = check_labels(p.target, p.rows, p.classes, ignore_index);
    p.weight = mean && counted > 0 ? static_cast<T>(1.0 / static_cast<double>(counted)) : T(1);
    double sum = 0;
    without_gil([&] { sum = cross_entropy(p, threads); });
    return py::make_tuple(sum, counted);
  });
}

}  // namespace

void bind_cross_entropy(py::module_& m) {
  m.def("cross_entropy", &cross_entropy_into, py::arg("row_loss"), py::arg("dlogits"), py::arg("logits"),
        py::arg("target"), py::arg("ignore_index"), py::arg("mean"), py::arg("threads"));
}

}  // namespace softstep
