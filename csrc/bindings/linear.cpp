#include "kernels/linear.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

void linear_into(py::array out, const py::array& x, const py::array& weight, std::optional<py::array> bias,
                 int threads) {
  with_float("x", x, [&]<class T>(T) {
    check_ndim("x", x, 2, "(N, K)");
    check_ndim("weight", weight, 2, "(C, K)");
    const int64_t N = x.shape(0), K = x.shape(1), C = weight.shape(0);
    check_shape("weight", weight, {C, K});
    if (C == 0) wrong_shape("weight", weight, "(C, K) with at least one output");
    const T* px = input<T>("x", x);
    const T* pw = input<T>("weight", weight);
    const T* pb = nullptr;
    check_shape("out", out, {N, C});
    T* po = output<T>("out", out);
    check_overlap("out", out, "x", x, Same::refused);
    check_overlap("out", out, "weight", weight, Same::refused);
    if (bias) {
      check_shape("bias", *bias, {C});
      pb = input<T>("bias", *bias);
      check_overlap("out", out, "bias", *bias, Same::refused);
    }
    without_gil([&] { linear_forward(po, px, pw, pb, N, K, C, threads); });
  });
}

void linear_backward_into(py::array dx, py::array dweight, py::array dbias, const py::array& x, const py::array& weight,
                          const py::array& dlogits, int threads) {
  with_float("x", x, [&]<class T>(T) {
    check_ndim("x", x, 2, "(N, K)");
    check_ndim("weight", weight, 2, "(C, K)");
    const int64_t N = x.shape(0), K = x.shape(1), C = weight.shape(0);
    check_shape("weight", weight, {C, K});
    if (C == 0) wrong_shape("weight", weight, "(C, K) with at least one output");
    check_shape("dlogits", dlogits, {N, C});
    check_shape("dx", dx, {N, K});
    check_shape("dweight", dweight, {C, K});
    check_shape("dbias", dbias, {C});
    const T *px = input<T>("x", x), *pw = input<T>("weight", weight), *pg = input<T>("dlogits", dlogits);
    T *pdx = output<T>("dx", dx), *pdw = output<T>("dweight", dweight), *pdb = output<T>("dbias", dbias);
    for (const auto& [name, written] :
         {std::pair{"dx", &dx}, std::pair{"dweight", &dweight}, std::pair{"dbias", &dbias}})
      for (const auto& [other, read] :
           {std::pair{"x", &x}, std::pair{"weight", &weight}, std::pair{"dlogits", &dlogits}})
        check_overlap(name, *written, other, *read, Same::refused);
    without_gil([&] { linear_backward(pdx, pdw, pdb, px, pw, pg, N, K, C, threads); });
  });
}

}  // namespace

void bind_linear(py::module_& m) {
  m.def("linear", &linear_into, py::arg("out"), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("threads"));
  m.def("linear_backward", &linear_backward_into, py::arg("dx"), py::arg("dweight"), py::arg("dbias"), py::arg("x"),
        py::arg("weight"), py::arg("dlogits"), py::arg("threads"));
}

}  // namespace softstep
