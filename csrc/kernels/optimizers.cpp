#include "kernels/optimizers.hpp"

#include <algorithm>

namespace softstep {

template <class T>
void sgd_step(T* param, T* momentum_buffer, const T* grad, int64_t size, const Sgd<T>& rule, int threads) {
  constexpr int64_t tile_size = 16384;
  constexpr int L = lanes<T>;
  const int64_t tiles = (size + tile_size - 1) / tile_size;
  const Team team(threads, static_cast<double>(size) * 0.3);
  for_tiles(tiles, team, [&, rule](int64_t tile, int) {
    const int64_t end = std::min((tile + 1) * tile_size, size);
    int64_t i = tile * tile_size;
    Vec<T> buffer{};
    for (; i + L <= end; i += L) {
      if (momentum_buffer) buffer = load(momentum_buffer + i);
      store(param + i, rule.step(load(param + i), load(grad + i), buffer));
      if (momentum_buffer) store(momentum_buffer + i, buffer);
    }
    if (const int rest = static_cast<int>(end - i)) {
      if (momentum_buffer) buffer = load_partial(momentum_buffer + i, rest);
      store_partial(param + i, rule.step(load_partial(param + i, rest), load_partial(grad + i, rest), buffer), rest);
      if (momentum_buffer) store_partial(momentum_buffer + i, buffer, rest);
    }
  });
}

template void sgd_step(float*, float*, const float*, int64_t, const Sgd<float>&, int);
template void sgd_step(double*, double*, const double*, int64_t, const Sgd<double>&, int);

}  // namespace softstep
