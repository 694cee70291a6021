// Optimizer steps: SGD, RMSprop, Adam and AdamW, in PyTorch's order, and the global norm of gradients.
//
// With g the gradient times the clip factor, negated to maximize, and everything per element:
//
//     SGD       g = g + weight_decay p
//               b = g on the first step, else momentum b + (1 - dampening) g            (with momentum only)
//               g = g + momentum b if nesterov else b                                   (with momentum only)
//               p = p - lr g
//
//     RMSprop   g = g + weight_decay p
//               v = alpha v + (1 - alpha) g^2
//               a = a + (1 - alpha) (g - a)                                             (centered only)
//               g = g / (sqrt(v - a^2) + eps), without a^2 where not centered
//               b = momentum b + g, g = b                                               (with momentum only)
//               p = p - lr g
//
//     Adam      g = g + weight_decay p        AdamW     p = p - lr weight_decay p
//               m = m + (1 - beta1) (g - m)
//               v = beta2 v + (1 - beta2) g^2
//               w = max(w, v)                                                           (amsgrad only; else w = v)
//               p = p - lr / (1 - beta1^t) m / (sqrt(w) / sqrt(1 - beta2^t) + eps),     t = 1, 2, ...
//
// Numbers that depend on the settings alone are computed in double and rounded once to the arrays' type; the rest is
// computed in that type, with fused multiply-adds. v - a^2 is a variance: where rounding makes it negative it is 0
// here.
//
// A rule is a function of vectors, so that the fused training step applies the very same. What rules have in common:
//
//     states             how many state arrays a parameter has at the most
//     uses(k)            are the elements of state k read and written, with these settings?
//     step(p, g, state)  the new value of p; updates the states in use, and leaves the others alone
//     advance()          make it the rule of the step after this one
//
// One pass over memory: each element is read and written once. The arrays are cut into tiles by their sizes alone. The
// norm is the square root of a sum in double, by fixed tiles that are added as a fixed tree; the clip factor it leads
// to, min(1, max_norm / (norm + 1e-6)), is applied as gradients are read. A norm that is infinite or NaN goes the way
// of that formula (PyTorch's with error_if_nonfinite=False): NaN parameters, or a factor of 0.
#pragma once

#include <cmath>
#include <vector>

#include "parallel.hpp"
#include "simd/vec.hpp"

namespace softstep {

template <class T>
struct Sgd {
  static constexpr int states = 1;  // the momentum buffer
  T lr, momentum, dampening, weight_decay;
  bool nesterov, maximize, first_step;

  bool uses(int) const { return momentum != 0; }
  void advance() { first_step = false; }

  SOFTSTEP_INLINE Vec<T> step(std::type_identity_t<Vec<T>> p, std::type_identity_t<Vec<T>> grad, Vec<T>* state) const {
    Vec<T> g = maximize ? -grad : grad;
    if (weight_decay != 0) g = fma<T>(broadcast<T>(weight_decay), p, g);
    if (momentum != 0) {
      Vec<T>& b = state[0];
      b = first_step ? g : fma<T>(broadcast<T>(momentum), b, g * (T(1) - dampening));
      g = nesterov ? fma<T>(broadcast<T>(momentum), b, g) : b;
    }
    return fma<T>(broadcast<T>(-lr), g, p);
  }
};

template <class T>
struct Rmsprop {
  static constexpr int states = 3;  // square_avg, grad_avg (centered), momentum buffer
  T lr, alpha, one_minus_alpha, eps, weight_decay, momentum;
  bool centered, maximize;

  Rmsprop(double lr, double alpha, double eps, double weight_decay, double momentum, bool centered, bool maximize)
      : lr(T(lr)),
        alpha(T(alpha)),
        one_minus_alpha(T(1 - alpha)),
        eps(T(eps)),
        weight_decay(T(weight_decay)),
        momentum(T(momentum)),
        centered(centered),
        maximize(maximize) {}

  bool uses(int k) const { return k == 0 || (k == 1 ? centered : momentum != 0); }
  void advance() {}

