#include "kernels/train_mlp.hpp"

#include "bindings/activations.hpp"
#include "bindings/arrays.hpp"
#include "bindings/rooms.hpp"
#include "bindings/training.hpp"

namespace softstep {

namespace {

std::string place(const char* list, std::size_t i) { return std::string(list) + "[" + std::to_string(i) + "]"; }

// Layers of weights (outputs, inputs) and biases (outputs,) in turns, each with as many inputs as the one before has
// outputs, the first with the features.
template <class T>
std::vector<MlpLayer<T>> layers_of(OptionalArrays& parameters, int64_t inputs, Apart& apart) {
  std::vector<MlpLayer<T>> layers;
  for (std::size_t i = 0; i + 1 < parameters.size(); i += 2) {
    const std::string name = place("parameters", i);
    if (!parameters[i]) throw py::value_error(name + " is None; accepted: the weight of a layer");
    py::array& weight = *parameters[i];
    check_ndim(name.c_str(), weight, 2, "(outputs, inputs)");
    MlpLayer<T> layer{};
    layer.inputs = inputs;
    layer.outputs = weight.shape(0);
    if (layer.outputs == 0) wrong_shape(name.c_str(), weight, "(outputs, inputs) with at least one output");
    layer.weight = take_parameter<T>(name.c_str(), weight, {layer.outputs, inputs});
    apart.writes(name, weight);
    if (std::optional<py::array>& bias = parameters[i + 1]) {
      const std::string bias_name = place("parameters", i + 1);
      layer.bias = take_parameter<T>(bias_name.c_str(), *bias, {layer.outputs});
      apart.writes(bias_name, *bias);
    }
    layers.push_back(layer);
    inputs = layer.outputs;
  }
  return layers;
}

template <class T>
void take_states(MlpLayer<T>& layer, std::size_t number, std::size_t k, const std::string& list, OptionalArrays& states,
                 Apart& apart) {
  const auto take = [&](std::size_t i, std::initializer_list<int64_t> shape) {
    return take_state<T>(place(list.c_str(), i), i, states, shape, apart);
  };
  layer.weight_state[k] = take(2 * number, {layer.outputs, layer.inputs});
  if (layer.bias) layer.bias_state[k] = take(2 * number + 1, {layer.outputs});
}

py::tuple train_mlp_into(std::optional<py::array> applied, OptionalArrays parameters,
                         std::vector<OptionalArrays> states, const py::array& x, const py::array& target,
                         const py::array& order, std::optional<py::array> scale, std::optional<py::array> shift,
                         const std::string& activation, int64_t batch_size, const std::string& rule_name,
                         const py::dict& settings, std::optional<double> max_norm, int threads) {
  const RuleSettings rule_settings = read_settings(rule_name, settings);
  if (parameters.empty() || parameters.size() % 2 != 0)
    throw py::value_error("parameters holds " + std::to_string(parameters.size()) +
                          " arrays; accepted: a weight and a bias (or None) for each layer");
  if (!parameters[0]) throw py::value_error("parameters[0] is None; accepted: the weight of a layer");
  return with_float("parameters[0]", *parameters[0], [&]<class T>(T) {
    // `order` is checked once and then read for each minibatch: a step must not write it.
    Apart apart;
    apart.reads("x", x).reads("target", target).reads("order", order).reads("scale", scale).reads("shift", shift);
    MlpProblem<T> p{};
    p.x = features<T>("x", x, scale, shift);
    p.layers = layers_of<T>(parameters, p.x.columns, apart);
    p.activation = activation_named("activation", activation);
    check_shape("target", target, {x.shape(0)});
    p.labels = input<int64_t>("target", target);
    p.x.order = row_order(order, x.shape(0));
    p.rows = order.shape(0);
    check_labels(p.labels, x.shape(0), p.x.order, p.rows, p.layers.back().outputs);
    p.batch_size = take_batch_size(batch_size, p.rows);
    p.max_norm = take_max_norm(max_norm);
    p.applied = take_applied(applied, apart);
    TrainResult r;
    with_rule<T>(rule_settings, [&]<class Rule>(const Rule& rule) {
      states.resize(Rule::states);
      for (std::size_t k = 0; k < Rule::states; ++k) {
        if (!rule.uses(static_cast<int>(k))) continue;
        const std::string list = rule_name == "sgd" ? "momentum_buffers" : place("states", k);
        for (std::size_t i = 0; i < p.layers.size(); ++i) take_states(p.layers[i], i, k, list, states[k], apart);
      }
      without_gil([&] { r = train_mlp(p, rule, threads); });
    });
    return result(r);
  });
}

}  // namespace

void bind_train_mlp(py::module_& m) {
  m.def("train_mlp", &train_mlp_into, py::arg("applied"), py::arg("parameters"), py::arg("states"), py::arg("x"),
        py::arg("target"), py::arg("order"), py::arg("scale"), py::arg("shift"), py::arg("activation"),
        py::arg("batch_size"), py::arg("rule"), py::arg("settings"), py::arg("max_norm"), py::arg("threads"));
}

}  // namespace softstep
