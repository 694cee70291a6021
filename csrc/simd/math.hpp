// exp, log and log1p in the lanes of a vector.
//
// exp(x): x = n log 2 + r with |r| <= log(2) / 2; exp(x) = 2^n (1 + r (1 + r P(r))), P a minimax polynomial whose
// relative
//     error is 3.1e-9 (float) or 3.7e-18 (double). n log 2 is subtracted in two parts, the first of which has so few
//     bits that the product with n is exact. 2^n is applied as two factors, so results run gradually into the
//     subnormals. Error: below 2 ulp for every argument; 0 and infinity where the exact value rounds to them; NaN stays
//     NaN.
// log(x), x >= 0: x = 2^n m with sqrt(1/2) <= m < sqrt(2); with f = m - 1, s = f / (2 + f),
//     log m = f - (f^2 / 2 - s (f^2 / 2 + s^2 Q(s^2))), Q minimax for (2 atanh(s) - 2 s) / s^3. Below 2 ulp.
// log1p(u), u >= 0: log(y) + (u - (y - 1)) / y with y = 1 + u rounded: the second term is what the rounding lost. Below
//     3 ulp, also for a u far below eps.
#pragma once

#include <limits>

#include "simd/vec.hpp"

namespace softstep {

namespace detail {

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr std::int32_t sqrt_half_bits = 0x3f3504f3, mantissa_mask = 0x007fffff;
  static constexpr float log2_e = 1.44269504f, log_2_high = 0.693359375f, log_2_low = -2.12194440e-4f;
  static constexpr float round = 0x1.8p23f, exp_lowest = -104.0f, exp_highest = 89.0f;
  static constexpr float exp_poly[] = {0.49999993432289917523f, 0.16666520396040907081f, 0.041668390725762334014f,
                                       0.0083687453867850250233f, 0.001381454414292435224f};
  static constexpr float log_poly[] = {0.66666777030159806827f, 0.39977451767822318118f, 0.29874368532336215868f};
};
template <>
struct Format<double> {
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr std::int64_t sqrt_half_bits = 0x3fe6a09e667f3bcd, mantissa_mask = 0x000fffffffffffff;
  static constexpr double log2_e = 1.4426950408889634, log_2_high = 0x1.62e42fee00000p-1,
                          log_2_low = 0x1.a39ef35793c76p-33;
  static constexpr double round = 0x1.8p52, exp_lowest = -746.0, exp_highest = 710.0;
  static constexpr double exp_poly[] = {0.50000000000000106682,     0.16666666666666411512,   0.041666666666529732664,
                                        0.0083333333334949800702,   0.0013888888943758789442, 0.00019841269505760469264,
                                        0.000024801492950804458456, 2.7557586818814346245e-6, 2.7630305859655154635e-7,
                                        2.5000013831782822946e-8};
  static constexpr double log_poly[] = {0.66666666666667352926, 0.39999999999407952866, 0.28571428744054440375,
                                        0.22222198386277032964, 0.18183574802034302105, 0.15313764245386755321,
                                        0.14798987622782296735};
};

template <class T, int N>
SOFTSTEP_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[N]) {
  Vec<T> y = broadcast<T>(c[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; --i) y = fma<T>(y, x, broadcast<T>(c[i]));
  return y;
}

}  // namespace detail

namespace detail {

// x[i] becomes exp(x[i]), for x[i] <= exp_highest or NaN. Each step is written for all N vectors before the next: one
// exp is a chain of sixty cycles, and a processor that sees the chains one after the other has too few of them under
// way at a time (four together take 0.7 of the time of four in turn).
template <class T, int N>
SOFTSTEP_INLINE void exp_from_below(Vec<T>* x) {
  using F = Format<T>;
  constexpr int terms = sizeof F::exp_poly / sizeof(T);
  Vec<T> shifted[N], n[N], y[N];
  // Where exp is 0 the result is made so, not computed: processors take a hundred cycles for an operation that
  // underflows, and -infinity, a class that is ruled out, is common. A NaN stays.
#if defined(__AVX512F__)
  std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8> inside[N];
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA {
    const Vec<T> low = broadcast<T>(F::exp_lowest);
    if constexpr (sizeof(T) == 4) inside[i] = _mm512_cmp_ps_mask((__m512)x[i], (__m512)low, _CMP_NLT_UQ);
    else inside[i] = _mm512_cmp_pd_mask((__m512d)x[i], (__m512d)low, _CMP_NLT_UQ);
  });
#else
  Vec<Int<T>> low[N];
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA {
    low[i] = x[i] < F::exp_lowest;
    x[i] = select<T>(low[i], Vec<T>{}, x[i]);
  });
