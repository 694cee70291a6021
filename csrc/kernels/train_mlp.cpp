#include "kernels/train_mlp.hpp"

#include <cmath>

#include "kernels/linear.hpp"
#include "kernels/matrix_tiles.hpp"
#include "kernels/minibatches.hpp"

namespace softstep {

namespace {

template <class T>
bool all_finite(const T* numbers, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite &= std::isfinite(numbers[i]);
  return finite;
}

// Arrays of one minibatch after the other.
template <class T>
class Arena {
 public:
  // Where an array of this shape will be. Throws std::bad_alloc where there can be none.
  std::size_t reserve(int64_t rows, int64_t columns) {
    constexpr int64_t line = 64 / sizeof(T);
    const std::size_t place = size_;
    int64_t count;
    if (__builtin_mul_overflow(rows, columns, &count) || __builtin_add_overflow(count, line - 1, &count) ||
        __builtin_add_overflow(size_, static_cast<std::size_t>(count / line * line), &size_))
      throw std::bad_alloc();
    return place;
  }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
};

// One pass forward and backward.
template <class T>
class Pass {
 public:
  Pass(const MlpProblem<T>& p, int64_t most_rows) : Pass(p, most_rows, Plan(p, most_rows)) {}

  // The loss of rows begin .. begin + rows, and the gradients of its mean.
  CrossEntropySum run(int64_t begin, int64_t rows, int threads) const {
    for (int i = 0; i < count(); ++i) {
      const MlpLayer<T>& layer = p_.layers[at(i)];
      linear_forward(outputs(i), inputs(i, begin), layer.weight, layer.bias, rows, layer.outputs,
                     i + 1 < count() ? p_.activation : Activation::none, threads);
    }
    const CrossEntropySum sum = cross_entropies(begin, rows, threads);
    const T* d = outputs(count() - 1);
    for (int i = count() - 1; i >= 0; --i) {
      const MlpLayer<T>& layer = p_.layers[at(i)];
      T* const dx = i > 0 ? memory_.data() + plan_.inner[i % 2] : nullptr;
      linear_backward(dx, dweight(i), dbias(i), inputs(i, begin), layer.weight, d, rows, layer.outputs,
                      i > 0 ? p_.activation : Activation::none, threads);
      d = dx;
    }
    return sum;
  }

  // The first row that has a feature, or else a loss, that is not finite; -1 if there is none.
  int64_t bad_row(int64_t begin, int64_t rows) const {
    const int64_t columns = p_.x.columns;
    if (all_finite(row_loss_.data(), rows) && all_finite(dweight(0), columns)) return -1;
    const Scratch<T> features(static_cast<std::size_t>(copied_stride<T>(columns)));
    for (int64_t row = begin; row < begin + rows; ++row) {
      copy_rows(features.data(), as_rows(p_.x), row, 1, 0, columns);
      if (!all_finite(features.data(), columns)) return p_.x.number(row);
    }
    for (int64_t i = 0; i < rows; ++i)
      if (!std::isfinite(row_loss_[i])) return p_.x.number(begin + i);
    return -1;
  }

  // All parameters, each with its gradient and states.
  std::vector<Stepped<T>> parameters() const {
    std::vector<Stepped<T>> all;
    for (int i = 0; i < count(); ++i) {
      const MlpLayer<T>& layer = p_.layers[at(i)];
      const auto add = [&](T* param, const T* grad, T* const* states, int64_t size) {
        all.push_back({param, grad, {states[0], states[1], states[2]}, size});
      };
      add(layer.weight, dweight(i), layer.weight_state, layer.outputs * layer.inputs);
      if (layer.bias) add(layer.bias, dbias(i), layer.bias_state, layer.outputs);
    }
    return all;
  }

 private:
  // Where everything lies.
  struct Plan {
    std::vector<std::size_t> outputs, dweights, dbiases;
    std::size_t inner[2], size;  // inner: the gradients between layers, in turns

    Plan(const MlpProblem<T>& p, int64_t rows) {
      Arena<T> arena;
      int64_t widest = 0;
      for (const MlpLayer<T>& layer : p.layers) {
        outputs.push_back(arena.reserve(rows, layer.outputs));
        dweights.push_back(arena.reserve(layer.outputs, layer.inputs));
        dbiases.push_back(arena.reserve(layer.bias ? 1 : 0, layer.outputs));
        if (&layer != &p.layers.front()) widest = std::max(widest, layer.inputs);
      }
      for (std::size_t& place : inner) place = arena.reserve(rows, widest);
      size = arena.size();
    }
  };

  Pass(const MlpProblem<T>& p, int64_t most_rows, Plan plan)
      : p_(p),
        plan_(std::move(plan)),
        memory_(plan_.size),
        labels_(static_cast<std::size_t>(most_rows)),
        row_loss_(static_cast<std::size_t>(most_rows)) {}

  CrossEntropySum cross_entropies(int64_t begin, int64_t rows, int threads) const {
    for (int64_t i = 0; i < rows; ++i) labels_[i] = p_.labels[p_.x.number(begin + i)];
    CrossEntropy<T> loss{};
    loss.logits = loss.dlogits = outputs(count() - 1);
    loss.rows = rows;
    loss.classes = p_.layers.back().outputs;
    loss.target = labels_.data();
    loss.ignore_index = -1;
    loss.divisor = static_cast<double>(rows);
    loss.row_loss = row_loss_.data();
    loss.count_correct = true;
    return cross_entropy(loss, threads);
  }

  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  int count() const { return static_cast<int>(p_.layers.size()); }
  T* outputs(int i) const { return memory_.data() + plan_.outputs[at(i)]; }
  T* dweight(int i) const { return memory_.data() + plan_.dweights[at(i)]; }
  T* dbias(int i) const { return p_.layers[at(i)].bias ? memory_.data() + plan_.dbiases[at(i)] : nullptr; }
  Features<T> inputs(int i, int64_t begin) const {
    if (i == 0) return p_.x.from(begin);
    const int64_t columns = p_.layers[at(i)].inputs;
    return {feature_of<T>(), outputs(i - 1), columns * static_cast<int64_t>(sizeof(T)), columns};
  }

  const MlpProblem<T>& p_;
  const Plan plan_;
  const Scratch<T> memory_;
  const Scratch<int64_t> labels_;
  const Scratch<T> row_loss_;
};

}  // namespace

template <class T, class Rule>
TrainResult train_mlp(const MlpProblem<T>& p, Rule rule, int threads) {
  const Pass<T> pass(p, std::min(p.batch_size, p.rows));
  return train_minibatches(
      p, pass.parameters(), rule, threads, [&](int64_t begin, int64_t rows) { return pass.run(begin, rows, threads); },
      [&](int64_t begin, int64_t rows) { return pass.bad_row(begin, rows); });
}

#define SOFTSTEP_TRAIN(T)                                                \
  template TrainResult train_mlp(const MlpProblem<T>&, Sgd<T>, int);     \
  template TrainResult train_mlp(const MlpProblem<T>&, Rmsprop<T>, int); \
  template TrainResult train_mlp(const MlpProblem<T>&, Adam<T>, int);
SOFTSTEP_TRAIN(float)
SOFTSTEP_TRAIN(double)
#undef SOFTSTEP_TRAIN

}  // namespace softstep
