#include "kernels/losses.hpp"

#include <algorithm>

#include "kernels/exp_sums.hpp"

namespace softstep {

template <class T>
double squared_error(const SquaredError<T>& p, int threads) {
  constexpr int64_t tile_size = 16384, block_size = 512;
  const int64_t tiles = (p.size + tile_size - 1) / tile_size;
  const Team team(threads, static_cast<double>(p.size) * 0.3);
  std::vector<double> sums(static_cast<std::size_t>(tiles));
  const T factor = 2 * p.weight;
  for_tiles(tiles, team, [&](int64_t tile, int) {
    const int64_t end = std::min((tile + 1) * tile_size, p.size);
    double sum = 0;
    for (int64_t first = tile * tile_size; first < end; first += block_size) {
      Vec<T> squares{};
      for (int64_t i = first; i < std::min(first + block_size, end); i += lanes<T>) {
        const int some = static_cast<int>(std::min<int64_t>(end - i, lanes<T>));
        const Vec<T> d = load_partial(p.prediction + i, some) - load_partial(p.target + i, some);
        squares += d * d;
        if (p.element_loss) store_partial(p.element_loss + i, d * d, some);
        if (p.dprediction) store_partial(p.dprediction + i, d * factor, some);
      }
      sum += sum_in_double(squares);
    }
    sums[static_cast<std::size_t>(tile)] = sum;
  });
  return tree_sum(sums);
}

template double squared_error(const SquaredError<float>&, int);
template double squared_error(const SquaredError<double>&, int);

}  // namespace softstep
