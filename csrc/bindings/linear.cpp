#include "kernels/linear.hpp"

#include "bindings/activations.hpp"
#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// The weight (C, K) for features of K columns; C.
template <class T>
int64_t outputs_of(const py::array& weight, const Features<T>& x) {
  check_ndim("weight", weight, 2, "(C, K)");
  const int64_t C = weight.shape(0);
  check_shape("weight", weight, {C, x.columns});
  if (C == 0) wrong_shape("weight", weight, "(C, K) with at least one output");
  return C;
}

// Features in the order of rows that is given, and how many rows these are.
template <class T>
std::pair<Features<T>, int64_t> ordered_features(const py::array& x, const std::optional<py::array>& order,
                                                 const std::optional<py::array>& scale,
                                                 const std::optional<py::array>& shift) {
  Features<T> rows = features<T>("x", x, scale, shift);
  if (!order) return {rows, x.shape(0)};
  rows.order = row_order(*order, x.shape(0));
  return {rows, order->shape(0)};
}

void linear_into(py::array out, const py::array& x, const py::array& weight, std::optional<py::array> bias,
                 std::optional<py::array> order, std::optional<py::array> scale, std::optional<py::array> shift,
                 const std::string& activation, int threads) {
  with_float("weight", weight, [&]<class T>(T) {
    const auto [rows, N] = ordered_features<T>(x, order, scale, shift);
    const int64_t C = outputs_of(weight, rows);
    const T* pw = input<T>("weight", weight);
    const T* pb = nullptr;
    check_shape("out", out, {N, C});
    T* po = output<T>("out", out);
    if (bias) check_shape("bias", *bias, {C}), pb = input<T>("bias", *bias);
    Apart apart;
    apart.reads("x", x).reads("weight", weight).reads("bias", bias).reads("order", order);
    apart.reads("scale", scale).reads("shift", shift).writes("out", out);
    const Activation f = activation_named("activation", activation);
    without_gil([&] { linear_forward(po, rows, pw, pb, N, C, f, threads); });
  });
}

void linear_backward_into(std::optional<py::array> dx, std::optional<py::array> dweight, std::optional<py::array> dbias,
                          const py::array& x, const py::array& weight, const py::array& dlogits,
                          std::optional<py::array> order, std::optional<py::array> scale,
                          std::optional<py::array> shift, const std::string& x_activation, int threads) {
  with_float("weight", weight, [&]<class T>(T) {
    const auto [rows, N] = ordered_features<T>(x, order, scale, shift);
    const Activation of_x = activation_named("x_activation", x_activation);
    if (of_x != Activation::none && (scale || !has_dtype<T>(x)))
      throw py::value_error(
          "x_activation is given with features that are converted; accepted: x of weight's dtype, "
          "without scale and shift");
    const int64_t K = rows.columns, C = outputs_of(weight, rows);
    check_shape("dlogits", dlogits, {N, C});
    const T *pw = input<T>("weight", weight), *pg = input<T>("dlogits", dlogits);
    Apart apart;
    apart.reads("x", x).reads("weight", weight).reads("dlogits", dlogits).reads("order", order);
    apart.reads("scale", scale).reads("shift", shift);
    const auto wanted = [&](const char* name, std::optional<py::array>& a, std::initializer_list<int64_t> shape) -> T* {
      if (!a) return nullptr;
      check_shape(name, *a, shape);
      T* data = output<T>(name, *a);
      apart.writes(name, *a);
      return data;
    };
    T* pdx = wanted("dx", dx, {N, K});
    T* pdw = wanted("dweight", dweight, {C, K});
    T* pdb = wanted("dbias", dbias, {C});
    without_gil([&] { linear_backward(pdx, pdw, pdb, rows, pw, pg, N, C, of_x, threads); });
  });
}

}  // namespace

void bind_linear(py::module_& m) {
  m.def("linear", &linear_into, py::arg("out"), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("order"),
        py::arg("scale"), py::arg("shift"), py::arg("activation"), py::arg("threads"));
  m.def("linear_backward", &linear_backward_into, py::arg("dx"), py::arg("dweight"), py::arg("dbias"), py::arg("x"),
        py::arg("weight"), py::arg("dlogits"), py::arg("order"), py::arg("scale"), py::arg("shift"),
        py::arg("x_activation"), py::arg("threads"));
}

}  // namespace softstep
