// Cross-entropy of logits, and its gradient in the same pass.
//
// Every target says how much mass u_ij >= 0 it lays on column j of row i. With the classes' weights w (1 where none are
// given), the rows' weights s (likewise) and the label smoothing e,
//
//     class index t        u_ij = w_j ((1 - e) [j = t] + e / C)
//     distribution p       u_ij = w_j ((1 - e) p_ij    + e / C)
//
// and with U_i = sum_j u_ij and lse_i = log sum_j exp(x_ij)
//
//     loss_i     = s_i sum_j u_ij (lse_i - x_ij) = s_i (U_i log1p(others_i) + sum_j u_ij (max_i - x_ij))
//     dlogits_ij = s_i (U_i softmax(x_i)_j - u_ij) / divisor
//
// A mean is divided by the sum of s_i w_t over the rows that count for indices, by that of s_i for distributions.
//
// Index without smoothing, the usual case. There u is w_t in one column, so the weights of row and class are one factor
// r_i = s_i w_t, and
//
//     loss_i     = r_i (log1p(others) + (max - x_it))
//     dlogits_ij = r_i exp(x_ij - max) / total,            j != t
//     dlogits_it = r_i ((exp(x_it - max) - 1) - others) / total.
//
// Numerics: the terms of a loss are positive, so nothing cancels: a loss of 2e-9 comes out as 2e-9 (exp_sums.hpp). The
// last line is minus the sum of the other columns' gradients: where the target is the maximum, exp(0) - 1 is exactly 0
// and -others stays; where it is not, both terms are negative. With D the mean of |x_j - max| over the other columns,
// weighted by exp(x_j - max), the loss is within (8 + D / 2) eps, relatively. With smoothing or distributions, where
// U softmax - u does cancel, the gradient's error is softmax's on either term.
//
// A mass of 0 on a logit of -inf contributes 0, and so does a row of weight 0 unless its softmax is NaN. Ignored rows:
// loss 0, gradient exactly 0, whatever their logits. Row losses are added in double, tile by tile, and the tiles as a
// fixed tree.
//
// Blocking, by the number of classes alone: up to 16 (with mass in every column, up to narrow_columns)
// cross_entropy_lanes.hpp, rows transposed into lanes; up to narrow_columns cross_entropy_blocks.hpp, along the row
// with the sums of a block of rows in lanes; beyond cross_entropy_rows.hpp, row by row.
#pragma once

#include "parallel.hpp"

namespace softstep {

template <class T>
struct CrossEntropy {
  const T* logits;         // (rows, classes)
  int64_t rows, classes;   // classes >= 1
  const int64_t* target;   // (rows,), each a class or ignore_index; or null, and then
  const T* distribution;   // (rows, classes)
  int64_t ignore_index;    // of `target`
  const T* class_weight;   // (classes,), or null
  const T* sample_weight;  // (rows,), or null
  double label_smoothing;  // 0 to 1
  double tolerance;        // how far the sum of a distribution may be from 1
  double divisor;          // of the gradient
  T* row_loss;             // (rows,), or null
  T* dlogits;              // (rows, classes), or null; may be logits
  T* logsumexp;            // (rows,), or null: of every row, ignored or not
  int64_t* predicted;      // (rows,), or null: the first maximum of every row, -1 where it holds NaN
  bool count_correct;      // of the rows that count, those whose prediction is the target (or its first maximum)
};

struct CrossEntropySum {
  double loss;      // of the rows
  int64_t correct;  // 0 unless asked for
};

template <class T>
CrossEntropySum cross_entropy(const CrossEntropy<T>& problem, int threads);

// What can be wrong with targets, and what a mean is divided by.
struct TargetCheck {
  double divisor = 0;
  int64_t bad_row = -1;     // the first whose label is no class, or whose target is no distribution: it has
  int64_t bad_column = -1;  // a negative entry (or NaN) here,
  double bad_sum = 0;       // or a sum that is off 1 by more than the tolerance
};

template <class T>
TargetCheck check_targets(const CrossEntropy<T>& problem, int threads);

// The first of `count` weights that is negative, infinite or NaN; -1 if none is. `weight` may be null.
template <class T>
int64_t first_bad_weight(const T* weight, int64_t count, int threads);

}  // namespace softstep
