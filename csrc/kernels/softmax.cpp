#include "kernels/softmax.hpp"

#include "kernels/axis_tiles.hpp"
#include "kernels/row_stream.hpp"
#include "kernels/softmax_narrow.hpp"

namespace softstep {

namespace {

enum class Form { softmax, log_softmax, logsumexp };

// What makes logits into the logarithm of softmax.
template <class T, class Scale>
struct Subtract {
  Scale scale;
  T max, log_total;

  SOFTSTEP_INLINE Vec<T> operator()(Vec<T> x) const { return scale(x - max) - log_total; }
};

template <class T, Form form, class Scale>
struct Forward {
  T* out;
  Strided<T> logits;
  Extent extent;
  Scale scale;
  const Team& team;

  // z, made of x - max, and of max itself, which may be infinite.
  SOFTSTEP_INLINE Vec<T> of_max(Vec<T> max) const { return select<T>(max - max == T(0), scale(max), max); }

  void narrow(const Place& place) const {
    const int width = static_cast<int>(extent.columns);
    Vec<T> x[narrow_columns];
    load_narrow<T>(x, logits, extent, place);
    if constexpr (form == Form::softmax) {
      // The sum must have the bits of softmax_rows.
      const Vec<T> total = width < many_columns ? exp_total<T>(x, width, scale) : exp_total_of_many<T>(x, width, scale);
      const Vec<T> factor = T(1) / total;
      for (int c = 0; c < width; ++c) x[c] *= factor;
    } else {
      const LaneSums<T> sums = exp_columns<T, false>(x, width, scale);
      if constexpr (form == Form::logsumexp) {
        T* const y = out + place.outer * extent.inner + place.inner;
        store_partial(y, of_max(sums.max) + log1p<T>(sums.others), place.count);
        return;
      }
      const Vec<T> log_total = sums.log_total();
      for (int c = 0; c < width; ++c) x[c] = scale(x[c] - sums.max) - log_total;
    }
    store_narrow<T>(out, x, extent, place);
  }

  using Value = std::conditional_t<form == Form::softmax, Times<T>, Subtract<T, Scale>>;
  using Stream = RowStream<T, Value>;

  // `stream` is null where the result is written as usual.
  template <class Stop>
  void row(int64_t row, Stream* stream, Stop stop) const {
    const int64_t n = extent.columns;
    const T* const x = logits.at(row, 0);
    const bool fetch = row + 1 < extent.outer && n * static_cast<int64_t>(sizeof(T)) <= fetched_bytes;
    const Meanwhile<T, Stream> meanwhile{fetch ? logits.at(row + 1, 0) : nullptr, stream};
    if constexpr (form == Form::logsumexp) {
      const RowSums<T> sums = exp_row(x, n, scale, stop, meanwhile);
      out[row] = (of_max(broadcast<T>(sums.max)) + log1p<T>(broadcast<T>(sums.others)))[0];
    } else {
      T* const y = out + row * n;
      if constexpr (form == Form::softmax) {
        T* const e = stream ? stream->terms() : y;
        finish(y, e, Value{T(1) / exp_row_total(e, x, n, scale, stop, meanwhile)}, stream, stop);
      } else {
        const RowSums<T> sums = exp_row(x, n, scale, stop, meanwhile);
        finish(y, x, Value{scale, sums.max, sums.log_total()}, stream, stop);
      }
    }
  }

  template <class Stop>
  SOFTSTEP_INLINE void finish(T* y, const T* from, Value value, Stream* stream, Stop stop) const {
    const int64_t n = extent.columns;
    if (stream) return stream->put(y, from, n, value);
    write_row<T>(
        y, n,
        [&](int64_t i, int count) SOFTSTEP_INLINE_LAMBDA {
          return value(count == lanes<T> ? load(from + i) : load_partial(from + i, count));
        },
        stop);
  }

