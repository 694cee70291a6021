// What a minibatch does to one tile of rows, for up to narrow_outputs outputs: the logits (linear_tiles.hpp), the loss
// and its gradient in their place, and the gradient of the weights; and what an optimizer's step does to the weights.
// They are kept in the order of the tiles, with the scale of the features folded in, for the whole run.
#pragma once

#include "kernels/cross_entropy_lanes.hpp"
#include "kernels/linear_tiles.hpp"
#include "kernels/train_step.hpp"

namespace softstep {

struct TileLoss {
  double loss = 0;
  int64_t correct = 0;
  int first_bad = -1;  // row of the tile whose loss is not finite
};

// The parameters and their state in the order of the tiles, and what does not change: shapes and conversions.
template <class T>
class Network {
 public:
  explicit Network(const TrainProblem<T>& p)
      : p_(p),
        x_(features_of(p)),
        source_(x_),
        shape_(linear_shape(x_, p.outputs)),
        tiles_(linear_tiles(x_, p.outputs)),
        weight_(size()),
        scale_(folded() ? size() : 0) {
    pack_weight(weight_.data(), p.weight, shape_, p.x.columns);
    if (folded()) pack_weight(scale_.data(), p.x.scale, shape_, 0);
  }

  bool folded() const { return p_.x.scale && !p_.x.shift; }
  std::size_t size() const { return static_cast<std::size_t>(p_.outputs * shape_.stride); }
  const LinearShape<T>& shape() const { return shape_; }
  int64_t scratch() const { return 2 * source_.scratch(); }

  // The gradient of the true weights: folded, the tiles' is that of the scaled ones.
  Vec<T> true_gradient(Vec<T> gradient, int64_t i) const { return folded() ? gradient * load(&scale_[i]) : gradient; }

  // One step for the weights begin .. end (whole vectors) of the packed ones. The gradient may come in two parts.
  template <class Rule>
  void update(const T* gradient, const T* other_part, const Rule& rule, Vec<T> clip, T* const* states, int64_t begin,
              int64_t end) const {
    Vec<T> state[Rule::states] = {};
    for (int64_t i = begin; i < end; i += lanes<T>) {
      for (int k = 0; k < Rule::states; ++k)
        if (rule.uses(k)) state[k] = load(states[k] + i);
      const Vec<T> sum = other_part ? load(gradient + i) + load(other_part + i) : load(gradient + i);
      const Vec<T> w = rule.step(load(&weight_[i]), true_gradient(sum, i) * clip, state);
      for (int k = 0; k < Rule::states; ++k)
        if (rule.uses(k)) store(states[k] + i, state[k]);
      store(&weight_[i], w);
    }
    clear_padding(begin, end);
  }

  // What the steps have made of the weights, to where the caller has them.
  void write_back() const { unpack_weight(p_.weight, weight_.data(), shape_); }

  std::size_t tile_size() const { return static_cast<std::size_t>(p_.outputs * tile_rows); }
  int64_t row_number(int64_t position) const { return x_.number(position); }

  // Pointers to `count` rows from `position` on, for one of the two tiles that a thread has in hand.
  void point(const void** rows, int64_t position, int64_t count, T* scratch, int side) const {
    source_.point(rows, position, count, scratch + side * source_.scratch());
    if (p_.labels && x_.order)
      for (int64_t r = 0; r < count; ++r) prefetch_soon(p_.labels + row_number(position + r));
  }

  // What rows are multiplied with: the weights, where the scale is not folded in, or what this puts into size()
  // elements.
  const T* weights() const { return weight_.data(); }
  void factors(T* out) const {
    if (!folded()) {
      std::copy_n(weight_.data(), size(), out);
      return;
    }
    for (std::size_t i = 0; i < size(); i += lanes<T>) store(out + i, load(&weight_[i]) * load(&scale_[i]));
  }

  // Logits of a tile, their loss, and with Gradient the loss's gradient in their place.
  template <bool Gradient>
  TileLoss loss(T* logits, TileRows& x, const T* factors, int64_t position, T row_weight) const {
    tiles_.forward(logits, x, factors, p_.bias, shape_);
    return p_.labels ? softmax_loss<Gradient>(logits, position, x.count, row_weight)
                     : squared_loss<Gradient>(logits, position, x.count, row_weight);
  }

