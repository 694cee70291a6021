// Minibatch after minibatch, each of several kernels: what training with many outputs and through several layers have
// in common (train_step.hpp says what a run promises).
#pragma once

#include <cmath>
#include <vector>

#include "kernels/cross_entropy.hpp"
#include "kernels/train_step.hpp"

namespace softstep {

// For each minibatch pass(begin, rows), which computes the loss of these rows and the gradients in `parameters`;
// bad_row(begin, rows), the row that keeps the minibatch from being applied, or -1; and a step of the optimizer.
template <class T, class Problem, class Rule, class Pass, class BadRow>
TrainResult train_minibatches(const Problem& p, const std::vector<Stepped<T>>& parameters, Rule rule, int threads,
                              Pass pass, BadRow bad_row) {
  std::vector<Gradient<const T>> gradients;
  for (const Stepped<T>& one : parameters) gradients.push_back({one.grad, one.size});
  TrainResult result;
  if (p.applied) *p.applied = 0;
  for (int64_t begin = 0; begin < p.rows; begin += p.batch_size) {
    const int64_t rows = std::min(p.batch_size, p.rows - begin);
    const CrossEntropySum sum = pass(begin, rows);
    result.bad_row = bad_row(begin, rows);
    if (result.bad_row >= 0) break;
    const double clip = p.max_norm ? clip_factor(std::sqrt(sum_of_squares(gradients, threads)), *p.max_norm) : 1.0;
    optimizer_step(rule, parameters, clip, threads);
    rule.advance();
    result.loss += sum.loss;
    result.correct += sum.correct;
    result.rows += rows;
    result.steps += 1;
    if (p.applied) *p.applied = result.steps;
  }
  return result;
}

}  // namespace softstep
