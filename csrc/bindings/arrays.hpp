// The border to Python: arrays are checked here, and nothing is computed. What several rooms ask of an array stands in
// this file.
//
// The functions of the compiled module take arrays that Python has normalised: native byte order, aligned,
// C-contiguous, outputs first. Each check raises before a byte is written and names the argument, what came and what is
// accepted.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/features.hpp"
#include "parallel.hpp"

namespace softstep {

namespace py = pybind11;

inline std::string dtype_name(const py::array& a) { return py::str(a.dtype()); }

inline std::string shape_text(const py::array& a) { return py::str(a.attr("shape")); }

template <class T>
const char* type_name() {
  if constexpr (std::is_same_v<T, float>) return "float32";
  else if constexpr (std::is_same_v<T, double>) return "float64";
  else if constexpr (std::is_same_v<T, std::uint8_t>) return "uint8";
  else return "int64";
}

template <class T>
bool has_dtype(const py::array& a) {
  static const PyObject* const usual = py::dtype::of<T>().release().ptr();  // most arrays share NumPy's own
  return py::detail::array_proxy(a.ptr())->descr == usual || py::isinstance<py::array_t<T>>(a);
}

[[noreturn]] inline void wrong_dtype(const char* name, const py::array& a, const std::string& accepted) {
  throw py::type_error(std::string(name) + " has dtype " + dtype_name(a) + "; accepted: " + accepted);
}

[[noreturn]] inline void wrong_shape(const char* name, const py::array& a, const std::string& accepted) {
  throw py::value_error(std::string(name) + " has shape " + shape_text(a) + "; accepted: " + accepted);
}

// f(float{}) or f(double{}), by the dtype of the array.
template <class F>
decltype(auto) with_float(const char* name, const py::array& a, F f) {
  if (has_dtype<float>(a)) return f(float{});
  if (has_dtype<double>(a)) return f(double{});
  wrong_dtype(name, a, "float32, float64");
}

// The type of features: NumPy has no bfloat16, so Python passes its bits as uint16.
inline Feature feature_type(const char* name, const py::array& a) {
  if (has_dtype<std::uint8_t>(a)) return Feature::uint8;
  if (has_dtype<std::int8_t>(a)) return Feature::int8;
  if (has_dtype<float>(a)) return Feature::float32;
  if (has_dtype<double>(a)) return Feature::float64;
  if (has_dtype<std::uint16_t>(a)) return Feature::bfloat16;
  constexpr int half = 23;  // NPY_HALF
  if (a.dtype().num() == half && a.dtype().attr("isnative").cast<bool>()) return Feature::float16;
  wrong_dtype(name, a, "uint8, int8, float16, bfloat16, float32, float64");
}

inline void check_shape(const char* name, const py::array& a, std::initializer_list<int64_t> shape) {
  if (a.ndim() == static_cast<py::ssize_t>(shape.size()) && std::equal(shape.begin(), shape.end(), a.shape())) return;
  std::string wanted;
  for (int64_t size : shape) wanted += (wanted.empty() ? "(" : ", ") + std::to_string(size);
  wrong_shape(name, a, wanted + (shape.size() == 1 ? ",)" : ")"));
}

// The same shape as another array, or as its leading axes.
inline void check_shape_of(const char* name, const py::array& a, const py::array& like, py::ssize_t axes = -1) {
  if (axes < 0) axes = like.ndim();
  bool equal = a.ndim() == axes;
  for (py::ssize_t i = 0; equal && i < axes; ++i) equal = a.shape(i) == like.shape(i);
  if (!equal) wrong_shape(name, a, py::str(py::tuple(like.attr("shape"))[py::slice(0, axes, 1)]));
}

inline void check_ndim(const char* name, const py::array& a, py::ssize_t ndim, const char* meaning) {
  if (a.ndim() != ndim) wrong_shape(name, a, meaning);
}

inline void check_layout(const char* name, const py::array& a) {
  using Api = py::detail::npy_api;
  if (!(a.flags() & Api::NPY_ARRAY_C_CONTIGUOUS_))
    throw py::value_error(std::string(name) + " is not C-contiguous (strides " +
                          std::string(py::str(a.attr("strides"))) + "); accepted: a C-contiguous array");
  if (!(a.flags() & Api::NPY_ARRAY_ALIGNED_))
    throw py::value_error(std::string(name) + " is not aligned to its items; accepted: an aligned array");
}

// An array that is read.
template <class T>
const T* input(const char* name, const py::array& a) {
  if (!has_dtype<T>(a)) wrong_dtype(name, a, type_name<T>());
  check_layout(name, a);
  return static_cast<const T*>(a.data());
}

// What a scale that comes without a shift is: only some kernels know what to do with it.
enum class ScaleAlone { refused, accepted };

// Rows of features: in any stride, each row contiguous. Scale and shift: (columns,) each.
template <class T>
Features<T> features(const char* name, const py::array& a, const std::optional<py::array>& scale,
                     const std::optional<py::array>& shift, ScaleAlone alone = ScaleAlone::refused) {
  Features<T> x;
  check_ndim(name, a, 2, "(N, K)");
  x.type = feature_type(name, a);
  if (a.size() > 0 && a.shape(1) > 1 && a.strides(1) != a.itemsize())
    throw py::value_error(std::string(name) + " has columns that are not contiguous; accepted: contiguous rows");
  if (!(a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    throw py::value_error(std::string(name) + " is not aligned to its items; accepted: an aligned array");
  if (a.shape(0) > 1 && a.size() > 0 && a.strides(0) % a.itemsize() != 0)
    throw py::value_error(std::string(name) + " has rows that do not begin on whole items; accepted: an aligned array");
  x.data = a.data();
  x.row_bytes = a.shape(0) > 1 ? a.strides(0) : a.shape(1) * a.itemsize();
  x.columns = a.shape(1);
  if (scale) check_shape("scale", *scale, {x.columns}), x.scale = input<T>("scale", *scale);
  if (shift) check_shape("shift", *shift, {x.columns}), x.shift = input<T>("shift", *shift);
  if (shift && !scale) throw py::value_error("shift is given without scale; accepted: both");
  if (scale && !shift && alone == ScaleAlone::refused)
    throw py::value_error("scale is given without shift; accepted: both");
  return x;
}

// A label or row number for a message. Python makes the largest of what is larger, as uint64 may be.
inline std::string label_text(int64_t label) {
  return std::to_string(label) + (label == std::numeric_limits<int64_t>::max() ? " or more" : "");
}

// An array that is written: never converted, never copied.
template <class T>
T* output(const char* name, py::array& a) {
  if (!has_dtype<T>(a)) wrong_dtype(name, a, type_name<T>());
  check_layout(name, a);
  if (!a.writeable()) throw py::value_error(std::string(name) + " is read-only; accepted: a writable array");
  return static_cast<T*>(const_cast<void*>(a.data()));
}

// Two arrays may not share memory, unless they are the same array and the kernel works in place. Both are contiguous,
// save for rows of features, whose extent the strides give.
enum class Same { refused, accepted };

inline std::pair<const char*, const char*> extent(const py::array& a) {
  const char* begin = static_cast<const char*>(a.data());
  const char* end = begin + (a.size() ? a.itemsize() : 0);
  for (py::ssize_t i = 0; i < a.ndim() && a.size(); ++i) {
    const py::ssize_t span = (a.shape(i) - 1) * a.strides(i);
    (span < 0 ? begin : end) += span;
  }
  return {begin, end};
}

inline void check_overlap(const char* name, const py::array& written, const char* other, const py::array& a,
                          Same same) {
  const auto [begin, end] = extent(written);
  const auto [other_begin, other_end] = extent(a);
  if (begin >= other_end || other_begin >= end) return;
  if (same == Same::accepted && begin == other_begin && end == other_end) return;
  throw py::value_error(
      std::string(name) + " shares memory with " + other + "; accepted: an array of its own" +
      (same == Same::accepted ? std::string(", or exactly ") + other + " to work in place" : std::string()));
}

// What a call reads and writes: nothing that is written may share memory with anything else, but for the very array
// that a kernel works in place of.
class Apart {
 public:
  Apart() { arrays_.reserve(12); }
  Apart& reads(const char* name, const py::array& a) {
    arrays_.emplace_back(name, &a);
    return *this;
  }
  Apart& reads(const char* name, const std::optional<py::array>& a) { return a ? reads(name, *a) : *this; }
  void writes(const std::string& name, const py::array& a, const py::array* in_place = nullptr) {
    for (const auto& [other, array] : arrays_)
      check_overlap(name.c_str(), a, other.c_str(), *array, array == in_place ? Same::accepted : Same::refused);
    arrays_.emplace_back(name, &a);
  }

 private:
  std::vector<std::pair<std::string, const py::array*>> arrays_;
};

// Is the interpreter on its way out? A thread that then asks for the GIL is ended where it stands.
inline bool finalizing() {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing();
#else
  return _Py_IsFinalizing();
#endif
}

// Runs a kernel without the GIL. Safe because kernels see plain pointers into arrays that the caller's arguments keep
// alive, touch no Python object, and reach Python only through the poll function, which takes the GIL itself.
// The GIL is taken back outside any destructor, and not at all once the interpreter is ending: before Python 3.14 a
// daemon thread is unwound there, which would end the process if it met a noexcept frame.
template <class Kernel>
void without_gil(Kernel kernel) {
  bool interrupted = false;
  std::exception_ptr error;
  PyThreadState* const state = PyEval_SaveThread();
  begin_call();
  try {
    kernel();
  } catch (const Interrupted&) {
    interrupted = true;
  } catch (...) {
    error = std::current_exception();
  }
  while (finalizing()) std::this_thread::sleep_for(std::chrono::hours(1));
  PyEval_RestoreThread(state);
  if (interrupted)
    throw py::error_already_set();  // the poll function has left KeyboardInterrupt, or what the handler raised
  if (error) std::rethrow_exception(error);
}

// look(begin, end) for pieces of 0 .. count - 1 until it says false: without the GIL and with an ear for Ctrl-C, where
// there are many.
template <class Look>
void look_through(int64_t count, Look look) {
  constexpr int64_t piece = 1 << 22;
  if (count <= piece) {
    look(0, count);
    return;
  }
  without_gil([&] {
    Interrupt interrupt;
    for (int64_t begin = 0; begin < count && look(begin, std::min(begin + piece, count)); begin += piece)
      if (interrupt.check()) throw Interrupted{};
  });
}

// The first number that is not from 0 to limit - 1, or -1. Without a branch for each, so that it vectorises: the
// highest bit of x or of limit - 1 - x is set where x is none of these.
inline int64_t first_outside(const int64_t* numbers, int64_t count, int64_t limit) {
  int64_t found = -1;
  look_through(count, [&](int64_t begin, int64_t end) {
    const auto outside = [&](int64_t i) {
      const auto x = static_cast<std::uint64_t>(numbers[i]);
      return x | (static_cast<std::uint64_t>(limit - 1) - x);
    };
    std::uint64_t any = 0;
    for (int64_t i = begin; i < end; ++i) any |= outside(i);
    if (any >> 63 == 0) return true;
    for (found = begin; outside(found) >> 63 == 0;) ++found;
    return false;
  });
  return found;
}

// Which rows are meant, and in which order: row numbers of n rows.
inline const int64_t* row_order(const py::array& order, int64_t n) {
  check_ndim("order", order, 1, "(rows,)");
  const int64_t* rows = input<int64_t>("order", order);
  if (const int64_t i = first_outside(rows, order.shape(0), n); i >= 0)
    throw py::index_error("order[" + std::to_string(i) + "] is " + label_text(rows[i]) + "; accepted: " +
                          (n ? "row numbers 0 to " + std::to_string(n - 1) : "nothing, for x has no rows"));
  return rows;
}

}  // namespace softstep
