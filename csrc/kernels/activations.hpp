// What `linear` may apply to its results, and the slopes for the way back, in the lanes of a vector.
//
//     relu(x) = x if x > 0 or x is NaN, else 0
//     sigmoid(x) = e / (1 + e) if x < 0, 1 / (1 + e) else,     e = exp(-|x|)
//     tanh(x) = sign(x) (1 - e) / (1 + e),                     e = exp(-2 |x|),    |x| >= 0.55;   below, a series in x
//
// Their slopes follow from the results a: [a > 0], a (1 - a), 1 - a^2.
//
// Numerics: exp of no positive argument, so nothing overflows. sigmoid is within 4 ulp. tanh of small arguments, where
// 1 - e would cancel, is x + x^3 P(x^2) as a continued fraction; within 4 ulp.
#pragma once

#include "simd/math.hpp"

namespace softstep {

enum class Activation { none, relu, sigmoid, tanh };

template <class T>
SOFTSTEP_INLINE Vec<T> absolute(Vec<T> x) {
  return bits<Vec<T>>(bits<Vec<Int<T>>>(x) & std::numeric_limits<Int<T>>::max());
}

template <class T>
SOFTSTEP_INLINE Vec<T> sigmoid(std::type_identity_t<Vec<T>> x) {
  const Vec<T> e = exp<T>(-absolute<T>(x));
  return select<T>(x < T(0), e, broadcast<T>(1)) / (e + T(1));
}

// Lambert's continued fraction of tanh, to x^2 / 15: its error at 0.55 is below 1e-17.
template <class T>
SOFTSTEP_INLINE Vec<T> tanh(std::type_identity_t<Vec<T>> x) {
  const Vec<T> size = absolute<T>(x), e = exp<T>(size * T(-2));
  const Vec<T> large = (T(1) - e) / (T(1) + e);
  const Vec<T> z = x * x;
  Vec<T> fraction = broadcast<T>(15);
#pragma GCC unroll 8
  for (int odd = 13; odd >= 3; odd -= 2) fraction = static_cast<T>(odd) + z / fraction;
  const Vec<T> small = size - size * z / (fraction + z);  // x / (1 + z / f) = x - x z / (f + z)
  const Vec<T> result = select<T>(size < T(0.55), small, large);
  return select<T>(x < T(0), -result, select<T>(x == x, result, x));
}

template <class T, Activation A>
SOFTSTEP_INLINE Vec<T> activate(std::type_identity_t<Vec<T>> x) {
  if constexpr (A == Activation::relu) return select<T>(x < T(0), Vec<T>{}, x);
  else if constexpr (A == Activation::sigmoid) return sigmoid<T>(x);
  else if constexpr (A == Activation::tanh) return tanh<T>(x);
  else return x;
}

// gradient * f'(z), where a = f(z).
template <class T, Activation A>
SOFTSTEP_INLINE Vec<T> times_slope(std::type_identity_t<Vec<T>> gradient, std::type_identity_t<Vec<T>> a) {
  if constexpr (A == Activation::relu) return select<T>(a <= T(0), Vec<T>{}, gradient);
  else if constexpr (A == Activation::sigmoid) return gradient * (a * (T(1) - a));
  else if constexpr (A == Activation::tanh) return gradient * (T(1) - a * a);
  else return gradient;
}

// f(std::integral_constant<Activation, ...>).
template <class F>
decltype(auto) with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::relu:
      return f(std::integral_constant<Activation, Activation::relu>{});
    case Activation::sigmoid:
      return f(std::integral_constant<Activation, Activation::sigmoid>{});
    case Activation::tanh:
      return f(std::integral_constant<Activation, Activation::tanh>{});
    default:
      return f(std::integral_constant<Activation, Activation::none>{});
  }
}

// In place.
template <class T>
void activate_row(T* y, int64_t count, Activation activation) {
  with_activation(activation, [=]<Activation A>(std::integral_constant<Activation, A>) {
    int64_t i = 0;
    for (; i + lanes<T> <= count; i += lanes<T>) store(y + i, activate<T, A>(load(y + i)));
    if (const int rest = static_cast<int>(count - i); rest > 0)
      store_partial(y + i, activate<T, A>(load_partial(y + i, rest)), rest);
  });
}

// gradient[i] *= f'(z[i]), where a[i] = f(z[i]).
template <class T>
void times_slope_row(T* gradient, const T* a, int64_t count, Activation activation) {
  with_activation(activation, [=]<Activation A>(std::integral_constant<Activation, A>) {
    int64_t i = 0;
    for (; i + lanes<T> <= count; i += lanes<T>)
      store(gradient + i, times_slope<T, A>(load(gradient + i), load(a + i)));
    if (const int rest = static_cast<int>(count - i); rest > 0)
      store_partial(gradient + i, times_slope<T, A>(load_partial(gradient + i, rest), load_partial(a + i, rest)), rest);
  });
}

}  // namespace softstep
