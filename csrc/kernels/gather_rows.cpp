#include "kernels/gather_rows.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

// copy(past, row, from, to): elements from .. to - 1 of each row, whose `size` elements begin at at(row) and become
// `result` bytes; past the caches if `past` says so.
template <class At, class Copy>
void for_rows(int64_t rows, int64_t size, int64_t result, int threads, At at, Copy copy) {
  if (size == 0) return;  // there may be more such rows than could be counted
  const int64_t bytes = size * static_cast<int64_t>(sizeof(*at(0)));
  const RowTiles tiles(rows, (bytes + 3) / 4, rows_together);
  const Team team(threads, static_cast<double>(rows) * static_cast<double>(bytes) * 0.1);
  const auto run = [&]<bool Past>(std::bool_constant<Past> past) {
    for_tiles(
        tiles.count, team,
        [&](int64_t tile, int) {
          for_row_pieces(tiles.begin(tile), tiles.end(tile), rows - 1, size, at,
                         [&](int64_t row, int64_t from, int64_t to)
                             SOFTSTEP_INLINE_LAMBDA { copy(past, row, from, to); });
        },
        [](int) {
          if (Past) stream_fence();
        });
  };
  // The ends of rows go through the caches, and with shorter vectors parts of lines would: slower than everything.
  constexpr int64_t long_row = 2048;
  constexpr bool whole_lines = vector_bytes == 64;
  if (whole_lines && result >= long_row && rows * result >= larger_than_caches) run(std::bool_constant<whole_lines>{});
  else run(std::false_type{});
}

// A row's vectors of L elements that begin in from .. to - 1, at aligned places of the result, by whole(k), and what is
// before the first and after the last of them, by some(k, count). `place` is where the row goes.
template <int L, class P, class Whole, class Some>
SOFTSTEP_INLINE void for_aligned(const P* place, int64_t from, int64_t to, int64_t size, Whole whole, Some some) {
  const auto off = static_cast<int64_t>(reinterpret_cast<std::uintptr_t>(place) % vector_bytes / sizeof(P));
  const int64_t head = std::min(off ? L - off : 0, size), tail = head + (size - head) / L * L;
  if (from == 0 && head > 0) some(0, static_cast<int>(head));
  const int64_t begin = from <= head ? head : head + (from - head + L - 1) / L * L, end = std::min(to, tail);
  for (int64_t k = begin; k < end; k += L) whole(k);
  if (to == size && tail < size) some(tail, static_cast<int>(size - tail));
}

template <class T, bool Shifted>
SOFTSTEP_INLINE Vec<T> scaled(std::type_identity_t<Vec<T>> x, std::type_identity_t<Vec<T>> scale,
                              std::type_identity_t<Vec<T>> shift) {
  return Shifted ? x * scale + shift : x * scale;
}

template <class T, class X, bool Scaled, bool Shifted>
void convert_rows(T* out, const Features<T>& x, int64_t rows, int threads) {
  const int64_t K = x.columns;
  const auto at = [&](int64_t i) { return static_cast<const X*>(x.at(i)); };
  for_rows(rows, K, K * static_cast<int64_t>(sizeof(T)), threads, at,
           [&]<bool Past>(std::bool_constant<Past>, int64_t i, int64_t from, int64_t to) SOFTSTEP_INLINE_LAMBDA {
             const X* const row = at(i);
             T* const place = out + i * K;
             const auto factors = [&](int64_t k, Vec<T> v, auto load_factors) {
               if (!Scaled) return v;
               return scaled<T, Shifted>(v, load_factors(x.scale + k), load_factors((Shifted ? x.shift : x.scale) + k));
             };
             const auto whole = [&](int64_t k) SOFTSTEP_INLINE_LAMBDA {
               return factors(k, load_as<T>(row + k), [](const T* p) { return load(p); });
             };
             const auto some = [&](int64_t k, int count) {
               const auto load_some = [&](const T* p) { return load_partial(p, count); };
               store_partial(place + k, factors(k, load_as_range<T>(row + k, 0, count), load_some), count);
             };
             constexpr int L = lanes<T>;
             if constexpr (Past) {
               for_aligned<L>(
                   place, from, to, K,
                   [&](int64_t k) SOFTSTEP_INLINE_LAMBDA { store_streaming<T>(place + k, whole(k)); }, some);
             } else {
               for (; from + L <= to; from += L) store(place + from, whole(from));
               if (from < to) some(from, static_cast<int>(to - from));
             }
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
  constexpr int64_t page = 4096;
  if (!order && stride == row_bytes && row_bytes != page) {  // one run of bytes, of which short rows would be slow
    const int64_t bytes = rows * row_bytes, rest = bytes % page;
    gather_bytes(out, data, page, page, nullptr, bytes / page, threads);
    std::memcpy(out + bytes - rest, data + bytes - rest, static_cast<std::size_t>(rest));
    return;
  }
  const auto at = [&](int64_t i) { return data + (order ? order[i] : i) * stride; };
  for_rows(rows, row_bytes, row_bytes, threads, at,
           [&]<bool Past>(std::bool_constant<Past>, int64_t i, int64_t from, int64_t to) SOFTSTEP_INLINE_LAMBDA {
             char* const place = out + i * row_bytes;
             const char* const source = at(i);
             const auto some = [&](int64_t k, int64_t count) {
               std::memcpy(place + k, source + k, static_cast<std::size_t>(count));
             };
             if constexpr (Past) {
               for_aligned<vector_bytes>(
                   place, from, to, row_bytes,
                   [&](int64_t k) SOFTSTEP_INLINE_LAMBDA {
                     Vec<float> v;
                     std::memcpy(&v, source + k, sizeof v);
                     store_streaming<float>(reinterpret_cast<float*>(place + k), v);
                   },
                   some);
             } else {
               constexpr int64_t line = 64;  // of a known length it is a few instructions
               for (; from + line <= to; from += line) std::memcpy(place + from, source + from, line);
               if (from < to) some(from, to - from);
             }
           });
}

template void gather_rows(float*, const Features<float>&, int64_t, int);
template void gather_rows(double*, const Features<double>&, int64_t, int);

}  // namespace softstep
