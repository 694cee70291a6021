#include "kernels/cross_entropy.hpp"

#include "bindings/rooms.hpp"
#include "bindings/targets.hpp"

namespace softstep {

namespace {

// (sum of the row losses, what a mean divides by, rows predicted right). With `mean` the gradient is divided too.
py::tuple cross_entropy_into(MaybeArray row_loss, MaybeArray dlogits, MaybeArray logsumexp, MaybeArray predicted,
                             const py::array& logits, const py::array& target, const MaybeArray& class_weight,
                             const MaybeArray& sample_weight, int64_t ignore_index, double label_smoothing,
                             double tolerance, bool mean, bool count_correct, int threads) {
  return with_float("logits", logits, [&]<class T>(T) {
    CrossEntropy<T> p{};
    check_ndim("logits", logits, 2, "(N, C)");
    p.rows = logits.shape(0);
    p.classes = logits.shape(1);
    if (p.classes == 0) wrong_shape("logits", logits, "(N, C) with at least one class");
    p.logits = input<T>("logits", logits);
    take_targets(p, target, class_weight, sample_weight, ignore_index, label_smoothing, tolerance);
    p.count_correct = count_correct;

    Apart apart;
    apart.reads("logits", logits).reads("target", target);
    apart.reads("class_weight", class_weight).reads("sample_weight", sample_weight);
    for (const auto& [name, array] : {std::pair{"out", &dlogits}, std::pair{"out", &row_loss},
                                      std::pair{"logsumexp", &logsumexp}, std::pair{"predicted", &predicted}}) {
      if (!*array) continue;
      const bool gradient = array == &dlogits;
      if (gradient) check_shape(name, **array, {p.rows, p.classes});
      else check_shape(name, **array, {p.rows});
      apart.writes(name, **array, gradient ? &logits : nullptr);
    }
    if (dlogits) p.dlogits = output<T>("out", *dlogits);
    if (row_loss) p.row_loss = output<T>("out", *row_loss);
    if (logsumexp) p.logsumexp = output<T>("logsumexp", *logsumexp);
    if (predicted) p.predicted = output<int64_t>("predicted", *predicted);

    Verdict verdict;
    CrossEntropySum sum{};
    without_gil([&] {
      verdict = judge(p, mean, threads);
      if (verdict.good()) sum = cross_entropy(p, threads);
    });
    raise(p, verdict);
    return py::make_tuple(sum.loss, verdict.found.divisor, sum.correct);
  });
}

}  // namespace

void bind_cross_entropy(py::module_& m) {
  m.def("cross_entropy", &cross_entropy_into, py::arg("row_loss"), py::arg("dlogits"), py::arg("logsumexp"),
        py::arg("predicted"), py::arg("logits"), py::arg("target"), py::arg("class_weight"), py::arg("sample_weight"),
        py::arg("ignore_index"), py::arg("label_smoothing"), py::arg("tolerance"), py::arg("mean"),
        py::arg("count_correct"), py::arg("threads"));
}

}  // namespace softstep
