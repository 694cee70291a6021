// Features of any type as vectors of the type computed in: load_as<T>(p), and a range of lanes only.
//
// Written with intrinsics where g++ 12 lowers a vector conversion to scalar inserts (bytes).
#pragma once

#include "simd/vec.hpp"

namespace softstep {

template <class T, class X>
SOFTSTEP_INLINE Vec<T> load_as(const X* p) {
  if constexpr (std::is_same_v<T, X>) {
    return load(p);
#if defined(__AVX512F__)
  } else if constexpr (sizeof(X) == 1 && sizeof(T) == 4) {
    return (Vec<T>)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (sizeof(X) == 1 && sizeof(T) == 8) {
    return (Vec<T>)_mm512_cvtepi64_pd(_mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  } else if constexpr (sizeof(X) == 1 && sizeof(T) == 4) {
    return (Vec<T>)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else if constexpr (sizeof(X) == 1 && sizeof(T) == 8) {
    return (Vec<T>)_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadu_si32(p)));
#elif defined(__SSE4_1__)
  } else if constexpr (sizeof(X) == 1 && sizeof(T) == 4) {
    return (Vec<T>)_mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_loadu_si32(p)));
  } else if constexpr (sizeof(X) == 1 && sizeof(T) == 8) {
    return (Vec<T>)_mm_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadu_si16(p)));
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
