#include "kernels/gather_rows.hpp"

#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

namespace {

// Rows of any numbers whose columns are contiguous. (Objects are more than their bytes.)
void check_rows(const char* name, const py::array& a) {
  if (std::string("biuf").find(a.dtype().kind()) == std::string::npos) wrong_dtype(name, a, "real numbers");
  check_ndim(name, a, 2, "(n, K)");
  if (a.size() > 0 && a.shape(1) > 1 && a.strides(1) != a.itemsize())
    throw py::value_error(std::string(name) + " has columns that are not contiguous; accepted: contiguous rows");
}

void gather_rows_into(py::array out, const py::array& x, std::optional<py::array> order, std::optional<py::array> scale,
                      std::optional<py::array> shift, int threads) {
  check_rows("x", x);
  const int64_t* rows = order ? row_order(*order, x.shape(0)) : nullptr;
  const int64_t count = order ? order->shape(0) : x.shape(0), K = x.shape(1);
  check_shape("out", out, {count, K});
  Apart apart;
  apart.reads("x", x).reads("order", order).reads("scale", scale).reads("shift", shift).writes("out", out);
  if (!scale && !shift && out.dtype().equal(x.dtype())) {
    check_layout("out", out);
    if (!out.writeable()) throw py::value_error("out is read-only; accepted: a writable array");
    const auto* data = static_cast<const char*>(x.data());
    const int64_t stride = x.shape(0) > 1 ? x.strides(0) : 0, bytes = K * x.itemsize();
    without_gil([&] {
      gather_bytes(static_cast<char*>(const_cast<void*>(out.data())), data, stride, bytes, rows, count, threads);
    });
    return;
  }
  with_float("out", out, [&]<class T>(T) {
    Features<T> source = features<T>("x", x, scale, shift, ScaleAlone::accepted);
    source.order = rows;
    T* const place = output<T>("out", out);
    without_gil([&] { gather_rows(place, source, count, threads); });
  });
}

}  // namespace

void bind_gather_rows(py::module_& m) {
  m.def("gather_rows", &gather_rows_into, py::arg("out"), py::arg("x"), py::arg("order"), py::arg("scale"),
        py::arg("shift"), py::arg("threads"));
}

}  // namespace softstep
