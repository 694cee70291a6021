#include "kernels/linear_cross_entropy.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"
#include "bindings/targets.hpp"

namespace softstep {

namespace {

// (sum of the row losses, what a mean divides by). With `mean` the gradients are divided too.
py::tuple linear_cross_entropy_into(MaybeArray row_loss, MaybeArray dx, MaybeArray dweight, MaybeArray dbias,
                                    const py::array& x, const py::array& weight, const MaybeArray& bias,
                                    const py::array& target, const MaybeArray& class_weight,
                                    const MaybeArray& sample_weight, int64_t ignore_index, double label_smoothing,
                                    const MaybeArray& scale, const MaybeArray& shift, bool mean, int threads) {
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
    take_targets(p.loss, target, class_weight, sample_weight, ignore_index, label_smoothing);
    const auto written = [&](const char* name, MaybeArray& a, std::initializer_list<int64_t> shape) -> T* {
      if (!a) return nullptr;
      check_shape(name, *a, shape);
      T* data = output<T>(name, *a);
      check_overlap(name, *a, "x", x, Same::refused);
      check_overlap(name, *a, "weight", weight, Same::refused);
      check_overlap(name, *a, "target", target, Same::refused);
      for (const auto& [other, read] :
           {std::pair{"bias", &bias}, std::pair{"class_weight", &class_weight},
            std::pair{"sample_weight", &sample_weight}, std::pair{"scale", &scale}, std::pair{"shift", &shift}})
        if (*read) check_overlap(name, *a, other, **read, Same::refused);
      return data;
    };
    p.loss.row_loss = written("row_loss", row_loss, {N});
    p.dx = written("dx", dx, {N, K});
    p.dweight = written("dweight", dweight, {C, K});
    p.dbias = written("dbias", dbias, {C});
    Verdict verdict;
    double sum = 0;
    without_gil([&] {
      verdict = judge(p.loss, mean, threads);
      if (verdict.good()) sum = linear_cross_entropy(p, threads).loss;
    });
    raise(p.loss, verdict);
    return py::make_tuple(sum, verdict.found.divisor);
  });
}

}  // namespace

void bind_linear_cross_entropy(py::module_& m) {
  m.def("linear_cross_entropy", &linear_cross_entropy_into, py::arg("row_loss"), py::arg("dx"), py::arg("dweight"),
        py::arg("dbias"), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("target"), py::arg("class_weight"),
        py::arg("sample_weight"), py::arg("ignore_index"), py::arg("label_smoothing"), py::arg("scale"),
        py::arg("shift"), py::arg("mean"), py::arg("threads"));
}

}  // namespace softstep
