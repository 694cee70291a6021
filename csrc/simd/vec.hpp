// Vec<T>: as many lanes of T as the registers of this build hold, on the compilers' vector extensions.
//
// Arithmetic, comparison and `mask ? a : b` are the compiler's own. What the extensions lack stands here: fma, masked
// tails, transposition and sums across lanes. This and convert.hpp are the only files with intrinsics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define SOFTSTEP_INLINE inline __attribute__((always_inline))
#define SOFTSTEP_INLINE_LAMBDA __attribute__((always_inline))

namespace softstep {

using std::int64_t;

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;

template <class T>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

// How many vectors stay in registers.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int vector_registers = 32;
#else
inline constexpr int vector_registers = 16;
#endif

// The signed integer as wide as T: what comparisons yield, and where the bits of T are handled.
template <class T>
using Int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

template <class T>
SOFTSTEP_INLINE Vec<T> broadcast(std::type_identity_t<T> value) {
  return [value]<std::size_t... I>(std::index_sequence<I...>) {
    return Vec<T>{(static_cast<void>(I), value)...};
  }(std::make_index_sequence<lanes<T>>{});
}

template <class T>
SOFTSTEP_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
SOFTSTEP_INLINE void store(T* p, std::type_identity_t<Vec<T>> v) {
  std::memcpy(p, &v, sizeof v);
}

template <class To, class From>
SOFTSTEP_INLINE To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To r;
  std::memcpy(&r, &v, sizeof r);
  return r;
}

// 0, 1, 2, ... in the lanes.
template <class T>
SOFTSTEP_INLINE Vec<Int<T>> lane_numbers() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return Vec<Int<T>>{static_cast<Int<T>>(I)...};
  }(std::make_index_sequence<lanes<T>>{});
}

template <class T, class Mask>
SOFTSTEP_INLINE Vec<T> select(Mask mask, std::type_identity_t<Vec<T>> yes, std::type_identity_t<Vec<T>> no) {
  return mask ? yes : no;
}

// The larger of each lane; a NaN in `a` is passed over, one in `b` stays: callers look for NaN themselves.
template <class T>
SOFTSTEP_INLINE Vec<T> larger(std::type_identity_t<Vec<T>> a, std::type_identity_t<Vec<T>> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_max_ps((__m512)a, (__m512)b);
  else return (Vec<T>)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_max_ps((__m256)a, (__m256)b);
  else return (Vec<T>)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__x86_64__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm_max_ps((__m128)a, (__m128)b);
  else return (Vec<T>)_mm_max_pd((__m128d)a, (__m128d)b);
#else
  return select<T>(a > b, a, b);
#endif
}

// f(0), ..., f(count - 1): written out where Count, the number at compile time, is not 0. An array whose elements are
// used with such numbers only is kept in registers; one that a loop runs over, though it be unrolled later, is not.
template <int Count, class F>
SOFTSTEP_INLINE void repeat(int count, F f) {
  if constexpr (Count > 0) {
    [&]<int... I>(std::integer_sequence<int, I...>)
        SOFTSTEP_INLINE_LAMBDA { (f(I), ...); }(std::make_integer_sequence<int, Count>{});
  } else {
    for (int i = 0; i < count; ++i) f(i);
  }
}