  // Wide columns side by side.
  template <class Stop>
  void tall(const Place& place, Stop stop) const {
    const int64_t n = extent.columns, in_stride = logits.column, out_stride = extent.inner;
    const int count = place.count;
    const T* const x = logits.at(place.outer, place.inner);
    const auto at = [&](const T* p)
                        SOFTSTEP_INLINE_LAMBDA { return count == lanes<T> ? load(p) : load_partial(p, count); };
    Vec<T> max = at(x);
    for (int64_t j = 1; j < n; ++j) {
      max = larger<T>(max, at(x + j * in_stride));
      if (j % (ask_every / lanes<T>) == 0 && stop()) return;
    }
    T* const y = out + (form == Form::logsumexp ? place.outer : place.outer * n) * extent.inner + place.inner;
    if constexpr (form == Form::softmax) {
      const Vec<T> factor = T(1) / sum_of_lanes<T>(
                                       n,
                                       [&](Vec<T>& sum, int64_t j) SOFTSTEP_INLINE_LAMBDA {
                                         Vec<T> e = scale(at(x + j * in_stride) - max);
                                         exp_to_one<T, 1>(&e);
                                         store_partial(y + j * out_stride, e, count);
                                         sum += e;
                                       },
                                       [] {}, stop)
                                       .rounded();
      for (int64_t j = 0; j < n; ++j) {
        store_partial(y + j * out_stride, at(y + j * out_stride) * factor, count);
        if (j % (ask_every / lanes<T>) == 0 && stop()) return;
      }
    } else {
      Vec<Int<T>> equal{};
      int64_t ties[lanes<T>] = {};
      const LaneTotals<T> below = sum_of_lanes<T>(
          n,
          [&](Vec<T>& sum, int64_t j) SOFTSTEP_INLINE_LAMBDA {
            const Vec<T> v = at(x + j * in_stride);
            const auto is_other = v != max;
            Vec<T> e = scale(v - max);
            exp_to_one<T, 1>(&e);
            sum = select<T>(is_other, sum + e, sum);
            equal = is_other ? equal : equal + 1;
          },
          [&]() SOFTSTEP_INLINE_LAMBDA {
            Int<T> counts[lanes<T>];
            std::memcpy(counts, &equal, sizeof counts);
            for (int i = 0; i < lanes<T>; ++i) ties[i] += counts[i];
            equal = Vec<Int<T>>{};
          },
          stop);
      LaneTotals<T> others = below;
      for (int i = 0; i < lanes<T>; ++i) others.value[i] += static_cast<double>(ties[i] - 1);
      const LaneSums<T> sums{max, others.rounded()};
      if constexpr (form == Form::logsumexp) {
        store_partial(y, of_max(max) + log1p<T>(sums.others), count);
      } else {
        const Vec<T> log_total = sums.log_total();
        for (int64_t j = 0; j < n; ++j) {
          store_partial(y + j * out_stride, scale(at(x + j * in_stride) - max) - log_total, count);
          if (j % (ask_every / lanes<T>) == 0 && stop()) return;
        }
      }
    }
  }

  void run() const;
};

template <class T, Form form, class Scale>
void Forward<T, form, Scale>::run() const {
  // Other widths and types take the same steps in the same order, a little slower.
  constexpr bool has_few = form == Form::softmax && std::is_same_v<Scale, Unscaled> && std::is_same_v<T, float>;
  const int64_t columns = extent.columns;
  const bool may_stream = form != Form::logsumexp && extent.in_rows() && columns > narrow_columns && out != logits.data;
  RowStreams<T, Value> streams(may_stream ? extent.outer : 0, columns, team.threads());
  const auto rows_of = [&](int64_t begin, int64_t end, int thread, auto stop) {
    constexpr int L = lanes<T>;
    if (columns > narrow_columns) {
      for (int64_t r = begin; r < end; ++r) row(r, streams.of(thread), stop);
      return;
    }
    if constexpr (has_few) {
      if (columns <= few_columns) begin = softmax_of_few<T>(out, logits, columns, begin, end);
    }
    if constexpr (form == Form::softmax) {
      if (columns >= many_columns) return softmax_rows<T>(out, logits, static_cast<int>(columns), begin, end, scale);
    }
    for (int64_t r = begin; r < end; r += L) narrow({r, 0, static_cast<int>(end - r < L ? end - r : L)});
  };
  const auto lanes_of = [&](const Place& place, auto stop) {
    extent.columns <= narrow_columns ? narrow(place) : tall(place, stop);
  };
  for_axis<T>(extent, team, rows_of, lanes_of, [&](int thread) { streams.finish(thread); });
}

template <Form form, class T>
void forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads) {
  const Team team(threads, axis_nanoseconds<T>(extent));
  const auto run = [&](auto scale) { Forward<T, form, decltype(scale)>{out, logits, extent, scale, team}.run(); };
  if (temperature == 1) run(Unscaled{});
  else run(Scaled<T>(temperature));
}

}  // namespace

template <class T>
void softmax_forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads) {
  forward<Form::softmax>(out, logits, extent, temperature, threads);
}
template <class T>
void log_softmax_forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads) {
  forward<Form::log_softmax>(out, logits, extent, temperature, threads);
}
template <class T>
void logsumexp_forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads) {
  forward<Form::logsumexp>(out, logits, extent, temperature, threads);
}

#define SOFTSTEP_INSTANTIATE(name)                                               \
  template void name(float*, const Strided<float>&, const Extent&, double, int); \
  template void name(double*, const Strided<double>&, const Extent&, double, int);
SOFTSTEP_INSTANTIATE(softmax_forward)
SOFTSTEP_INSTANTIATE(log_softmax_forward)
SOFTSTEP_INSTANTIATE(logsumexp_forward)
#undef SOFTSTEP_INSTANTIATE

}  // namespace softstep
