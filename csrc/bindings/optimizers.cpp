#include "kernels/optimizers.hpp"

#include <algorithm>
#include <cmath>

#include "bindings/arrays.hpp"
#include "bindings/numbers.hpp"
#include "bindings/rooms.hpp"

namespace softstep {

// An array or a list or tuple of them, in a signature.
class Given : public pybind11::object {
  static bool any(PyObject*) { return true; }

 public:
  PYBIND11_OBJECT_DEFAULT(Given, pybind11::object, any)
};

}  // namespace softstep

template <>
struct pybind11::detail::handle_type_name<softstep::Given> {
  static constexpr auto name = const_name("numpy.ndarray | list");
};

namespace softstep {

namespace {

// What a step takes for one of its arguments: an array, or a list or tuple of them. The arrays are held, since another
// thread may change the list.
class Arrays {
 public:
  Arrays(const char* name, const std::optional<Given>& argument) : name_(name), given_(argument) {
    if (!given_) return;
    const Given& given = *argument;
    single_ = py::isinstance<py::array>(given);
    if (single_) {
      arrays_.push_back(py::reinterpret_borrow<py::array>(given));
    } else if (py::isinstance<py::list>(given) || py::isinstance<py::tuple>(given)) {
      for (py::handle item : py::tuple(given)) {
        if (!py::isinstance<py::array>(item)) wrong_type(name_of(arrays_.size()), item, "an ndarray");
        arrays_.push_back(py::reinterpret_borrow<py::array>(item));
      }
    } else {
      wrong_type(name, given, "an ndarray, or a list or tuple of them");
    }
  }

  // Is that an array where `like` is one, or a list or tuple of arrays? Anything else is for Python to convert, or to
  // refuse, subclasses such as masked arrays among it.
  static bool holds_arrays(const Given& given, const Arrays& like) {
    if (is_array(given)) return true;
    if (like.single_ || !(py::isinstance<py::list>(given) || py::isinstance<py::tuple>(given))) return false;
    for (py::handle item : py::tuple(given))
      if (!is_array(item)) return false;
    return true;
  }

  bool given() const { return given_; }
  std::string name() const { return name_; }
  std::size_t size() const { return arrays_.size(); }
  py::array& operator[](std::size_t i) { return arrays_[i]; }

  std::string name_of(std::size_t i) const {
    return single_ ? std::string(name_) : std::string(name_) + "[" + std::to_string(i) + "]";
  }

  void check_like(const Arrays& other) const {
    if (!given_ || (single_ == other.single_ && size() == other.size())) return;
    const auto kind = [](const Arrays& a) {
      return a.single_ ? std::string("one array") : "a list of " + std::to_string(a.size());
    };
    throw py::value_error(std::string(name_) + " is " + kind(*this) + "; accepted: " + kind(other) + ", as " +
                          other.name_);
  }

  // The elements of array i, which is written or read and has the shape of `like`.
  template <class T>
  T* written(std::size_t i, const py::array& like) {
    if (!same_shape(arrays_[i], like)) check_shape_of(name_of(i).c_str(), arrays_[i], like);
    return usable<T>(i) && arrays_[i].writeable() ? data<T>(i) : output<T>(name_of(i).c_str(), arrays_[i]);
  }

  template <class T>
  const T* read(std::size_t i, const py::array& like) {
    if (!same_shape(arrays_[i], like)) check_shape_of(name_of(i).c_str(), arrays_[i], like);
    return usable<T>(i) ? data<T>(i) : input<T>(name_of(i).c_str(), arrays_[i]);
  }

  // Can array i be read as it is?
  template <class T>
  bool usable(std::size_t i) const {
    constexpr int layout = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    return has_dtype<T>(arrays_[i]) && (arrays_[i].flags() & layout) == layout;
  }

 private:
  [[noreturn]] static void wrong_type(const std::string& name, py::handle given, const char* accepted) {
    throw py::type_error(name + " is a " + Py_TYPE(given.ptr())->tp_name + "; accepted: " + accepted);
  }

  static bool is_array(py::handle object) {
    return Py_TYPE(object.ptr()) == reinterpret_cast<PyTypeObject*>(py::detail::npy_api::get().PyArray_Type_);
  }

  static bool same_shape(const py::array& a, const py::array& b) {
    return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
  }

  template <class T>
  T* data(std::size_t i) const {
    return static_cast<T*>(const_cast<void*>(arrays_[i].data()));
  }

  const char* name_;
  bool given_, single_ = false;
  std::vector<py::array> arrays_;
};

// No array that is written may share memory with another. Sorted by address, each is compared with what reaches
// furthest among those before it.
class Extents {
 public:
  explicit Extents(std::size_t most) { extents_.reserve(most); }

  void add(Arrays& arrays, std::size_t i, bool written) {
    if (arrays[i].size()) extents_.push_back({extent(arrays[i]), &arrays, i, written});
  }