// a * b + c, rounded once where the processor can; elsewhere a multiplication and an addition (libm's fma is a slow
// call).
template <class T>
SOFTSTEP_INLINE Vec<T> fma(std::type_identity_t<Vec<T>> a, std::type_identity_t<Vec<T>> b,
                           std::type_identity_t<Vec<T>> c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  else return (Vec<T>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  else return (Vec<T>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
  else return (Vec<T>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
  return a * b + c;
#endif
}

// Correctly rounded; NaN below zero.
template <class T>
SOFTSTEP_INLINE Vec<T> square_root(std::type_identity_t<Vec<T>> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_sqrt_ps((__m512)v);
  else return (Vec<T>)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_sqrt_ps((__m256)v);
  else return (Vec<T>)_mm256_sqrt_pd((__m256d)v);
#elif defined(__x86_64__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm_sqrt_ps((__m128)v);
  else return (Vec<T>)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)vsqrtq_f32((float32x4_t)v);
  else return (Vec<T>)vsqrtq_f64((float64x2_t)v);
#else
  for (int i = 0; i < lanes<T>; ++i) v[i] = static_cast<T>(__builtin_sqrt(static_cast<double>(v[i])));
  return v;
#endif
}

// The first `count` lanes (0 to all) from memory, zero in the others; nothing beyond them is read.
template <class T>
SOFTSTEP_INLINE Vec<T> load_partial(const T* p, int count) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
  else return (Vec<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p);
#elif defined(__AVX2__)
  const auto mask = bits<__m256i>(lane_numbers<T>() < static_cast<Int<T>>(count));
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_maskload_ps(p, mask);
  else return (Vec<T>)_mm256_maskload_pd(p, mask);
#else
  Vec<T> v{};
  for (int i = 0; i < lanes<T>; ++i)
    if (i < count) v[i] = p[i];
  return v;
#endif
}

// Lanes from .. to - 1, lane i from p[i], zero in the others; nothing else is read.
template <class T>
SOFTSTEP_INLINE Vec<T> load_range(const T* p, int from, int to) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>((1u << to) - (1u << from));
  if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_ps(mask, p);
  else return (Vec<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), p);
#else
  T part[lanes<T>] = {};
  for (int i = from; i < to; ++i) part[i] = p[i];
  return load(part);
#endif
}

// The first `count` lanes to memory; nothing beyond them is written.
template <class T>
SOFTSTEP_INLINE void store_partial(T* p, std::type_identity_t<Vec<T>> v, int count) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
  else _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), (__m512d)v);
#elif defined(__AVX2__)
  const auto mask = bits<__m256i>(lane_numbers<T>() < static_cast<Int<T>>(count));
  if constexpr (sizeof(T) == 4) _mm256_maskstore_ps(p, mask, (__m256)v);
  else _mm256_maskstore_pd(p, mask, (__m256d)v);
#else
  for (int i = 0; i < lanes<T>; ++i)
    if (i < count) p[i] = v[i];
#endif
}

// Past the caches: for results that are larger than they are, which those of so many bytes are taken to be. `p` must be
// aligned to a vector; finish with stream_fence().
constexpr std::int64_t larger_than_caches = std::int64_t{8} << 20;
template <class T>
SOFTSTEP_INLINE void store_streaming(T* p, std::type_identity_t<Vec<T>> v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), bits<__m512i>(v));
#elif defined(__AVX2__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), bits<__m256i>(v));
#elif defined(__x86_64__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), bits<__m128i>(v));
#else
  store(p, v);
#endif
}

SOFTSTEP_INLINE void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Towards the second-level cache: a tile that is fetched ahead would not fit the first.
SOFTSTEP_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }
template <int N, class T>
SOFTSTEP_INLINE void prefetch_vectors(const T* p) {
#pragma GCC unroll 4
  for (int byte = 0; byte < N * vector_bytes; byte += 64) prefetch(reinterpret_cast<const char*>(p) + byte);
}

// Towards the first-level cache: what is read, or written, soon.
SOFTSTEP_INLINE void prefetch_soon(const void* p) { __builtin_prefetch(p, 0, 3); }
SOFTSTEP_INLINE void prefetch_to_write(const void* p) { __builtin_prefetch(p, 1, 3); }

