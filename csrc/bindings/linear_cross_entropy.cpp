#include "kernels/linear_cross_entropy.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"
#include "bindings/targets.hpp"

namespace softstep {

namespace {

// (sum of the row losses, what a mean divides by, rows predicted right). With `mean` the gradients are divided too.
py::tuple linear_cross_entropy_into(MaybeArray row_loss, MaybeArray logsumexp, MaybeArray predicted, MaybeArray dx,
                                    MaybeArray dweight, MaybeArray dbias, const py::array& x, const py::array& weight,
                                    const MaybeArray& bias, const py::array& target, const MaybeArray& class_weight,
                                    const MaybeArray& sample_weight, int64_t ignore_index, double label_smoothing,
                                    double tolerance, const MaybeArray& scale, const MaybeArray& shift, bool mean,
                                    bool count_correct, int threads) {
  return with_float("weight", weight, [&]<class T>(T) {
    LinearCrossEntropy<T> p{};
    p.x = features<T>("x", x, scale, shift);
    check_ndim("weight", weight, 2, "(C, K)");
    const int64_t N = x.shape(0), C = weight.shape(0), K = p.x.columns;
    check_shape("weight", weight, {C, K});
    if (C == 0) wrong_shape("weight", weight, "(C, K) with at least one class");
    p.weight = input<T>("weight", weight);
    if (bias) check_shape("bias", *bias, {C}), p.bias = input<T>("bias", *bias);
    p.loss.rows = N;
    p.loss.classes = C;
    take_targets(p.loss, target, class_weight, sample_weight, ignore_index, label_smoothing, tolerance);
    Apart apart;
    apart.reads("x", x).reads("weight", weight).reads("bias", bias).reads("target", target);
    apart.reads("class_weight", class_weight).reads("sample_weight", sample_weight);
    apart.reads("scale", scale).reads("shift", shift);
    const auto written = [&]<class Item = T>(const char* name, MaybeArray& a, std::initializer_list<int64_t> shape,
                                             Item = {}) -> Item* {
      if (!a) return nullptr;
      check_shape(name, *a, shape);
      Item* data = output<Item>(name, *a);
      apart.writes(name, *a);
      return data;
    };
    p.loss.row_loss = written("out", row_loss, {N});
    p.loss.logsumexp = written("logsumexp", logsumexp, {N});
    p.loss.predicted = written("predicted", predicted, {N}, int64_t{});
    p.loss.count_correct = count_correct;
    p.dx = written("dx", dx, {N, K});
    p.dweight = written("dweight", dweight, {C, K});
    p.dbias = written("dbias", dbias, {C});
    Verdict verdict;
    CrossEntropySum sum{};
    without_gil([&] {
      verdict = judge(p.loss, mean, threads);
      if (verdict.good()) sum = linear_cross_entropy(p, threads);
    });
    raise(p.loss, verdict);
    return py::make_tuple(sum.loss, verdict.found.divisor, sum.correct);
  });
}

}  // namespace

void bind_linear_cross_entropy(py::module_& m) {
  m.def("linear_cross_entropy", &linear_cross_entropy_into, py::arg("row_loss"), py::arg("logsumexp"),
        py::arg("predicted"), py::arg("dx"), py::arg("dweight"), py::arg("dbias"), py::arg("x"), py::arg("weight"),
        py::arg("bias"), py::arg("target"), py::arg("class_weight"), py::arg("sample_weight"), py::arg("ignore_index"),
        py::arg("label_smoothing"), py::arg("tolerance"), py::arg("scale"), py::arg("shift"), py::arg("mean"),
        py::arg("count_correct"), py::arg("threads"));
}

}  // namespace softstep
