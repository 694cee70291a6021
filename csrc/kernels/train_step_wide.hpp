// Training and evaluation with more than narrow_outputs outputs: what train_step.hpp describes, on whole matrix
// products.
//
// A minibatch of softmax regression is a linear_cross_entropy over its rows, read through the order and never copied
// together, then a step of the optimizer over all parameters. Linear regression has its squares in the place of the
// cross-entropy.
#pragma once

#include "kernels/train_step.hpp"

namespace softstep {

template <class T, class Rule>
TrainResult train_wide(const TrainProblem<T>& problem, Rule rule, int threads);

template <class T>
TrainResult evaluate_wide(const TrainProblem<T>& problem, int threads);

}  // namespace softstep