namespace detail {

// Of two rows, the blocks of `Step` lanes that a transposition puts into the first (or with High the second) of them.
template <class T, int Step, bool High, std::size_t... I>
SOFTSTEP_INLINE Vec<T> exchange(Vec<T> a, Vec<T> b, std::index_sequence<I...>) {
  constexpr int n = lanes<T>;
  if constexpr (High) return __builtin_shufflevector(a, b, ((I & Step) ? int(I) + n : int(I) + Step)...);
  else return __builtin_shufflevector(a, b, ((I & Step) ? int(I) - Step + n : int(I))...);
}

template <class T, int Step, bool High>
SOFTSTEP_INLINE Vec<T> exchange(Vec<T> a, Vec<T> b) {
  return exchange<T, Step, High>(a, b, std::make_index_sequence<lanes<T>>{});
}

// Shuffles of two vectors that x86 does in one instruction without a table. A group is 128 bits, the reach of most.
// Zip: in each group, `Width` lanes of a and of b in turns, from the lower or upper half. Groups: the groups of a and
// then of b with even or odd numbers.
enum class Pick { zip_low, zip_high, groups_even, groups_odd };

template <class T>
inline constexpr int group_lanes = 16 / static_cast<int>(sizeof(T));

template <class T, Pick pick, int Width>
constexpr int picked(int i) {
  constexpr int n = lanes<T>, g = group_lanes<T>;
  if constexpr (pick == Pick::zip_low || pick == Pick::zip_high) {
    const int within = i % g, turn = within / Width;
    return i - within + turn / 2 * Width + within % Width + (pick == Pick::zip_high ? g / 2 : 0) + (turn % 2 ? n : 0);
  } else {
    return (i / g * 2 + (pick == Pick::groups_odd ? 1 : 0)) * g + i % g;
  }
}

template <class T, Pick pick, int Width = 1>
SOFTSTEP_INLINE Vec<T> shuffle(Vec<T> a, Vec<T> b) {
  return [&]<int... I>(std::integer_sequence<int, I...>) SOFTSTEP_INLINE_LAMBDA {
    return __builtin_shufflevector(a, b, picked<T, pick, Width>(I)...);
  }(std::make_integer_sequence<int, lanes<T>>{});
}

// Inside each group: m[0 .. group_lanes - 1], rows to columns.
template <class T>
SOFTSTEP_INLINE void transpose_in_groups(Vec<T>* m) {
  if constexpr (group_lanes<T> == 4) {
    const Vec<T> a = shuffle<T, Pick::zip_low>(m[0], m[1]), b = shuffle<T, Pick::zip_low>(m[2], m[3]);
    const Vec<T> c = shuffle<T, Pick::zip_high>(m[0], m[1]), d = shuffle<T, Pick::zip_high>(m[2], m[3]);
    m[0] = shuffle<T, Pick::zip_low, 2>(a, b);
    m[1] = shuffle<T, Pick::zip_high, 2>(a, b);
    m[2] = shuffle<T, Pick::zip_low, 2>(c, d);
    m[3] = shuffle<T, Pick::zip_high, 2>(c, d);
  } else {
    const Vec<T> a = shuffle<T, Pick::zip_low>(m[0], m[1]);
    m[1] = shuffle<T, Pick::zip_high>(m[0], m[1]);
    m[0] = a;
  }
}

// Groups as wholes: of the vectors m[0], m[group_lanes], ..., the numbers of vector and group change places.
template <class T>
SOFTSTEP_INLINE void transpose_of_groups(Vec<T>* m) {
  constexpr int g = group_lanes<T>;
  if constexpr (lanes<T> / g == 4) {
    const Vec<T> a = shuffle<T, Pick::groups_even>(m[0], m[g]), b = shuffle<T, Pick::groups_even>(m[2 * g], m[3 * g]);
    const Vec<T> c = shuffle<T, Pick::groups_odd>(m[0], m[g]), d = shuffle<T, Pick::groups_odd>(m[2 * g], m[3 * g]);
    m[0] = shuffle<T, Pick::groups_even>(a, b);
    m[g] = shuffle<T, Pick::groups_even>(c, d);
    m[2 * g] = shuffle<T, Pick::groups_odd>(a, b);
    m[3 * g] = shuffle<T, Pick::groups_odd>(c, d);
  } else if constexpr (lanes<T> / g == 2) {
    const Vec<T> a = shuffle<T, Pick::groups_even>(m[0], m[g]);
    m[g] = shuffle<T, Pick::groups_odd>(m[0], m[g]);
    m[0] = a;
  }
}

template <class T, int Step>
SOFTSTEP_INLINE void sum_stage(Vec<T>* m) {
#pragma GCC unroll 16
  for (int i = 0; i < Step; ++i)
    m[i] = exchange<T, Step, false>(m[i], m[i + Step]) + exchange<T, Step, true>(m[i], m[i + Step]);
}

template <class T, int Step>
SOFTSTEP_INLINE void max_stage(Vec<T>* m) {
#pragma GCC unroll 16
  for (int i = 0; i < Step; ++i)
    m[i] = larger<T>(exchange<T, Step, false>(m[i], m[i + Step]), exchange<T, Step, true>(m[i], m[i + Step]));
}

}  // namespace detail

