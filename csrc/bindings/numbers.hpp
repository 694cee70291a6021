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

inline void check_beta(const char* name, double value) {
  if (!(0 <= value && value < 1))
    throw py::value_error(std::string(name) + " is " + number_text(value) + "; accepted: at least 0 and below 1");
}

inline void check_max_norm(std::optional<double> max_norm) {
  if (max_norm && !(*max_norm >= 0))
    throw py::value_error("max_norm is " + number_text(*max_norm) + "; accepted: a number of at least 0, or None");
}

}  // namespace softstep
