#include "kernels/gather_rows.hpp"

#include <cstring>

#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

// copy(row, from, to): elements from .. to - 1 of each row, whose `size` elements begin at at(row).
template <class At, class Copy>
void for_rows(int64_t rows, int64_t size, int threads, At at, Copy copy) {
  if (size == 0) return;  // there may be more such rows than could be counted
  const int64_t bytes = size * static_cast<int64_t>(sizeof(*at(0)));
  const RowTiles tiles(rows, (bytes + 3) / 4, rows_together);
  const Team team(threads, static_cast<double>(rows) * static_cast<double>(bytes) * 0.1);
  for_tiles(tiles.count, team,
            [&](int64_t tile, int) { for_row_pieces(tiles.begin(tile), tiles.end(tile), rows - 1, size, at, copy); });
}

template <class T, bool Shifted>
SOFTSTEP_INLINE Vec<T> scaled(std::type_identity_t<Vec<T>> x, std::type_identity_t<Vec<T>> scale,
                              std::type_identity_t<Vec<T>> shift) {
  return Shifted ? x * scale + shift : x * scale;
}

template <class T, class X, bool Scaled, bool Shifted>
void convert_rows(T* out, const Features<T>& x, int64_t rows, int threads) {
  constexpr int L = lanes<T>;
  for_rows(
      rows, x.columns, threads, [&](int64_t i) { return static_cast<const X*>(x.at(i)); },
      [&](int64_t i, int64_t k, int64_t end) {
        const X* const row = static_cast<const X*>(x.at(i));
        T* const place = out + i * x.columns;
        const auto factors = [&](int64_t k, Vec<T> v, auto load_factors) {
          if (!Scaled) return v;
          return scaled<T, Shifted>(v, load_factors(x.scale + k), load_factors((Shifted ? x.shift : x.scale) + k));
        };
        for (; k + L <= end; k += L)
          store(place + k, factors(k, load_as<T>(row + k), [](const T* p) { return load(p); }));
        if (const int some = static_cast<int>(end - k))
          store_partial(
              place + k,
              factors(k, load_as_range<T>(row + k, 0, some), [&](const T* p) { return load_partial(p, some); }), some);
      });
}

}  // namespace

template <class T>
void gather_rows(T* out, const Features<T>& x, int64_t rows, int threads) {
  with_type(x.type, [&]<class X>(X) {
    if (x.shift) convert_rows<T, X, true, true>(out, x, rows, threads);
    else if (x.scale) convert_rows<T, X, true, false>(out, x, rows, threads);
    else convert_rows<T, X, false, false>(out, x, rows, threads);
  });
}

void gather_bytes(char* out, const char* data, int64_t stride, int64_t row_bytes, const int64_t* order, int64_t rows,
                  int threads) {
  const auto at = [&](int64_t i) { return data + (order ? order[i] : i) * stride; };
  for_rows(rows, row_bytes, threads, at, [&](int64_t i, int64_t from, int64_t to) {
    char* place = out + i * row_bytes + from;
    const char* source = at(i) + from;
    constexpr int64_t line = 64;  // of a known length it is a few instructions
    for (; to - from >= line; from += line, place += line, source += line) std::memcpy(place, source, line);
    std::memcpy(place, source, static_cast<std::size_t>(to - from));
  });
}

template void gather_rows(float*, const Features<float>&, int64_t, int);
template void gather_rows(double*, const Features<double>&, int64_t, int);

}  // namespace softstep
