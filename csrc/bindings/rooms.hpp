// One function a room; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

namespace softstep {

void bind_runtime(pybind11::module_& m);
void bind_softmax(pybind11::module_& m);
void bind_cross_entropy(pybind11::module_& m);
void bind_linear(pybind11::module_& m);
void bind_linear_cross_entropy(pybind11::module_& m);
void bind_losses(pybind11::module_& m);
void bind_optimizers(pybind11::module_& m);
void bind_train_step(pybind11::module_& m);
void bind_train_mlp(pybind11::module_& m);
void bind_gather_rows(pybind11::module_& m);
void bind_limits(pybind11::module_& m);

}  // namespace softstep