#endif
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA {
    shifted[i] = fma<T>(x[i], broadcast<T>(F::log2_e), broadcast<T>(F::round));
  });
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { n[i] = shifted[i] - F::round; });
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { x[i] = fma<T>(n[i], broadcast<T>(-F::log_2_high), x[i]); });
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { x[i] = fma<T>(n[i], broadcast<T>(-F::log_2_low), x[i]); });
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { y[i] = broadcast<T>(F::exp_poly[terms - 1]); });
  repeat<terms - 1>(terms - 1, [&](int k) SOFTSTEP_INLINE_LAMBDA {
    repeat<N>(
        N, [&](int i) SOFTSTEP_INLINE_LAMBDA { y[i] = fma<T>(y[i], x[i], broadcast<T>(F::exp_poly[terms - 2 - k])); });
  });
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { y[i] = fma<T>(y[i], x[i], broadcast<T>(1)); });
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { x[i] = fma<T>(y[i], x[i], broadcast<T>(1)); });
#if defined(__AVX512F__)
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA {
    if constexpr (sizeof(T) == 4) x[i] = (Vec<T>)_mm512_maskz_scalef_ps(inside[i], (__m512)x[i], (__m512)n[i]);
    else x[i] = (Vec<T>)_mm512_maskz_scalef_pd(inside[i], (__m512d)x[i], (__m512d)n[i]);
  });
#else
  using I = Vec<Int<T>>;
  const auto two_to = [](I k) { return bits<Vec<T>>((k + F::bias) << F::mantissa_bits); };
  repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA {
    const I power = bits<I>(shifted[i]) - bits<I>(broadcast<T>(F::round)), half = power >> 1;
    x[i] = select<T>(low[i], Vec<T>{}, x[i] * two_to(half) * two_to(power - half));
  });
#endif
}

}  // namespace detail

template <class T>
SOFTSTEP_INLINE Vec<T> exp(std::type_identity_t<Vec<T>> x) {
  const Vec<T> high = broadcast<T>(detail::Format<T>::exp_highest);
  Vec<T> y = select<T>(x > high, high, x);
  detail::exp_from_below<T, 1>(&y);
  return y;
}

// x[0 .. N - 1] becomes exp(x), the same bits as above, for x <= 0 or NaN: what x - maximum is.
template <class T, int N>
SOFTSTEP_INLINE void exp_to_one(Vec<T>* x) {
  detail::exp_from_below<T, N>(x);
}

// x >= 0 or NaN; log(0) = -inf, log(inf) = inf.
template <class T>
SOFTSTEP_INLINE Vec<T> log(std::type_identity_t<Vec<T>> x) {
  using F = detail::Format<T>;
  using I = Vec<Int<T>>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const auto tiny = x < std::numeric_limits<T>::min();  // subnormal: scale it into the normal range
  const T scale = static_cast<T>(std::int64_t{1} << F::mantissa_bits);
  const I word = bits<I>(select<T>(tiny, x * scale, x)) - F::sqrt_half_bits;
  const I power = (word >> F::mantissa_bits) - ((I)tiny & F::mantissa_bits);
  const Vec<T> m = bits<Vec<T>>((word & F::mantissa_mask) + F::sqrt_half_bits);
  const Vec<T> n = __builtin_convertvector(power, Vec<T>);
  const Vec<T> f = m - T(1);
  const Vec<T> s = f / (f + T(2)), z = s * s;
  const Vec<T> half_square = f * f * T(0.5);
  const Vec<T> q = z * detail::polynomial<T>(z, F::log_poly);
  const Vec<T> low = fma<T>(s, half_square + q, n * F::log_2_low);
  const Vec<T> y = fma<T>(n, broadcast<T>(F::log_2_high), f - (half_square - low));
  const Vec<T> special = select<T>(x == T(0), broadcast<T>(-infinity), x + x);  // inf and NaN stay themselves
  return select<T>((x > T(0)) & (x < infinity), y, special);
}

// u >= 0 or NaN.
template <class T>
SOFTSTEP_INLINE Vec<T> log1p(std::type_identity_t<Vec<T>> u) {
  const Vec<T> y = u + T(1);
  const Vec<T> lost = (u - (y - T(1))) / y;
  const Vec<T> result = log<T>(y) + lost;
  return select<T>(u < std::numeric_limits<T>::max(), result, u);
}

}  // namespace softstep
