// Features of any type as vectors of the type computed in: load_as<T>(p), and a range of lanes only.
//
// Written with intrinsics where g++ 12 lowers a vector conversion to scalar inserts (bytes), and for float16, which the
// vector extensions do not have.
#pragma once

#include "simd/vec.hpp"

namespace softstep {

// IEEE binary16, and the upper half of a binary32; as they lie in memory.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

template <class X>
inline constexpr bool is_half = std::is_same_v<X, Float16> || std::is_same_v<X, BFloat16>;

// The lanes of `word` hold 16 bits each.
template <class X>
SOFTSTEP_INLINE Vec<float> widen(Vec<std::int32_t> word) {
  if constexpr (std::is_same_v<X, BFloat16>) {
    return bits<Vec<float>>(word << 16);
  } else {
    // The exponent is moved to its place and corrected by a multiplication, which makes subnormals right, too.
    const Vec<std::int32_t> sign = (word & 0x8000) << 16, rest = (word & 0x7fff) << 13;
    const Vec<std::int32_t> finite = bits<Vec<std::int32_t>>(bits<Vec<float>>(rest) * 0x1p112f);
    const auto special = (word & 0x7c00) == 0x7c00;
    return bits<Vec<float>>(sign | (special ? rest | 0x7f800000 : finite));
  }
}

template <class X>
SOFTSTEP_INLINE Vec<float> load_half(const X* p) {
#if defined(__AVX512F__)
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  if constexpr (std::is_same_v<X, Float16>) return (Vec<float>)_mm512_cvtph_ps(words);
  else return widen<X>((Vec<std::int32_t>)_mm512_cvtepu16_epi32(words));
#elif defined(__AVX2__)
  const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if constexpr (std::is_same_v<X, Float16>) return (Vec<float>)_mm256_cvtph_ps(words);
  else return widen<X>((Vec<std::int32_t>)_mm256_cvtepu16_epi32(words));
#else
  typedef std::uint16_t Words __attribute__((vector_size(vector_bytes / 2)));
  Words words;
  std::memcpy(&words, p, sizeof words);
  return widen<X>(__builtin_convertvector(words, Vec<std::int32_t>));
#endif
}

template <class T, class X>
SOFTSTEP_INLINE Vec<T> load_as(const X* p) {
  if constexpr (std::is_same_v<T, X>) {
    return load(p);
  } else if constexpr (is_half<X> && std::is_same_v<T, float>) {
    return load_half(p);
  } else if constexpr (is_half<X>) {
    X part[lanes<float>] = {};
    std::memcpy(part, p, lanes<T> * sizeof(X));
    const Vec<float> wide = load_half(part);
    typedef float Lower __attribute__((vector_size(lanes<T> * sizeof(float))));
    Lower lower;
    std::memcpy(&lower, &wide, sizeof lower);
    return __builtin_convertvector(lower, Vec<T>);
#if defined(__AVX512F__)
  } else if constexpr (std::is_same_v<X, std::uint8_t> && sizeof(T) == 4) {
    return (Vec<T>)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (std::is_same_v<X, std::int8_t> && sizeof(T) == 4) {
    return (Vec<T>)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (std::is_same_v<X, std::uint8_t> && sizeof(T) == 8) {
    return (Vec<T>)_mm512_cvtepi64_pd(_mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (std::is_same_v<X, std::int8_t> && sizeof(T) == 8) {
    return (Vec<T>)_mm512_cvtepi64_pd(_mm512_cvtepi8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  } else if constexpr (std::is_same_v<X, std::uint8_t> && sizeof(T) == 4) {
    return (Vec<T>)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (std::is_same_v<X, std::int8_t> && sizeof(T) == 4) {
    return (Vec<T>)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (std::is_same_v<X, std::uint8_t> && sizeof(T) == 8) {
    return (Vec<T>)_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadu_si32(p)));
  } else if constexpr (std::is_same_v<X, std::int8_t> && sizeof(T) == 8) {
    return (Vec<T>)_mm256_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_loadu_si32(p)));
#elif defined(__SSE4_1__)
  } else if constexpr (std::is_same_v<X, std::uint8_t> && sizeof(T) == 4) {
    return (Vec<T>)_mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_loadu_si32(p)));
  } else if constexpr (std::is_same_v<X, std::int8_t> && sizeof(T) == 4) {
    return (Vec<T>)_mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_loadu_si32(p)));
  } else if constexpr (std::is_same_v<X, std::uint8_t> && sizeof(T) == 8) {
    return (Vec<T>)_mm_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadu_si16(p)));
  } else if constexpr (std::is_same_v<X, std::int8_t> && sizeof(T) == 8) {
    return (Vec<T>)_mm_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_loadu_si16(p)));
#endif
  } else {
    typedef X Narrow __attribute__((vector_size(lanes<T> * sizeof(X))));
    Narrow v;
    std::memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, Vec<T>);
  }
}

// Lanes from .. to - 1, lane i from p[i], zero in the others; nothing else is read.
template <class T, class X>
SOFTSTEP_INLINE Vec<T> load_as_range(const X* p, int from, int to) {
  if constexpr (std::is_same_v<T, X>) {
    return load_range(p, from, to);
  } else {
    X part[lanes<T>] = {};
    for (int i = from; i < to; ++i) part[i] = p[i];
    return load_as<T>(part);
  }
}

}  // namespace softstep
