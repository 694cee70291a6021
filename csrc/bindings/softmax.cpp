#include "kernels/softmax.hpp"

#include <limits>

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// The axis counted from the front, and what the array is around it.
struct Axis {
  py::ssize_t at = 0;
  Extent extent{1, 1, 1};
};

Axis find_axis(const char* name, const py::array& a, int64_t axis) {
  const py::ssize_t axes = a.ndim();
  if (axes < 1) wrong_shape(name, a, "at least one axis");
  if (axis < -axes || axis >= axes)
    throw py::value_error("axis is " + std::to_string(axis) + "; accepted: " + std::to_string(-axes) + " to " +
                          std::to_string(axes - 1) + " for shape " + shape_text(a));
  Axis found;
  found.at = axis < 0 ? axis + axes : axis;
  for (py::ssize_t i = 0; i < axes; ++i)
    (i < found.at ? found.extent.outer : i > found.at ? found.extent.inner : found.extent.columns) *= a.shape(i);
  if (found.extent.columns == 0) wrong_shape(name, a, "at least one element along the axis");
  return found;
}

// The stride, in bytes, with which the axes from .. to - 1 are one: 0 if they have one element, nothing if they do not
// join. An axis may repeat (stride 0): what stands before it joins only if it repeats as well.
std::optional<int64_t> joined_stride(const py::array& a, py::ssize_t from, py::ssize_t to) {
  std::optional<int64_t> stride;
  int64_t span = 0;  // what the next axis, outwards, must have for its stride
  for (py::ssize_t i = to; i-- > from;) {
    if (a.shape(i) == 1) continue;
    if (!stride) stride = a.strides(i);
    else if (a.strides(i) != span) return std::nullopt;
    span = a.strides(i) * a.shape(i);
  }
  return stride.value_or(0);
}

// Strides of an array that kernels can read in place, in elements.
struct Layout {
  int64_t outer, column;
};

