// Stochastic gradient descent with momentum, in PyTorch's order:
//
//     g = -grad if maximize else grad
//     g = g + weight_decay p
//     buffer = g on the first step, else momentum buffer + (1 - dampening) g          (with momentum only)
//     g = g + momentum buffer if nesterov else buffer                                 (with momentum only)
//     p = p - lr g
//
// One pass: each element is read and written once. The rule stands here as a function of vectors, so that the fused
// training step applies the very same.
#pragma once

#include "parallel.hpp"
#include "simd/vec.hpp"

namespace softstep {

template <class T>
struct Sgd {
  T lr, momentum, dampening, weight_decay;
  bool nesterov, maximize, first_step;

  // The new value of p; `buffer` is read and written only with momentum.
  SOFTSTEP_INLINE Vec<T> step(std::type_identity_t<Vec<T>> p, std::type_identity_t<Vec<T>> grad, Vec<T>& buffer) const {
    Vec<T> g = maximize ? -grad : grad;
    if (weight_decay != 0) g = fma<T>(broadcast<T>(weight_decay), p, g);
    if (momentum != 0) {
      buffer = first_step ? g : fma<T>(broadcast<T>(momentum), buffer, g * (T(1) - dampening));
      g = nesterov ? fma<T>(broadcast<T>(momentum), buffer, g) : buffer;
    }
    return fma<T>(broadcast<T>(-lr), g, p);
  }
};

// In place over `size` elements; momentum_buffer may be null without momentum.
template <class T>
void sgd_step(T* param, T* momentum_buffer, const T* grad, int64_t size, const Sgd<T>& rule, int threads);

}  // namespace softstep