  void check() {
    std::sort(extents_.begin(), extents_.end(), [](const Extent& a, const Extent& b) { return a.at < b.at; });
    const Extent *furthest = nullptr, *furthest_written = nullptr;
    for (const Extent& e : extents_) {
      const Extent* other = e.written ? furthest : furthest_written;
      if (other && e.at.first < other->at.second) refuse(e.written ? e : *other, e.written ? *other : e);
      if (!furthest || e.at.second > furthest->at.second) furthest = &e;
      if (e.written && (!furthest_written || e.at.second > furthest_written->at.second)) furthest_written = &e;
    }
  }

 private:
  struct Extent {
    std::pair<const char*, const char*> at;
    const Arrays* arrays;
    std::size_t i;
    bool written;
  };

  [[noreturn]] static void refuse(const Extent& written, const Extent& other) {
    throw py::value_error(written.arrays->name_of(written.i) + " shares memory with " + other.arrays->name_of(other.i) +
                          "; accepted: an array of its own");
  }

  std::vector<Extent> extents_;
};

// f(float{}) or f(double{}), by the dtype of the first array.
template <class F>
decltype(auto) with_float_of(Arrays& arrays, F f) {
  if (arrays.size() == 0 || has_dtype<float>(arrays[0])) return f(float{});
  if (has_dtype<double>(arrays[0])) return f(double{});
  wrong_dtype(arrays.name_of(0).c_str(), arrays[0], "float32, float64");
}

template <class T>
double norm_of(const std::vector<Gradient<const T>>& gradients, int threads) {
  return std::sqrt(sum_of_squares(gradients, threads));
}

// A state array of a rule. One that is needed must be there; one that is there is checked.
struct State {
  Arrays arrays;
  bool needed;
  const char* when;  // it is not needed, for the message
};

// One step of a rule: the checks of the arrays, the norm, the step. Returns the norm if max_norm is given, else None;
// NotImplemented, with nothing done, if a gradient has to be converted first.
template <std::size_t States, class MakeRule>
py::object step(const Given& given_param, State (&&states)[States], const Given& given_grad,
                std::optional<double> max_norm, int threads, MakeRule make_rule) {
  const auto convert_first = [] { return py::reinterpret_borrow<py::object>(Py_NotImplemented); };
  if (max_norm) check_max_norm(*max_norm, ", or None");
  Arrays param("param", given_param);
  for (State& s : states) {
    if (s.needed && !s.arrays.given())
      throw py::value_error(s.arrays.name() + " is None; accepted with " + s.when + " only");
    s.arrays.check_like(param);
  }
  if (!Arrays::holds_arrays(given_grad, param)) return convert_first();
  Arrays grad("grad", given_grad);
  grad.check_like(param);
  return with_float_of(param, [&]<class T>(T) -> py::object {
    std::vector<Stepped<T>> stepped(param.size());
    std::vector<Gradient<const T>> gradients(max_norm ? param.size() : 0);
    Extents extents(param.size() * (2 + States));
    for (std::size_t i = 0; i < param.size(); ++i) {
      py::array& p = param[i];
      Stepped<T>& a = stepped[i];
      a.size = p.size();
      a.param = param.written<T>(i, p);
      extents.add(param, i, true);
      for (std::size_t k = 0; k < States; ++k) {
        if (!states[k].arrays.given()) continue;
        a.state[k] = states[k].arrays.template written<T>(i, p);
        extents.add(states[k].arrays, i, true);
      }
      if (!grad.usable<T>(i)) return convert_first();
      a.grad = grad.read<T>(i, p);
      extents.add(grad, i, false);
      if (max_norm) gradients[i] = {a.grad, a.size};
    }
    extents.check();
    double norm = 0;
    const auto rule = make_rule(T{});
    without_gil([&] {
      if (max_norm) norm = norm_of(gradients, threads);
      optimizer_step(rule, stepped, max_norm ? clip_factor(norm, *max_norm) : 1.0, threads);
    });
    if (max_norm) return py::float_(norm);
    return py::none();
  });
}

py::object sgd_step_into(const Given& param, const std::optional<Given>& momentum_buffer, const Given& grad, double lr,
                         double momentum, double dampening, double weight_decay, bool nesterov, bool maximize,
                         bool first_step, std::optional<double> max_norm, int threads) {
  check_number("lr", lr, 0);
  check_number("momentum", momentum, 0);
  check_number("dampening", dampening, -INFINITY);
  check_number("weight_decay", weight_decay, 0);
  if (nesterov && (momentum == 0 || dampening != 0))
    throw py::value_error("nesterov is True with momentum=" + number_text(momentum) + " and dampening=" +
                          number_text(dampening) + "; accepted with a momentum above 0 and no dampening");
  return step(param, {State{{"momentum_buffer", momentum_buffer}, momentum != 0, "momentum=0"}}, grad, max_norm,
              threads, [&]<class T>(T) {
                return Sgd<T>{narrow<T>("lr", lr),
                              narrow<T>("momentum", momentum),
                              narrow<T>("dampening", dampening),
                              narrow<T>("weight_decay", weight_decay),
                              nesterov,
                              maximize,
                              first_step};
              });
}

py::object rmsprop_step_into(const Given& param, const Given& square_avg, const std::optional<Given>& grad_avg,
                             const std::optional<Given>& momentum_buffer, const Given& grad, double lr, double alpha,
                             double eps, double weight_decay, double momentum, bool maximize,
                             std::optional<double> max_norm, int threads) {
  check_number("lr", lr, 0);
  check_number("alpha", alpha, 0, 1);
  check_number("eps", eps, 0);
  check_number("weight_decay", weight_decay, 0);
  check_number("momentum", momentum, 0);
  return step(param,
              {State{{"square_avg", square_avg}, false, ""}, State{{"grad_avg", grad_avg}, false, ""},
               State{{"momentum_buffer", momentum_buffer}, momentum != 0, "momentum=0"}},
              grad, max_norm, threads, [&]<class T>(T) {
                narrow<T>("lr", lr), narrow<T>("weight_decay", weight_decay);
                return Rmsprop<T>(lr, alpha, eps, weight_decay, momentum, grad_avg.has_value(), maximize);
              });
}

py::object adam_step_into(const Given& param, const Given& exp_avg, const Given& exp_avg_sq,
                          const std::optional<Given>& max_exp_avg_sq, const Given& grad, int64_t count, double lr,
                          double beta1, double beta2, double eps, double weight_decay, bool decoupled, bool maximize,
                          std::optional<double> max_norm, int threads) {
  if (count < 1) throw py::value_error("step is " + std::to_string(count) + "; accepted: an integer of at least 1");
  check_number("lr", lr, 0);
  check_beta("betas[0]", beta1);
  check_beta("betas[1]", beta2);
  check_number("eps", eps, 0);
  check_number("weight_decay", weight_decay, 0);
  return step(param,
              {State{{"exp_avg", exp_avg}, false, ""}, State{{"exp_avg_sq", exp_avg_sq}, false, ""},
               State{{"max_exp_avg_sq", max_exp_avg_sq}, false, ""}},
              grad, max_norm, threads, [&]<class T>(T) {
                narrow<T>("lr", lr), narrow<T>("weight_decay", weight_decay);
                const bool amsgrad = max_exp_avg_sq.has_value();
                return Adam<T>({lr, beta1, beta2, eps, weight_decay, decoupled, amsgrad, maximize}, count);
              });
}

double clip_grad_norm_in(const Given& given, double max_norm, int threads) {
  check_max_norm(max_norm);
  Arrays grads("grads", given);
  return with_float_of(grads, [&]<class T>(T) {
    std::vector<Gradient<const T>> read(grads.size());
    std::vector<Gradient<T>> written(grads.size());
    Extents extents(grads.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
      T* grad = grads.written<T>(i, grads[i]);
      read[i] = {grad, grads[i].size()};
      written[i] = {grad, grads[i].size()};
      extents.add(grads, i, true);
    }
    extents.check();
    double norm = 0;
    without_gil([&] {
      norm = norm_of(read, threads);
      const double factor = clip_factor(norm, max_norm);
      if (factor != 1) scale_gradients(written, factor, threads);
    });
    return norm;
  });
}

}  // namespace

void bind_optimizers(py::module_& m) {
  m.def("sgd_step", &sgd_step_into, py::arg("param"), py::arg("momentum_buffer"), py::arg("grad"), py::arg("lr"),
        py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov").noconvert(),
        py::arg("maximize").noconvert(), py::arg("first_step").noconvert(), py::arg("max_norm"), py::arg("threads"));
  m.def("rmsprop_step", &rmsprop_step_into, py::arg("param"), py::arg("square_avg"), py::arg("grad_avg"),
        py::arg("momentum_buffer"), py::arg("grad"), py::arg("lr"), py::arg("alpha"), py::arg("eps"),
        py::arg("weight_decay"), py::arg("momentum"), py::arg("maximize").noconvert(), py::arg("max_norm"),
        py::arg("threads"));
  m.def("adam_step", &adam_step_into, py::arg("param"), py::arg("exp_avg"), py::arg("exp_avg_sq"),
        py::arg("max_exp_avg_sq"), py::arg("grad"), py::arg("step"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"),
        py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"), py::arg("maximize").noconvert(),
        py::arg("max_norm"), py::arg("threads"));
  m.def("clip_grad_norm", &clip_grad_norm_in, py::arg("grads"), py::arg("max_norm"), py::arg("threads"));
}

}  // namespace softstep
