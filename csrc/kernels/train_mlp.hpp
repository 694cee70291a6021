// The fused path of multilayer perceptrons: whole runs of minibatches in one call.
//
// With the features as h_0, f the activation, and layers i = 1 .. L:
//
//     forward     z_i = h_{i-1} W_i^T + b_i,   h_i = f(z_i),   logits = z_L
//     backward    d_L = gradient of the mean cross-entropy,   dW_i = d_i^T h_{i-1},   db_i = sum of d_i's rows,
//                 d_{i-1} = (d_i W_i) * f'(z_{i-1})
//
// and then one step of the optimizer over all parameters. Products, activations and their slopes are those of
// linear.hpp, the loss that of cross_entropy.hpp: a step is what calls of these one by one would make of it, to the
// bit. The features are read where they lie, through the order; the h_i of one minibatch, two of the d_i and all
// gradients are kept, and nothing is allocated from step to step but what the products need.
//
// A minibatch whose loss or features are not finite is not applied: the run ends with the parameters of the step
// before. A ReLU may hide a feature from the loss, but not from the gradients: each feature is a term of every row of
// dW_1. A run is interrupted between steps, or within one before its parameters are touched.
#pragma once

#include <optional>
#include <vector>

#include "kernels/activations.hpp"
#include "kernels/train_step.hpp"

namespace softstep {

template <class T>
struct MlpLayer {
  int64_t inputs, outputs;
  T *weight, *bias;                    // (outputs, inputs), (outputs,); bias may be null
  T *weight_state[3], *bias_state[3];  // what the optimizer uses of them
};

template <class T>
struct MlpProblem {
  Features<T> x;  // in the order of training
  int64_t rows, batch_size;
  const int64_t* labels;            // by row number, each a class of the last layer
  std::vector<MlpLayer<T>> layers;  // at least one
  Activation activation;            // of all layers but the last
  int64_t* applied = nullptr;       // where the number of steps applied so far is kept, or null
  std::optional<double> max_norm;   // of the gradients of a step; they are not clipped without
};

// The rule (optimizers.hpp) is that of the first step. Throws Interrupted with the parameters of a whole step.
template <class T, class Rule>
TrainResult train_mlp(const MlpProblem<T>& problem, Rule rule, int threads);

}  // namespace softstep
