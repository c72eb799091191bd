#include "worker/sharding/wrap.h"

#include "worker/optim/unique.h"

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>

#include <fnmatch.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

bool matches(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

std::string joined(const std::string& name, const std::string& key) {
  return name.empty() ? key : name + "." + key;
}

/// The modules that are units, the inner ones first.
class Choice {
 public:
  Choice(const WrapPolicy& policy, const std::vector<std::string>& ignored)
      : policy_(policy), ignored_(ignored) {}

  /// @return the elements that no unit has yet.
  std::int64_t visit(const torch::nn::Module& module, const torch::nn::Module* parent,
                     const std::string& name) {
    if (parent != nullptr && matches(ignored_, name)) {
      ignored_modules.insert(&module);
      return 0;
    }
    std::int64_t numel = 0;
    for (const auto& item : module.named_parameters(/*recurse=*/false))
      if (item.value().defined() && first_(item.value())) numel += item.value().numel();
    for (const auto& child : module.named_children())
      numel += visit(*child.value(), &module, joined(name, child.key()));
    if (parent == nullptr || numel == 0 || !policy_({module, parent, name, numel})) return numel;
    units.insert(&module);
    return 0;
  }
  std::set<const torch::nn::Module*> units, ignored_modules;

 private:
  const WrapPolicy& policy_;
  const std::vector<std::string>& ignored_;
  FirstTime first_;
};

/// Deals the parameters out to the units.
class Deal {
 public:
  explicit Deal(const Choice& choice) : choice_(choice) {}

  void visit(const torch::nn::Module& module, const std::string& name, std::size_t unit, bool is_ignored) {
    is_ignored = is_ignored || choice_.ignored_modules.contains(&module);
    if (cut_.units.empty() || choice_.units.contains(&module)) {
      cut_.units.push_back({cut_.units.empty() ? "the root" : name, {}});
      unit = cut_.units.size() - 1;
    }
    for (const auto& item : module.named_parameters(/*recurse=*/false)) {
      if (!item.value().defined() || !first_(item.value())) continue;
      if (is_ignored)
        cut_.whole.push_back(item.value());
      else
        cut_.units[unit].parameters.push_back({joined(name, item.key()), item.value()});
    }
    for (const auto& child : module.named_children())
      visit(*child.value(), joined(name, child.key()), unit, is_ignored);
  }

  [[nodiscard]] sharding::Cut take() {
    std::erase_if(cut_.units, [](const sharding::UnitPlan& unit) { return unit.parameters.empty(); });
    return std::move(cut_);
  }

 private:
  const Choice& choice_;
  FirstTime first_;
  sharding::Cut cut_;
};

}  // namespace

namespace wrap {

WrapPolicy children(std::int64_t min_numel) {
  return [min_numel](const WrapCandidate& candidate) {
    return (dynamic_cast<const torch::nn::ModuleListImpl*>(candidate.parent) != nullptr ||
            dynamic_cast<const torch::nn::SequentialImpl*>(candidate.parent) != nullptr) &&
           candidate.numel >= min_numel;
  };
}

WrapPolicy min_elements(std::int64_t min_numel) {
  return [min_numel](const WrapCandidate& candidate) { return candidate.numel >= min_numel; };
}

WrapPolicy names(std::vector<std::string> patterns) {
  if (patterns.empty()) throw std::invalid_argument("wrap::names: got no pattern");
  return [patterns = std::move(patterns)](const WrapCandidate& candidate) {
    return matches(patterns, candidate.name);
  };
}

WrapPolicy none() {
  return [](const WrapCandidate&) { return false; };
}

}  // namespace wrap

sharding::Cut sharding::cut(const torch::nn::Module& module, const WrapPolicy& policy,
                            const std::vector<std::string>& ignored) {
  Choice choice(policy, ignored);
  (void)choice.visit(module, nullptr, "");
  Deal deal(choice);
  deal.visit(module, "", 0, false);
  return deal.take();
}

}  // namespace rtrain