  SOFTSTEP_INLINE Vec<T> step(std::type_identity_t<Vec<T>> p, std::type_identity_t<Vec<T>> grad, Vec<T>* state) const {
    Vec<T> g = maximize ? -grad : grad;
    if (weight_decay != 0) g = fma<T>(broadcast<T>(weight_decay), p, g);
    Vec<T>& v = state[0];
    v = fma<T>(g * one_minus_alpha, g, v * alpha);
    Vec<T> variance = v;
    if (centered) {
      Vec<T>& a = state[1];
      a = fma<T>(broadcast<T>(one_minus_alpha), g - a, a);
      variance = fma<T>(-a, a, v);
      variance = select<T>(variance < T(0), Vec<T>{}, variance);
    }
    g = g / (square_root<T>(variance) + eps);
    if (momentum != 0) {
      Vec<T>& b = state[2];
      b = fma<T>(broadcast<T>(momentum), b, g);
      g = b;
    }
    return fma<T>(broadcast<T>(-lr), g, p);
  }
};

struct AdamSettings {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled, amsgrad, maximize;  // decoupled weight decay: AdamW
};

template <class T>
struct Adam {
  static constexpr int states = 3;  // exp_avg, exp_avg_sq, max_exp_avg_sq (amsgrad)
  AdamSettings settings;
  int64_t count;  // of steps, this one included
  T one_minus_beta1, beta2, one_minus_beta2, eps, decay, keep, step_size, root_scale;

  Adam(const AdamSettings& s, int64_t step)
      : settings(s),
        count(step),
        one_minus_beta1(T(1 - s.beta1)),
        beta2(T(s.beta2)),
        one_minus_beta2(T(1 - s.beta2)),
        eps(T(s.eps)),
        decay(T(s.decoupled ? 0 : s.weight_decay)),
        keep(T(s.decoupled ? 1 - s.lr * s.weight_decay : 1)) {
    correct_bias();
  }

  bool uses(int k) const { return k < 2 || settings.amsgrad; }
  void advance() {
    ++count;
    correct_bias();
  }

  SOFTSTEP_INLINE Vec<T> step(std::type_identity_t<Vec<T>> p, std::type_identity_t<Vec<T>> grad, Vec<T>* state) const {
    Vec<T> g = settings.maximize ? -grad : grad;
    if (decay != 0) g = fma<T>(broadcast<T>(decay), p, g);
    p = p * keep;
    Vec<T>&m = state[0], &v = state[1];
    m = fma<T>(broadcast<T>(one_minus_beta1), g - m, m);
    v = fma<T>(g * one_minus_beta2, g, v * beta2);
    Vec<T> second = v;
    if (settings.amsgrad) {
      Vec<T>& w = state[2];
      w = select<T>(w > v, w, v);  // a NaN in v stays, one in w is passed over
      second = w;
    }
    const Vec<T> root = fma<T>(square_root<T>(second), broadcast<T>(root_scale), broadcast<T>(eps));
    return fma<T>(broadcast<T>(-step_size), m / root, p);
  }

 private:
  void correct_bias() {
    const double t = static_cast<double>(count);
    step_size = static_cast<T>(settings.lr / (1 - std::pow(settings.beta1, t)));
    root_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(settings.beta2, t)));
  }
};

// One parameter with what a step reads and writes beside it, `size` elements each. States not in use may be null.
template <class T>
struct Stepped {
  T* param;
  const T* grad;
  T* state[3];
  int64_t size;
};

// In place. The gradients are read as clip * grad. Runs to its end: a step that has begun is not interrupted.
template <class T, class Rule>
void optimizer_step(const Rule& rule, const std::vector<Stepped<T>>& arrays, double clip, int threads);

// A gradient that is only looked at, or scaled.
template <class T>
struct Gradient {
  T* grad;
  int64_t size;
};

// The sum of the squares of all elements.
template <class T>
double sum_of_squares(const std::vector<Gradient<const T>>& arrays, int threads);

// grad = clip * grad.
template <class T>
void scale_gradients(const std::vector<Gradient<T>>& arrays, double clip, int threads);

// PyTorch's; a NaN stays.
inline double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor > 1 ? 1.0 : factor;
}

}  // namespace softstep
