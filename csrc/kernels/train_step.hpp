// The fused path: whole runs of minibatches of softmax or linear regression in one call.
//
// For each minibatch: logits = x weight^T + bias; loss and its gradient in the logits' place; weight and bias
// gradients; one step of the optimizer. Neither the logits of the batch, nor a gathered copy of its rows, nor Python
// comes between.
//
//   groups   A minibatch is cut into groups of rows (64 each, more only where that would make over 16), each a few
//            tiles of 32 (linear_tiles.hpp). A thread takes a contiguous run of groups; each group sums its own partial
//            gradient.
//   tree     Partial gradients are added as one fixed binary tree over the groups. A thread adds the nodes that lie
//            within its own groups before the barrier, what is left after it, so little crosses between cores. The
//            root is added by the optimizer's step as it reads its two parts, unless it clips.
//   update   After the barrier each thread finishes the tree, and applies the optimizer, for its own slice of the
//            parameters. A second barrier ends the step.
//   alone    Where the others keep the first thread waiting, for their processors are taken away again and again, it
//            makes some steps alone.
//
// The cut depends on the size of the minibatch alone, so the bits do not depend on the number of threads.
//
// More than narrow_outputs outputs: a minibatch is a linear_cross_entropy (or its squares) and a step of the optimizer.
//
// A scale without a shift is folded into the weights: logits = (weight scale) x_raw, dweight = scale (dlogits^T x_raw).
// With a shift each feature becomes x scale + shift as it is loaded; folding that too could cancel.
//
// Clipping: the squares of the gradients are summed in double, output by output, between two more barriers.
//
// A minibatch whose loss is not finite is not applied: the run ends with the parameters of the step before. Features
// that are not finite always make the loss so: they leave no finite logit. The interrupt flag is honoured at the same
// place.
#pragma once

#include <optional>

#include "kernels/linear_tiles.hpp"
#include "kernels/optimizers.hpp"

namespace softstep {

template <class T>
struct TrainProblem {
  Features<T> x;  // in the order of training; here a scale may come without a shift
  int64_t outputs, rows, batch_size;
  const int64_t* labels;               // by row number: softmax regression; or null
  const T* targets;                    // (., outputs) by row number: linear regression; or null
  T *weight, *bias;                    // (outputs, columns), (outputs,); bias may be null
  T *weight_state[3], *bias_state[3];  // what the optimizer uses of them
  int64_t* applied = nullptr;          // where the number of steps applied so far is kept, or null
  std::optional<double> max_norm;      // of the gradients of a step; they are not clipped without
};

struct TrainResult {
  double loss = 0;  // sum over the rows of the steps that were applied
  int64_t correct = 0, rows = 0, steps = 0;
  int64_t bad_row = -1;  // the row number that ended the run, or -1
};

// The rule (optimizers.hpp) is that of the first step. Throws Interrupted with the parameters of a whole step.
template <class T, class Rule>
TrainResult train(const TrainProblem<T>& problem, Rule rule, int threads);

// Loss and correct predictions with the parameters as they are; what only training needs is not looked at.
template <class T>
TrainResult evaluate(const TrainProblem<T>& problem, int threads);

}  // namespace softstep
