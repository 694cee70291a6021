#include "kernels/matrix_tiles.hpp"

namespace softstep {

namespace {

// Vectors along the axis of stride 1 of a matrix of type X.
template <class T, class X>
struct Source {
  const Operand<T>& matrix;
  int64_t stride;  // of the other axis

  // `count` elements from `along` on, of row `across`; zero in the other lanes.
  SOFTSTEP_INLINE Vec<T> operator()(int64_t across, int64_t along, int count) const {
    const int64_t place = matrix.order ? matrix.order[across] : across;
    const X* p = static_cast<const X*>(matrix.data) + place * stride + along;
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
void pack_panel(T* out, const Operand<T>& b, int64_t first, int64_t count, int64_t begin, int64_t end) {
  constexpr int L = lanes<T>, P = panel_columns<T>;
  with_source(b, [&](const auto source) {
    for (int v = 0; v < panel_vectors; ++v) {
      const int64_t column = first + v * L;
      const int columns = lanes_until<T>(column, first + count);
      T* place = out + v * L;
      if (columns == 0) {
        for (int64_t k = begin; k < end; ++k, place += P) store(place, Vec<T>{});
      } else if (!b.rows_adjoin) {
        for (int64_t k = begin; k < end; k += L) {
          const int some = lanes_until<T>(k, end);
          Vec<T> block[L];
          load_transposed<T>(block, source, column, columns, k, some);
          for (int i = 0; i < some; ++i, place += P) store(place, block[i]);
        }
      } else {
        for (int64_t k = begin; k < end; ++k, place += P) store(place, source(k, column, columns));
      }
    }
  });
}

template <class T>
void copy_rows(T* out, const Operand<T>& a, int64_t first, int64_t count, int64_t begin, int64_t depth) {
  constexpr int L = lanes<T>;
  const int64_t stride = copied_stride<T>(depth), end = begin + depth;
  with_source(a, [&](const auto source) {
    if (!a.rows_adjoin) {
      for (int64_t r = 0; r < count; ++r, out += stride)
        for (int64_t k = begin; k < end; k += L) store(out + k - begin, source(first + r, k, lanes_until<T>(k, end)));
    } else {
      for (int64_t r = 0; r < count; r += L) {
        const int rows = lanes_until<T>(r, count);
        for (int64_t k = begin; k < end; k += L) {
          Vec<T> block[L];
          load_transposed<T>(block, source, k, lanes_until<T>(k, end), first + r, rows);
          for (int i = 0; i < rows; ++i) store(out + (r + i) * stride + k - begin, block[i]);
        }
      }
    }
  });
}

template void pack_panel(float*, const Operand<float>&, int64_t, int64_t, int64_t, int64_t);
template void pack_panel(double*, const Operand<double>&, int64_t, int64_t, int64_t, int64_t);
template void copy_rows(float*, const Operand<float>&, int64_t, int64_t, int64_t, int64_t);
template void copy_rows(double*, const Operand<double>&, int64_t, int64_t, int64_t, int64_t);

}  // namespace softstep