// The square matrix in m[0 .. lanes - 1], rows to columns, in registers. Columns that are not used afterwards cost
// little; after FewIn it is rows of no meaning that cost little.
template <class T, bool FewIn = false>
SOFTSTEP_INLINE void transpose(Vec<T>* m) {
  constexpr int g = detail::group_lanes<T>, groups = lanes<T> / g;
  const auto of_groups = [&]() SOFTSTEP_INLINE_LAMBDA {
    repeat<g>(g, [&](int k) SOFTSTEP_INLINE_LAMBDA { detail::transpose_of_groups<T>(m + k); });
  };
  if constexpr (!FewIn) of_groups();
  repeat<groups>(groups, [&](int k) SOFTSTEP_INLINE_LAMBDA { detail::transpose_in_groups<T>(m + k * g); });
  if constexpr (FewIn) of_groups();
}

// Lane i of the result is the sum of the lanes of m[i]: `lanes` horizontal sums for the price of about two each.
template <class T>
SOFTSTEP_INLINE Vec<T> row_sums(Vec<T>* m) {
  if constexpr (lanes<T> > 8) detail::sum_stage<T, 8>(m);
  if constexpr (lanes<T> > 4) detail::sum_stage<T, 4>(m);
  if constexpr (lanes<T> > 2) detail::sum_stage<T, 2>(m);
  detail::sum_stage<T, 1>(m);
  return m[0];
}

// Likewise the maxima of the rows; none may be NaN.
template <class T>
SOFTSTEP_INLINE Vec<T> row_maxima(Vec<T>* m) {
  if constexpr (lanes<T> > 8) detail::max_stage<T, 8>(m);
  if constexpr (lanes<T> > 4) detail::max_stage<T, 4>(m);
  if constexpr (lanes<T> > 2) detail::max_stage<T, 2>(m);
  detail::max_stage<T, 1>(m);
  return m[0];
}

// Sum and maximum over the lanes of one vector, as a fixed tree.
template <class T>
SOFTSTEP_INLINE T sum_lanes(std::type_identity_t<Vec<T>> v) {
  T part[lanes<T>];
  store(part, v);
  for (int width = lanes<T> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) part[i] += part[i + width];
  return part[0];
}

template <class T>
SOFTSTEP_INLINE T max_lanes(std::type_identity_t<Vec<T>> v) {
  T part[lanes<T>];
  store(part, v);
  for (int width = lanes<T> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) part[i] = part[i + width] > part[i] ? part[i + width] : part[i];
  return part[0];
}

// Is any lane of a comparison's result set?
template <class Mask>
SOFTSTEP_INLINE bool any(Mask mask) {
  std::int64_t words[sizeof(Mask) / 8], together = 0;
  std::memcpy(words, &mask, sizeof mask);
  for (auto word : words) together |= word;
  return together != 0;
}

}  // namespace softstep
