// Numbers that a rule of an optimizer accepts.
#pragma once

#include <pybind11/pybind11.h>

#include <cmath>
#include <optional>
#include <string>

namespace softstep {

namespace py = pybind11;

inline std::string number_text(double value) { return py::str(py::float_(value)); }

inline void check_number(const char* name, double value, double least, double most = INFINITY) {
  if (least <= value && value <= most && std::isfinite(value)) return;
  std::string accepted = "a finite number";
  if (std::isfinite(least)) accepted += " of at least " + number_text(least);
  if (std::isfinite(most)) accepted += " and at most " + number_text(most);
  throw py::value_error(std::string(name) + " is " + number_text(value) + "; accepted: " + accepted);
}

// A number in the type of the computation, which may be too small for it.
template <class T>
T narrow(const char* name, double value) {
  const T narrowed = static_cast<T>(value);
  if (!std::isfinite(narrowed))
    throw py::value_error(std::string(name) + " is " + number_text(value) +
                          "; accepted: a number that is finite in float32");
  return narrowed;
}

inline void check_beta(const char* name, double value) {
  if (!(0 <= value && value < 1))
    throw py::value_error(std::string(name) + " is " + number_text(value) + "; accepted: at least 0 and below 1");
}

inline void check_max_norm(double max_norm, const char* or_else = "") {
  if (!(max_norm >= 0))
    throw py::value_error("max_norm is " + number_text(max_norm) + "; accepted: a number of at least 0" + or_else);
}

}  // namespace softstep
