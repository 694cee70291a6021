#include "kernels/optimizers.hpp"

#include <algorithm>
#include <cstdint>

namespace softstep {

namespace {

constexpr int64_t tile_size = 16384;

// Tiles of several arrays, numbered one array after the other.
template <class Array>
class Tiles {
 public:
  explicit Tiles(const std::vector<Array>& arrays) : arrays_(arrays) {
    first_.reserve(arrays.size() + 1);
    first_.push_back(0);
    for (const Array& a : arrays) {
      first_.push_back(first_.back() + (a.size + tile_size - 1) / tile_size);
      elements_ += a.size;
    }
  }
  int64_t count() const { return first_.back(); }
  double elements() const { return static_cast<double>(elements_); }

  // body(array, begin, end) of a tile.
  template <class Body>
  SOFTSTEP_INLINE void visit(int64_t tile, Body body) const {
    const auto after = std::upper_bound(first_.begin(), first_.end(), tile);
    const Array& a = arrays_[static_cast<std::size_t>(after - first_.begin() - 1)];
    const int64_t begin = (tile - after[-1]) * tile_size;
    body(a, begin, std::min(begin + tile_size, a.size));
  }

 private:
  const std::vector<Array>& arrays_;
  std::vector<int64_t> first_;
  int64_t elements_ = 0;
};

// body(i, some) for vectors of i .. end - 1 that lie on whole cache lines of `p`, so that no load or store of it
// crosses two of them: `some` is the number of elements of a partial vector at either end, and lanes<T> otherwise.
template <class T, class Body>
SOFTSTEP_INLINE void for_vectors(const T* p, int64_t i, int64_t end, Body body) {
  constexpr int L = lanes<T>;
  const int64_t lead = -reinterpret_cast<std::intptr_t>(p + i) & (vector_bytes - 1);
  if (const int some = static_cast<int>(std::min(lead / static_cast<int64_t>(sizeof(T)), end - i))) {
    body(i, some, std::true_type{});
    i += some;
  }
  for (; i + 4 * L <= end; i += 4 * L) {
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) body(i + u * L, L, std::false_type{});
  }
  for (; i + L <= end; i += L) body(i, L, std::false_type{});
  if (i < end) body(i, static_cast<int>(end - i), std::true_type{});
}

// Processors fetch ahead of a stream by themselves, but neither into the first-level cache in time nor beyond a page:
// fetching 2 KB ahead into the first level gains 10 to 15 percent, into the second hardly anything.
constexpr int64_t ahead_bytes = 2048;

template <class T>
SOFTSTEP_INLINE void prefetch_to_write(const T* p) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + ahead_bytes, 1, 3);
}

template <class T>
SOFTSTEP_INLINE void prefetch_to_read(const T* p) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + ahead_bytes, 0, 3);
}

// sum += v * v, in double.
SOFTSTEP_INLINE void add_squares(Vec<double>& sum, Vec<double> v) { sum = fma<double>(v, v, sum); }
SOFTSTEP_INLINE void add_squares(Vec<double>& sum, Vec<float> v) {
  typedef float Half __attribute__((vector_size(vector_bytes / 2)));
  Half halves[2];
  std::memcpy(halves, &v, sizeof v);
  add_squares(sum, __builtin_convertvector(halves[0], Vec<double>));
  add_squares(sum, __builtin_convertvector(halves[1], Vec<double>));
}

}  // namespace

template <class T, class Rule>
void optimizer_step(const Rule& given, const std::vector<Stepped<T>>& arrays, double clip, int threads) {
  constexpr int states = Rule::states;
  const Tiles<Stepped<T>> tiles(arrays);
  const Team team(threads, tiles.elements() * 0.3);
  const Vec<T> factor = broadcast<T>(static_cast<T>(clip));
  for_tiles<false>(tiles.count(), team, [&](int64_t tile, int) {
    const Rule rule = given;  // its own copy, which stays in registers: nothing that is stored can change it
    tiles.visit(tile, [&](const Stepped<T>& a, int64_t begin, int64_t end) {
      for_vectors(a.param, begin, end, [&](int64_t i, int some, auto partial) {
        const auto get = [&](const T* p) { return partial ? load_partial(p + i, some) : load(p + i); };
        const auto put = [&](T* p, Vec<T> v) { partial ? store_partial(p + i, v, some) : store(p + i, v); };
        Vec<T> state[states] = {};
        prefetch_to_write(a.param + i);
        prefetch_to_read(a.grad + i);
        for (int k = 0; k < states; ++k) {
          if (!rule.uses(k)) continue;
          prefetch_to_write(a.state[k] + i);
          state[k] = get(a.state[k]);
        }
        put(a.param, rule.step(get(a.param), get(a.grad) * factor, state));
        for (int k = 0; k < states; ++k)
          if (rule.uses(k)) put(a.state[k], state[k]);
      });
    });
  });
}

template <class T>
double sum_of_squares(const std::vector<Gradient<const T>>& arrays, int threads) {
  constexpr int L = lanes<T>;
  const Tiles<Gradient<const T>> tiles(arrays);
  const Team team(threads, tiles.elements() * 0.2);
  std::vector<double> sums(static_cast<std::size_t>(tiles.count()));
  for_tiles(tiles.count(), team, [&](int64_t tile, int) {
    tiles.visit(tile, [&](const Gradient<const T>& a, int64_t i, int64_t end) {
      Vec<double> sum[4] = {};
      // The vectors begin where the tile begins, whatever its address: the order of the sum depends on sizes alone.
      for (; i + 4 * L <= end; i += 4 * L) {
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u) {
          prefetch_to_read(a.grad + i + u * L);
          add_squares(sum[u], load(a.grad + i + u * L));
        }
      }
      for (; i < end; i += L)
        add_squares(sum[0], load_partial(a.grad + i, static_cast<int>(std::min<int64_t>(end - i, L))));
      sums[static_cast<std::size_t>(tile)] = sum_lanes<double>((sum[0] + sum[1]) + (sum[2] + sum[3]));
    });
  });
  return tree_sum(sums);
}

template <class T>
void scale_gradients(const std::vector<Gradient<T>>& arrays, double clip, int threads) {
  const T factor = static_cast<T>(clip);
  const Tiles<Gradient<T>> tiles(arrays);
  const Team team(threads, tiles.elements() * 0.2);
  for_tiles<false>(tiles.count(), team, [&](int64_t tile, int) {
    tiles.visit(tile, [&](const Gradient<T>& a, int64_t begin, int64_t end) {
      for_vectors(a.grad, begin, end, [&](int64_t i, int some, auto partial) {
        prefetch_to_write(a.grad + i);
        if (partial) store_partial(a.grad + i, load_partial(a.grad + i, some) * factor, some);
        else store(a.grad + i, load(a.grad + i) * factor);
      });
    });
  });
}

#define SOFTSTEP_STEP(T, Rule) template void optimizer_step(const Rule<T>&, const std::vector<Stepped<T>>&, double, int)
SOFTSTEP_STEP(float, Sgd);
SOFTSTEP_STEP(double, Sgd);
SOFTSTEP_STEP(float, Rmsprop);
SOFTSTEP_STEP(double, Rmsprop);
SOFTSTEP_STEP(float, Adam);
SOFTSTEP_STEP(double, Adam);

template double sum_of_squares(const std::vector<Gradient<const float>>&, int);
template double sum_of_squares(const std::vector<Gradient<const double>>&, int);
template void scale_gradients(const std::vector<Gradient<float>>&, double, int);
template void scale_gradients(const std::vector<Gradient<double>>&, double, int);

}  // namespace softstep
