#include "kernels/linear_cross_entropy.hpp"

#include "kernels/column_sums.hpp"
#include "kernels/linear.hpp"
#include "kernels/matrix_product.hpp"

namespace softstep {

namespace {

constexpr int64_t most_logits = 32 << 20;  // bytes

// The part of the rows begin .. begin + rows, with their logits in `logits`.
template <class T>
CrossEntropy<T> part_of(const CrossEntropy<T>& whole, int64_t begin, int64_t rows, T* logits, bool gradient) {
  CrossEntropy<T> p = whole;
  p.logits = logits;
  p.dlogits = gradient ? logits : nullptr;
  p.rows = rows;
  if (p.target) p.target += begin;
  if (p.distribution) p.distribution += begin * p.classes;
  if (p.sample_weight) p.sample_weight += begin;
  if (p.row_loss) p.row_loss += begin;
  if (p.logsumexp) p.logsumexp += begin;
  if (p.predicted) p.predicted += begin;
  return p;
}

}  // namespace

template <class T>
CrossEntropySum linear_cross_entropy(const LinearCrossEntropy<T>& p, int threads) {
  const int64_t N = p.loss.rows, C = p.loss.classes, K = p.x.columns;
  const bool gradient = p.dx || p.dweight || p.dbias;
  const int64_t most = std::max<int64_t>(most_logits / static_cast<int64_t>(sizeof(T)) / C, 1);
  const int64_t chunks = blocks_of(N, most), height = chunks ? blocks_of(N, chunks) : 0;
  const Scratch<T> logits(static_cast<std::size_t>(height * C));
  std::vector<double> losses(static_cast<std::size_t>(chunks)), bias_sums(p.dbias ? static_cast<std::size_t>(C) : 0);
  int64_t correct = 0;
  if (N == 0 && p.dweight) std::fill(p.dweight, p.dweight + C * K, T(0));
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * height, rows = std::min(height, N - begin);
    const Features<T> x = p.x.from(begin);
    linear_forward(logits.data(), x, p.weight, p.bias, rows, C, Activation::none, threads);
    const CrossEntropySum sum = cross_entropy(part_of(p.loss, begin, rows, logits.data(), gradient), threads);
    losses[static_cast<std::size_t>(chunk)] = sum.loss;
    correct += sum.correct;
    if (p.dx)
      linear_backward<T>(p.dx + begin * K, nullptr, nullptr, x, p.weight, logits.data(), rows, C, Activation::none,
                         threads);
    if (p.dweight && chunk == 0)
      linear_backward<T>(nullptr, p.dweight, nullptr, x, p.weight, logits.data(), rows, C, Activation::none, threads);
    else if (p.dweight)
      matrix_product<T>(p.dweight, {logits.data(), 1, C}, as_columns(x), C, K, rows,
                        {.bias = nullptr, .activation = Activation::none, .add = true}, threads);
    if (p.dbias) add_column_sums(bias_sums, logits.data(), rows, threads);
  }
  if (p.dbias) write_sums(p.dbias, bias_sums);
  return {tree_sum(losses), correct};
}

template CrossEntropySum linear_cross_entropy(const LinearCrossEntropy<float>&, int);
template CrossEntropySum linear_cross_entropy(const LinearCrossEntropy<double>&, int);

}  // namespace softstep