std::optional<Layout> layout_of(const py::array& a, const Axis& axis) {
  const int64_t item = a.itemsize();
  if (item == 0) return std::nullopt;  // texts of no length, which no kernel takes
  const Extent& extent = axis.extent;
  if (a.flags() & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_)
    return Layout{extent.columns * extent.inner, extent.inner};
  if (!(a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) return std::nullopt;
  const auto outer = joined_stride(a, 0, axis.at), inner = joined_stride(a, axis.at + 1, a.ndim());
  const int64_t column = extent.columns > 1 ? a.strides(axis.at) : item;
  if (!outer || !inner || *outer % item || column % item) return std::nullopt;
  if ((extent.in_rows() ? column : *inner) != item) return std::nullopt;
  return Layout{*outer / item, column / item};
}

template <class T>
Strided<T> strided_input(const char* name, const py::array& a, const Axis& axis) {
  if (!has_dtype<T>(a)) wrong_dtype(name, a, type_name<T>());
  const auto layout = layout_of(a, axis);
  if (!layout)
    throw py::value_error(std::string(name) + " has strides " + std::string(py::str(a.attr("strides"))) +
                          "; accepted: an aligned array that is readable along the axis");
  return {static_cast<const T*>(a.data()), layout->outer, layout->column};
}

// In place only if the input is contiguous, as the output is.
template <class T>
T* output_apart(py::array& out, const char* name, const py::array& a) {
  T* const y = output<T>("out", out);
  const bool contiguous = a.flags() & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
  check_overlap("out", out, name, a, contiguous ? Same::accepted : Same::refused);
  return y;
}

void check_temperature(double temperature) {
  if (!(temperature > 0 && temperature <= std::numeric_limits<double>::max()))
    throw py::value_error("temperature is " + std::string(py::str(py::float_(temperature))) +
                          "; accepted: a positive finite number");
}

// False, with nothing done, if logits is not of a float type of this machine or not readable where it is: Python then
// makes an array that is. (One call tells it, as it is the usual way and short.)
template <class Kernel>
bool forward(py::array& out, const py::array& logits, int64_t axis_number, double temperature, Kernel kernel) {
  if (!has_dtype<float>(logits) && !has_dtype<double>(logits)) return false;
  const Axis axis = find_axis("logits", logits, axis_number);
  if (!layout_of(logits, axis)) return false;
  with_float("logits", logits, [&]<class T>(T) {
    const Strided<T> x = strided_input<T>("logits", logits, axis);
    check_temperature(temperature);
    check_shape_of("out", out, logits);
    T* const y = output_apart<T>(out, "logits", logits);
    without_gil([&] { kernel(y, x, axis.extent); });
  });
  return true;
}

bool softmax(py::array out, const py::array& logits, int64_t axis, double temperature, int threads) {
  return forward(out, logits, axis, temperature,
                 [&](auto* y, auto& x, const Extent& extent) { softmax_forward(y, x, extent, temperature, threads); });
}

bool log_softmax(py::array out, const py::array& logits, int64_t axis, double temperature, int threads) {
  return forward(out, logits, axis, temperature, [&](auto* y, auto& x, const Extent& extent) {
    log_softmax_forward(y, x, extent, temperature, threads);
  });
}

// out: the shape of logits without the axis, or with the axis of length 1.
void logsumexp(py::array out, const py::array& logits, int64_t axis_number, bool keepdims, double temperature,
               int threads) {
  with_float("logits", logits, [&]<class T>(T) {
    const Axis axis = find_axis("logits", logits, axis_number);
    const Strided<T> x = strided_input<T>("logits", logits, axis);
    check_temperature(temperature);
    bool fits = out.ndim() == logits.ndim() - (keepdims ? 0 : 1);
    py::list wanted;
    for (py::ssize_t i = 0, o = 0; i < logits.ndim(); ++i) {
      if (i == axis.at && !keepdims) continue;
      const py::ssize_t size = i == axis.at ? 1 : logits.shape(i);
      fits = fits && out.shape(o++) == size;
      wanted.append(size);
    }
    if (!fits) wrong_shape("out", out, py::str(py::tuple(wanted)));
    T* const y = output<T>("out", out);
    check_overlap("out", out, "logits", logits, Same::refused);
    without_gil([&] { logsumexp_forward(y, x, axis.extent, temperature, threads); });
  });
}

template <class Kernel>
void backward(py::array& out, const py::array& dout, const char* name, const py::array& result, int64_t axis_number,
              double temperature, Kernel kernel) {
  with_float("dout", dout, [&]<class T>(T) {
    const Axis axis = find_axis("dout", dout, axis_number);
    check_shape_of(name, result, dout);
    const Strided<T> g = strided_input<T>("dout", dout, axis), r = strided_input<T>(name, result, axis);
    check_temperature(temperature);
    check_shape_of("out", out, dout);
    output_apart<T>(out, name, result);
    T* const y = output_apart<T>(out, "dout", dout);
    without_gil([&] { kernel(y, g, r, axis.extent); });
  });
}

void softmax_gradient(py::array out, const py::array& dout, const py::array& result, int64_t axis, double temperature,
                      int threads) {
  backward(out, dout, "softmax", result, axis, temperature, [&](auto* y, auto& g, auto& r, const Extent& extent) {
    softmax_backward(y, g, r, extent, temperature, threads);
  });
}

void log_softmax_gradient(py::array out, const py::array& dout, const py::array& result, int64_t axis,
                          double temperature, int threads) {
  backward(out, dout, "log_softmax", result, axis, temperature, [&](auto* y, auto& g, auto& r, const Extent& extent) {
    log_softmax_backward(y, g, r, extent, temperature, threads);
  });
}

}  // namespace

void bind_softmax(py::module_& m) {
  using py::arg;
  // Can kernels read this array along this axis where it is? Python copies it otherwise.
  m.def(
      "readable",
      [](const py::array& a, int64_t axis) { return layout_of(a, find_axis("logits", a, axis)).has_value(); }, arg("a"),
      arg("axis"));
  m.def("softmax", &softmax, arg("out"), arg("logits"), arg("axis"), arg("temperature"), arg("threads"));
  m.def("log_softmax", &log_softmax, arg("out"), arg("logits"), arg("axis"), arg("temperature"), arg("threads"));
  m.def("logsumexp", &logsumexp, arg("out"), arg("logits"), arg("axis"), arg("keepdims"), arg("temperature"),
        arg("threads"));
  m.def("softmax_backward", &softmax_gradient, arg("out"), arg("dout"), arg("softmax"), arg("axis"), arg("temperature"),
        arg("threads"));
  m.def("log_softmax_backward", &log_softmax_gradient, arg("out"), arg("dout"), arg("log_softmax"), arg("axis"),
        arg("temperature"), arg("threads"));
}

}  // namespace softstep