  void backward(T* dweight, T* dbias, TileRows& x, const T* dlogits, bool first) const {
    tiles_.backward(dweight, dbias, x, dlogits, shape_, first);
  }

 private:
  // Of the weights begin .. end, after a step: a rule may have made 0 / 0 of the padding, and the padding of the rows
  // is multiplied with it.
  void clear_padding(int64_t begin, int64_t end) const {
    constexpr int L = lanes<T>;
    const auto clear = [&](int64_t column, int64_t from, int64_t to) {  // lanes of a vector of columns
      for (int64_t c = 0; from < to && c < p_.outputs; ++c) {
        const int64_t at = tile_place<T>(column, c, p_.outputs);
        if (at >= begin && at < end) std::fill(&weight_[at + from], &weight_[at + to], T(0));
      }
    };
    clear(0, 0, shape_.lead);
    clear(shape_.stride - L, L - (shape_.stride - shape_.lead - shape_.features), L);
  }

  template <bool Gradient>
  TileLoss softmax_loss(T* logits, int64_t position, int rows, T row_weight) const {
    constexpr int L = lanes<T>;
    const int width = static_cast<int>(p_.outputs);
    TileLoss result;
    for (int first = 0; first < rows; first += L) {
      const int count = std::min(L, rows - first);
      Int<T> lane[L];
      for (int r = 0; r < L; ++r)
        lane[r] = r < count ? static_cast<Int<T>>(p_.labels[row_number(position + first + r)]) : Int<T>(-1);
      const Vec<Int<T>> target = load(lane);
      Vec<T>* columns = reinterpret_cast<Vec<T>*>(logits + tile_place<T>(first, 0, p_.outputs));
      const Vec<Int<T>> right = argmax_lanes<T>(columns, width) == target;
      const Vec<T> weight = select<T>(target >= 0, broadcast<T>(row_weight), Vec<T>{});
      take(result, cross_entropy_lanes<T, Gradient>(columns, width, target, weight), first, count);
      for (int r = 0; r < count; ++r) result.correct -= right[r];
    }
    return result;
  }

  // The mean over the outputs of (logit - target)^2; gradient 2 weight (logit - target) / outputs.
  template <bool Gradient>
  TileLoss squared_loss(T* logits, int64_t position, int rows, T row_weight) const {
    constexpr int L = lanes<T>;
    const T mean = T(1) / static_cast<T>(p_.outputs);
    TileLoss result;
    for (int first = 0; first < rows; first += L) {
      const int count = std::min(L, rows - first);
      Vec<T> squares{};
      for (int64_t c = 0; c < p_.outputs; ++c) {
        T* column = logits + tile_place<T>(first, c, p_.outputs);
        Vec<T> target{};
        for (int r = 0; r < count; ++r) target[r] = p_.targets[row_number(position + first + r) * p_.outputs + c];
        const auto inside = lane_numbers<T>() < static_cast<Int<T>>(count);
        const Vec<T> d = select<T>(inside, load(column) - target, Vec<T>{});
        squares += d * d;
        if constexpr (Gradient) store(column, d * (2 * mean * row_weight));
      }
      take(result, squares * mean, first, count);
    }
    return result;
  }

  static void take(TileLoss& result, Vec<T> loss, int first, int count) {
    const auto inside = lane_numbers<T>() < static_cast<Int<T>>(count);
    loss = select<T>(inside, loss, Vec<T>{});
    result.loss += sum_in_double(loss);
    if (!any(~(loss - loss == T(0)))) return;
    for (int r = 0; r < count && result.first_bad < 0; ++r)
      if (!(loss[r] - loss[r] == 0)) result.first_bad = first + r;
  }

  // A scale alone is folded into the weights.
  static Features<T> features_of(const TrainProblem<T>& p) {
    Features<T> x = p.x;
    if (!x.shift) x.scale = nullptr;
    return x;
  }

  const TrainProblem<T>& p_;
  Features<T> x_;
  TileSource<T> source_;
  LinearShape<T> shape_;
  LinearTiles<T> tiles_;
  Scratch<T> weight_, scale_;
};

}  // namespace softstep
