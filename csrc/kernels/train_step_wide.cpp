#include "kernels/train_step_wide.hpp"

#include <cmath>

#include "kernels/column_sums.hpp"
#include "kernels/linear.hpp"
#include "kernels/linear_cross_entropy.hpp"
#include "kernels/matrix_product.hpp"
#include "kernels/minibatches.hpp"

namespace softstep {

namespace {

// Where the gradients of a minibatch go; null pointers: they are not wanted.
template <class T>
struct Gradients {
  T *weight = nullptr, *bias = nullptr;
};

// The loss of rows begin .. begin + rows, and its gradients divided by `divisor`.
template <class T>
class Batch {
 public:
  Batch(const TrainProblem<T>& p, int64_t most_rows)
      : p_(p),
        x_(p.x),
        zeros_(p.x.scale || p.x.shift ? static_cast<std::size_t>(p.x.columns) : 0),
        labels_(p.labels ? static_cast<std::size_t>(most_rows) : 0),
        row_loss_(static_cast<std::size_t>(most_rows)) {
    if (!p.x.scale) return;
    if (!p.x.shift) std::fill(zeros_.data(), zeros_.data() + p.x.columns, T(0)), x_.shift = zeros_.data();
  }

  CrossEntropySum run(int64_t begin, int64_t rows, Gradients<T> gradients, double divisor, int threads) const {
    return p_.labels ? cross_entropies(begin, rows, gradients, divisor, threads)
                     : squares(begin, rows, gradients, divisor, threads);
  }

  // The first row whose loss is not finite, or -1.
  int64_t bad_row(int64_t begin, int64_t rows) const {
    for (int64_t i = 0; i < rows; ++i)
      if (!std::isfinite(row_loss_[i])) return x_.number(begin + i);
    return -1;
  }

 private:
  CrossEntropySum cross_entropies(int64_t first, int64_t rows, Gradients<T> gradients, double divisor,
                                  int threads) const {
    for (int64_t i = 0; i < rows; ++i) labels_[i] = p_.labels[x_.number(first + i)];
    LinearCrossEntropy<T> step{};
    step.x = x_.from(first);
    step.weight = p_.weight;
    step.bias = p_.bias;
    step.dweight = gradients.weight;
    step.dbias = gradients.bias;
    step.loss.rows = rows;
    step.loss.classes = p_.outputs;
    step.loss.target = labels_.data();
    step.loss.ignore_index = -1;
    step.loss.divisor = divisor;
    step.loss.row_loss = row_loss_.data();
    step.loss.count_correct = true;
    return linear_cross_entropy(step, threads);
  }

  // Row loss: the mean over the outputs of (prediction - target)^2.
  CrossEntropySum squares(int64_t first, int64_t rows, Gradients<T> gradients, double divisor, int threads) const {
    constexpr int64_t height = 256;
    const int64_t C = p_.outputs;
    const T factor = static_cast<T>(2 / (divisor * static_cast<double>(C)));
    const Scratch<T> predictions(static_cast<std::size_t>(std::min(rows, height) * C));
    std::vector<double> bias_sums(gradients.bias ? static_cast<std::size_t>(C) : 0), losses;
    for (int64_t begin = 0; begin < rows; begin += height) {
      const int64_t count = std::min(height, rows - begin);
      const Features<T> part = x_.from(first + begin);
      linear_forward(predictions.data(), part, p_.weight, p_.bias, count, C, Activation::none, threads);
      const Team team(threads, static_cast<double>(count * C));
      for_tiles(count, team, [&](int64_t row, int) {
        T* y = predictions.data() + row * C;
        const T* target = p_.targets + x_.number(first + begin + row) * C;
        double sum = 0;
        for (int64_t c = 0; c < C; ++c) {
          const T d = y[c] - target[c];
          sum += static_cast<double>(d) * static_cast<double>(d);
          y[c] = d * factor;
        }
        row_loss_[begin + row] = static_cast<T>(sum / static_cast<double>(C));
      });
      for (int64_t row = 0; row < count; ++row) losses.push_back(row_loss_[begin + row]);
      if (gradients.weight)
        matrix_product<T>(gradients.weight, {predictions.data(), 1, C}, as_columns(part), C, x_.columns, count,
                          {.bias = nullptr, .activation = Activation::none, .add = begin > 0}, threads);
      if (gradients.bias) add_column_sums(bias_sums, predictions.data(), count, threads);
    }
    if (gradients.bias) write_sums(gradients.bias, bias_sums);
    return {tree_sum(losses), 0};
  }

  const TrainProblem<T>& p_;
  Features<T> x_;
  Scratch<T> zeros_;  // a shift of nothing, for a scale that comes without one
  Scratch<int64_t> labels_;
  Scratch<T> row_loss_;
};

}  // namespace

template <class T, class Rule>
TrainResult train_wide(const TrainProblem<T>& p, Rule rule, int threads) {
  const int64_t weights = p.outputs * p.x.columns, biases = p.bias ? p.outputs : 0;
  const Batch<T> batch(p, std::min(p.batch_size, p.rows));
  const Scratch<T> gradient(static_cast<std::size_t>(weights + biases));
  const Gradients<T> gradients{gradient.data(), p.bias ? gradient.data() + weights : nullptr};
  std::vector<Stepped<T>> parameters{{p.weight, gradients.weight, {}, weights}};
  if (p.bias) parameters.push_back({p.bias, gradients.bias, {}, biases});
  for (int k = 0; k < Rule::states; ++k) {
    parameters[0].state[k] = p.weight_state[k];
    if (p.bias) parameters[1].state[k] = p.bias_state[k];
  }
  return train_minibatches(
      p, parameters, rule, threads,
      [&](int64_t begin, int64_t rows) {
        return batch.run(begin, rows, gradients, static_cast<double>(rows), threads);
      },
      [&](int64_t begin, int64_t rows) { return batch.bad_row(begin, rows); });
}

template <class T>
TrainResult evaluate_wide(const TrainProblem<T>& p, int threads) {
  constexpr int64_t part = 1 << 16;
  const Batch<T> batch(p, std::min(part, p.rows));
  std::vector<double> losses;
  TrainResult result;
  for (int64_t begin = 0; begin < p.rows; begin += part) {
    const CrossEntropySum sum = batch.run(begin, std::min(part, p.rows - begin), {}, 1, threads);
    losses.push_back(sum.loss);
    result.correct += sum.correct;
  }
  result.rows = p.rows;
  result.loss = tree_sum(losses);
  return result;
}

#define SOFTSTEP_TRAIN(T)                                                   \
  template TrainResult train_wide(const TrainProblem<T>&, Sgd<T>, int);     \
  template TrainResult train_wide(const TrainProblem<T>&, Rmsprop<T>, int); \
  template TrainResult train_wide(const TrainProblem<T>&, Adam<T>, int);    \
  template TrainResult evaluate_wide(const TrainProblem<T>&, int);
SOFTSTEP_TRAIN(float)
SOFTSTEP_TRAIN(double)
#undef SOFTSTEP_TRAIN

}  // namespace softstep
