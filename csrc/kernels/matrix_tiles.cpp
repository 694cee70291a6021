#include "kernels/matrix_tiles.hpp"

namespace softstep {

namespace {

// How many rows of memory a panel's next rows are fetched ahead: they lie far apart, where no processor looks by
// itself.
constexpr int64_t rows_ahead = 8;

// Vectors along the axis of stride 1 of a matrix of type X.
template <class T, class X>
struct Source {
  const Operand<T>& matrix;
  int64_t stride;  // of the other axis

  SOFTSTEP_INLINE const X* at(int64_t across, int64_t along) const {
    return static_cast<const X*>(matrix.data) + (matrix.order ? matrix.order[across] : across) * stride + along;
  }

  // `count` elements from `along` on, of row `across` or of one that begins at `row`; zero in the other lanes.
  SOFTSTEP_INLINE Vec<T> operator()(int64_t across, int64_t along, int count) const {
    return of(at(across, 0), along, count);
  }
  SOFTSTEP_INLINE Vec<T> of(const X* row, int64_t along, int count) const {
    const X* p = row + along;
    if (count == lanes<T>) {
      const Vec<T> x = load_as<T>(p);
      return matrix.scale ? fma<T>(x, load(matrix.scale + along), load(matrix.shift + along)) : x;
    }
    const Vec<T> x = load_as_range<T>(p, 0, count);
    return matrix.scale
               ? fma<T>(x, load_partial(matrix.scale + along, count), load_partial(matrix.shift + along, count))
               : x;
  }
};

// f(source): the elements of the matrix along its axis of stride 1.
template <class T, class F>
void with_source(const Operand<T>& matrix, F f) {
  with_type(matrix.feature, [&]<class X>(X) { f(Source<T, X>{matrix, matrix.stride()}); });
}

// The block of `lanes` rows of memory from `across` on and as many elements from `along` on, transposed.
template <class T, class X>
SOFTSTEP_INLINE void load_transposed(Vec<T>* block, const Source<T, X>& source, int64_t across, int rows, int64_t along,
                                     int count) {
  for (int i = 0; i < lanes<T>; ++i) block[i] = i < rows ? source(across + i, along, count) : Vec<T>{};
  transpose<T>(block);
}

template <class T>
int lanes_until(int64_t begin, int64_t end) {
  return static_cast<int>(std::clamp<int64_t>(end - begin, 0, lanes<T>));
}

}  // namespace

template <class T>
void pack_panels(T* out, const Operand<T>& b, int64_t first, const Panels<T>& panels, int64_t from, int64_t to,
                 int64_t begin, int64_t end) {
  constexpr int L = lanes<T>, P = panel_columns<T>;
  struct Column {  // a vector of a panel: so many of b's rows
    T* place;
    int64_t row;
    int count;
  };
  Column columns[group_panels * panel_vectors + 1];
  int vectors = 0;
  for (int64_t panel = from; panel < to; ++panel)
    for (int v = 0; v < panel_vectors; ++v) {
      const int64_t row = panels.begin(panel) + v * L;
      columns[vectors++] = {out + (panel - from) * P * (end - begin) + v * L, first + row,
                            lanes_until<T>(row, panels.begin(panel + 1))};
    }
  columns[vectors] = {};
  with_source(b, [&](const auto source) {
    if (b.rows_adjoin) {
      for (int64_t k = begin; k < end; ++k) {
        const auto* const row = source.at(k, 0);
        const auto* const ahead = source.at(std::min(k + rows_ahead, end - 1), 0);
        for (int i = 0; i < vectors; ++i) {
          const Column& c = columns[i];
          prefetch_soon(ahead + (c.count ? c.row : 0));
          store(c.place + (k - begin) * P, c.count ? source.of(row, c.row, c.count) : Vec<T>{});
        }
      }
      return;
    }
    for (int i = 0; i < vectors; ++i) {
      T* place = columns[i].place;
      const Column &c = columns[i], &next = columns[i + 1];
      for (int64_t k = begin; k < end; k += L) {
        const int some = lanes_until<T>(k, end);
        for (int r = 0; r < next.count; ++r) prefetch(source.at(next.row + r, k));
        Vec<T> block[L] = {};
        if (c.count > 0) load_transposed<T>(block, source, c.row, c.count, k, some);
        for (int r = 0; r < some; ++r, place += P) store(place, block[r]);
      }
    }
  });
}

template <class T>
void copy_rows(T* out, const Operand<T>& a, int64_t first, int64_t count, int64_t begin, int64_t depth,
               int64_t following) {
  constexpr int L = lanes<T>;
  const int64_t stride = copied_stride<T>(depth), end = begin + depth;
  with_source(a, [&](const auto source) {
    if (!a.rows_adjoin) {
      for_row_pieces(
          0, count, count + following - 1, depth, [&](int64_t r) { return source.at(first + r, begin); },
          [&](int64_t r, int64_t k, int64_t to) {
            const auto* const row = source.at(first + r, 0);
            for (; k < to; k += L) store(out + r * stride + k, source.of(row, begin + k, lanes_until<T>(k, depth)));
          });
      return;
    }
    for (int64_t k = begin; k < end; k += L) {
      const int some = lanes_until<T>(k, end), more = lanes_until<T>(k + L, end);
      for (int64_t r = 0; r < count; r += L) {
        const int rows = lanes_until<T>(r, count);
        for (int i = 0; i < more; ++i) prefetch_soon(source.at(k + L + i, first + r));
        Vec<T> block[L];
        load_transposed<T>(block, source, k, some, first + r, rows);
        for (int i = 0; i < rows; ++i) store(out + (r + i) * stride + k - begin, block[i]);
      }
    }
  });
}

template void pack_panels(float*, const Operand<float>&, int64_t, const Panels<float>&, int64_t, int64_t, int64_t,
                          int64_t);
template void pack_panels(double*, const Operand<double>&, int64_t, const Panels<double>&, int64_t, int64_t, int64_t,
                          int64_t);
template void copy_rows(float*, const Operand<float>&, int64_t, int64_t, int64_t, int64_t, int64_t);
template void copy_rows(double*, const Operand<double>&, int64_t, int64_t, int64_t, int64_t, int64_t);

}  // namespace softstep
