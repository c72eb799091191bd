// Several optimizers as one.
#include "worker/optim/chain.h"

#include <rtrain/optim.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace rtrain::optim {
namespace {

using Members = std::vector<std::shared_ptr<Optimizer>>;

std::vector<ParamGroup> groups_of(const Members& members) {
  std::vector<ParamGroup> groups;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto place = "Chain: optimizer " + std::to_string(i);
    if (members[i] == nullptr) throw std::invalid_argument(place + " is null");
    if (members[i]->needs_closure())
      throw std::invalid_argument(place + " (" + members[i]->type_name() +
                                  ") wants a closure, which a chain does not pass on");
    for (const auto& group : std::as_const(*members[i]).groups()) groups.push_back(group);
  }
  return groups;
}

class Chained final : public Optimizer {
 public:
  explicit Chained(Members members) : Optimizer(groups_of(members), "Chain"), members_(std::move(members)) {
    pass_names_on();
  }

  using Optimizer::step;
  void step(const StepInputs& inputs) override {
    pass_options_on();
    for (const auto& member : members_) member->step(inputs);
  }

  void add_param_group(ParamGroup) override {
    throw std::logic_error(
        "Chain: it cannot tell which of its optimizers takes the new group: make the chain anew");
  }
  void name_parameters(const torch::OrderedDict<std::string, torch::Tensor>& named) override {
    Optimizer::name_parameters(named);
    pass_names_on();
  }
  [[nodiscard]] bool is_elementwise() const override {
    return std::all_of(members_.begin(), members_.end(),
                       [](const auto& member) { return member->is_elementwise(); });
  }
  /// "Muon, in a Chain"
  [[nodiscard]] std::string first_not_elementwise() const {
    for (const auto& member : members_)
      if (!member->is_elementwise()) return optim::first_not_elementwise(*member) + ", in a Chain";
    return type_name();
  }
  void replace_parameter(const std::string& name, const StatePiece& piece) override {
    // The member first: it knows whether the parameter was stepped.
    for (const auto& member : members_) {
      for (std::size_t i = 0; i < member->parameters().size(); ++i)
        if (member->parameter_name(i) == name) member->replace_parameter(name, piece);
    }
    Optimizer::replace_parameter(name, piece);
  }

  [[nodiscard]] OptimizerState state_dict() const override {
    pass_options_on();
    OptimizerState result{type_name()};
    for (const auto& member : members_) {
      auto state = member->state_dict();
      result.tensors.merge(state.tensors);
      for (auto& group : state.groups) {
        group["type"] = member->type_name();
        result.groups.push_back(std::move(group));
      }
    }
    return result;
  }

  std::function<void()> stage_state_dict(const OptimizerState& state,
                                         std::vector<std::string>& problems) override {
    if (!state.type.empty() && state.type != type_name()) {
      problems.push_back("it is the state of " + state.type + ", this is a Chain");
      return {};
    }
    if (!state.groups.is_array() || state.groups.size() != groups_.size()) {
      problems.push_back("the state has other parameter groups than the " + std::to_string(groups_.size()) +
                         " of this chain");
      return {};
    }
    auto left = state.tensors;
    std::vector<std::function<void()>> commits;
    std::size_t first = 0;
    for (std::size_t m = 0; m < members_.size(); ++m) {
      auto& member = *members_[m];
      OptimizerState part;
      const auto count = member.groups().size();
      for (std::size_t g = first; g < first + count; ++g) part.groups.push_back(state.groups[g]);
      first += count;
      if (part.groups.front().is_object()) part.type = part.groups.front().value("type", "");
      std::set<std::string> names;
      for (std::size_t i = 0; i < member.parameters().size(); ++i) names.insert(member.parameter_name(i));
      for (auto it = left.begin(); it != left.end();) {
        const auto entry = it++;
        if (names.contains(entry->first.substr(0, entry->first.rfind('.'))))
          part.tensors.insert(left.extract(entry));
      }
      const auto before = problems.size();
      commits.push_back(member.stage_state_dict(part, problems));
      for (auto i = before; i < problems.size(); ++i)
        problems[i] = "optimizer " + std::to_string(m) + " (" + member.type_name() + "): " + problems[i];
    }
    for (const auto& [key, tensor] : left)
      problems.push_back("the state has an unknown entry \"" + key + "\"");
    return [this, commits = std::move(commits)] {
      for (const auto& commit : commits) commit();
      std::size_t group = 0;
      for (const auto& member : members_)
        for (const auto& each : member->groups()) groups_[group++].options = each.options;
    };
  }

 private:
  void pass_options_on() const {
    std::size_t group = 0;
    for (const auto& member : members_)
      for (auto& each : member->groups()) each.options = groups_[group++].options;
  }
  /// A member would call its first parameter "0" as well.
  void pass_names_on() {
    std::size_t number = 0;
    for (const auto& member : members_) {
      torch::OrderedDict<std::string, torch::Tensor> named;
      for (const auto& parameter : member->parameters()) named.insert(parameter_name(number++), parameter);
      member->name_parameters(named);
    }
  }
  Members members_;
};

}  // namespace

std::string first_not_elementwise(const Optimizer& optimizer) {
  const auto* chained = dynamic_cast<const Chained*>(&optimizer);
  return chained == nullptr ? optimizer.type_name() : chained->first_not_elementwise();
}

std::shared_ptr<Optimizer> Chain(std::vector<std::shared_ptr<Optimizer>> members) {
  return std::make_shared<Chained>(std::move(members));
}

}  // namespace rtrain::optim
