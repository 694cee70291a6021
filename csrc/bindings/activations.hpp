// Activations by their names in Python.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "kernels/activations.hpp"

namespace softstep {

inline Activation activation_named(const char* argument, const std::string& name) {
  if (name == "none") return Activation::none;
  if (name == "relu") return Activation::relu;
  if (name == "sigmoid") return Activation::sigmoid;
  if (name == "tanh") return Activation::tanh;
  throw pybind11::value_error(std::string(argument) + " is '" + name + "'; accepted: 'relu', 'sigmoid', 'tanh'");
}

}  // namespace softstep
