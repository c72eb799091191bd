// The options of typed groups by name.
#include <rtrain/optim.h>

#include <initializer_list>
#include <utility>

namespace rtrain::optim {
namespace {

ParamGroup with(const std::vector<torch::Tensor>& params, const std::string& name,
                std::initializer_list<std::pair<const char*, std::optional<double>>> options) {
  ParamGroup group{params, name, {}};
  for (const auto& [key, value] : options)
    if (value) group.options.emplace(key, *value);
  return group;
}

}  // namespace

ParamGroup SGDGroup::generic() const {
  return with(params, name,
              {{"lr", lr}, {"momentum", momentum}, {"dampening", dampening}, {"weight_decay", weight_decay}});
}
ParamGroup AdamGroup::generic() const {
  return with(params, name,
              {{"lr", lr}, {"beta1", beta1}, {"beta2", beta2}, {"eps", eps}, {"weight_decay", weight_decay}});
}
ParamGroup NAdamGroup::generic() const {
  return with(params, name,
              {{"lr", lr},
               {"beta1", beta1},
               {"beta2", beta2},
               {"eps", eps},
               {"weight_decay", weight_decay},
               {"momentum_decay", momentum_decay}});
}
ParamGroup AdagradGroup::generic() const {
  return with(params, name,
              {{"lr", lr},
               {"lr_decay", lr_decay},
               {"weight_decay", weight_decay},
               {"initial_accumulator_value", initial_accumulator_value},
               {"eps", eps}});
}
ParamGroup SparseAdamGroup::generic() const {
  return with(params, name, {{"lr", lr}, {"beta1", beta1}, {"beta2", beta2}, {"eps", eps}});
}
ParamGroup AdadeltaGroup::generic() const {
  return with(params, name, {{"lr", lr}, {"rho", rho}, {"eps", eps}, {"weight_decay", weight_decay}});
}
ParamGroup RMSpropGroup::generic() const {
  return with(
      params, name,
      {{"lr", lr}, {"alpha", alpha}, {"eps", eps}, {"weight_decay", weight_decay}, {"momentum", momentum}});
}
ParamGroup ASGDGroup::generic() const {
  return with(params, name,
              {{"lr", lr}, {"lambd", lambd}, {"alpha", alpha}, {"t0", t0}, {"weight_decay", weight_decay}});
}
ParamGroup RpropGroup::generic() const {
  return with(params, name,
              {{"lr", lr},
               {"eta_minus", eta_minus},
               {"eta_plus", eta_plus},
               {"step_size_min", step_size_min},
               {"step_size_max", step_size_max}});
}
ParamGroup AdafactorGroup::generic() const {
  return with(params, name,
              {{"lr", lr},
               {"beta2_decay", beta2_decay},
               {"eps1", eps1},
               {"eps2", eps2},
               {"d", d},
               {"weight_decay", weight_decay}});
}
ParamGroup MuonGroup::generic() const {
  return with(params, name, {{"lr", lr}, {"weight_decay", weight_decay}, {"momentum", momentum}});
}

}  // namespace rtrain::optim
