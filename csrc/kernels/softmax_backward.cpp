#include "kernels/axis_tiles.hpp"
#include "kernels/softmax.hpp"

namespace softstep {

namespace {

// Both gradients are (g - factor(r) * sum) * what, with r what came out of the forward pass:
//     softmax:      sum of g r,   (g - sum) * r / t
//     log_softmax:  sum of g,     (g - exp(r) sum) / t
template <class T, bool Log>
struct Backward {
  T* out;
  Strided<T> dout, result;
  Extent extent;
  T factor, more;  // their product is 1 / temperature, which may be too large for T

  static SOFTSTEP_INLINE void add(Vec<T>& sum, Vec<T> g, Vec<T> r) {
    if constexpr (Log) sum += g;
    else sum = fma<T>(g, r, sum);
  }

  SOFTSTEP_INLINE Vec<T> gradient(Vec<T> g, Vec<T> r, Vec<T> sum) const {
    if constexpr (Log) return (g - exp<T>(r) * sum) * factor * more;
    else return (g - sum) * r * factor * more;
  }

  void narrow(const Place& place) const {
    const int width = static_cast<int>(extent.columns);
    Vec<T> g[narrow_columns], r[narrow_columns], sum[4] = {};
    load_narrow<T>(g, dout, extent, place);
    load_narrow<T>(r, result, extent, place);
    for (int c = 0; c < width; ++c) add(sum[c % 4], g[c], r[c]);
    const Vec<T> total = sum_of_four<T>(sum);
    for (int c = 0; c < width; ++c) g[c] = gradient(g[c], r[c], total);
    store_narrow<T>(out, g, extent, place);
  }

  template <class Stop>
  void row(int64_t row, Stop stop) const {
    const int64_t n = extent.columns;
    const T *const g = dout.at(row, 0), *const r = result.at(row, 0);
    const Vec<T> sum = broadcast<T>(static_cast<T>(sum_in_blocks<T>(
        n,
        [&](Vec<T>* sums, int64_t i) SOFTSTEP_INLINE_LAMBDA {
          repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA {
            add(sums[u], load(g + i + u * lanes<T>), load(r + i + u * lanes<T>));
          });
        },
        [&](Vec<T>& one, int64_t i, int some)
            SOFTSTEP_INLINE_LAMBDA { add(one, load_partial(g + i, some), load_partial(r + i, some)); },
        [] {}, stop)));
    write_row<T>(
        out + row * n, n,
        [&](int64_t i, int count) SOFTSTEP_INLINE_LAMBDA {
          return count == lanes<T> ? gradient(load(g + i), load(r + i), sum)
                                   : gradient(load_partial(g + i, count), load_partial(r + i, count), sum);
        },
        stop);
  }

  template <class Stop>
  void tall(const Place& place, Stop stop) const {
    const int64_t n = extent.columns;
    const int count = place.count;
    const T *const g = dout.at(place.outer, place.inner), *const r = result.at(place.outer, place.inner);
    const auto at = [&](const T* p)
                        SOFTSTEP_INLINE_LAMBDA { return count == lanes<T> ? load(p) : load_partial(p, count); };
    const Vec<T> sum = sum_of_lanes<T>(
                           n,
                           [&](Vec<T>& one, int64_t j)
                               SOFTSTEP_INLINE_LAMBDA { add(one, at(g + j * dout.column), at(r + j * result.column)); },
                           [] {}, stop)
                           .rounded();
    T* const y = out + place.outer * n * extent.inner + place.inner;
    for (int64_t j = 0; j < n; ++j) {
      const Vec<T> value = gradient(at(g + j * dout.column), at(r + j * result.column), sum);
      store_partial(y + j * extent.inner, value, count);
      if (j % (ask_every / lanes<T>) == 0 && stop()) return;
    }
  }
};

template <bool Log, class T>
void backward(T* out, const Strided<T>& dout, const Strided<T>& result, const Extent& extent, double temperature,
              int threads) {
  const Team team(threads, axis_nanoseconds<T>(extent));
  const T more = 1 / temperature <= std::numeric_limits<T>::max() ? T(1) : T(0x1p64);
  const T factor = static_cast<T>(1 / (temperature * static_cast<double>(more)));
  const Backward<T, Log> run{out, dout, result, extent, factor, more};
  const bool narrow = extent.columns <= narrow_columns;
  for_axis<T>(
      extent, team,
      [&](int64_t begin, int64_t end, int, auto stop) {
        constexpr int L = lanes<T>;
        if (narrow)
          for (int64_t r = begin; r < end; r += L) run.narrow({r, 0, static_cast<int>(end - r < L ? end - r : L)});
        else
          for (int64_t r = begin; r < end; ++r) run.row(r, stop);
      },
      [&](const Place& place, auto stop) { narrow ? run.narrow(place) : run.tall(place, stop); });
}

}  // namespace

template <class T>
void softmax_backward(T* out, const Strided<T>& dout, const Strided<T>& softmax, const Extent& extent,
                      double temperature, int threads) {
  backward<false>(out, dout, softmax, extent, temperature, threads);
}
template <class T>
void log_softmax_backward(T* out, const Strided<T>& dout, const Strided<T>& log_softmax, const Extent& extent,
                          double temperature, int threads) {
  backward<true>(out, dout, log_softmax, extent, temperature, threads);
}

#define SOFTSTEP_INSTANTIATE(name)                                                                      \
  template void name(float*, const Strided<float>&, const Strided<float>&, const Extent&, double, int); \
  template void name(double*, const Strided<double>&, const Strided<double>&, const Extent&, double, int);
SOFTSTEP_INSTANTIATE(softmax_backward)
SOFTSTEP_INSTANTIATE(log_softmax_backward)
#undef SOFTSTEP_INSTANTIATE

}  // namespace softstep
