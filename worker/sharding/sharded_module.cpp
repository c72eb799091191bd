#include "worker/sharding/sharded_module.h"

#include "worker/runtime/flight_recorder.h"
#include "worker/sharding/born.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <stdexcept>
#include <utility>

namespace rtrain::sharding {
namespace {

/// The parameters of a unit that share a group: of one type, and trained or not, so that what is frozen is
/// not reduced.
std::map<std::pair<torch::ScalarType, bool>, std::vector<NamedParameter>> groups_of(const UnitPlan& unit) {
  std::map<std::pair<torch::ScalarType, bool>, std::vector<NamedParameter>> groups;
  for (const auto& parameter : unit.parameters)
    groups[{parameter.tensor.scalar_type(), parameter.tensor.requires_grad()}].push_back(parameter);
  return groups;
}

GroupTypes types_of(torch::ScalarType own, const ShardingOptions& options) {
  if (!at::isFloatingType(own)) return {own, own, own};
  const auto compute = options.compute_type.value_or(own);
  return {own, compute, options.reduce_type.value_or(compute)};
}

void require_shardable(const std::string& who, const UnitPlan& unit) {
  std::string problems;
  for (const auto& [name, tensor] : unit.parameters) {
    if (!tensor.is_leaf() || tensor.layout() != torch::kStrided || tensor.is_inference())
      problems += "\n  " + name + (tensor.is_leaf() ? " is not dense" : " is the result of an operation");
    else if (is_marked(tensor) && !is_unborn(tensor))
      problems += "\n  " + name + " is sharded by another Trainer already";
  }
  if (!problems.empty())
    throw std::invalid_argument(who + ": these parameters cannot be sharded:" + problems);
}

}  // namespace

/// Called by autograd when it has added to the gradient of a parameter.
class ShardedModule::GradientHook final : public torch::autograd::PostAccumulateGradHook {
 public:
  GradientHook(ShardedModule& module, FlatGroup& group, std::size_t member)
      : module_(module), group_(group), member_(member) {}
  void operator()(const torch::autograd::Variable&) override { module_.on_gradient(group_, member_); }

 private:
  ShardedModule& module_;
  FlatGroup& group_;
  std::size_t member_;
};

ShardedModule::ShardedModule(std::string who, const std::vector<UnitPlan>& units, Communicator& shards,
                             Communicator& replicas, torch::Device device, const ShardingOptions& options)
    : who_(std::move(who)),
      shards_(shards),
      replicas_(replicas),
      options_(options),
      buffers_(device, options.kept_buffers),
      exchange_(shards, buffers_) {
  require_interception();
  for (const auto& unit : units) require_shardable(who_, unit);
  std::vector<std::int64_t> numels;
  for (const auto& plan : units) {
    Unit unit{plan.name, {}, 0};
    for (const auto& [key, parameters] : groups_of(plan)) {
      const auto number = static_cast<int>(groups_.size());
      groups_.push_back(std::make_unique<FlatGroup>(number, parameters, types_of(key.first, options),
                                                    shards.rank(), shards.world_size(), device,
                                                    options.on_host ? torch::Device(torch::kCPU) : device,
                                                    static_cast<Watcher&>(*this), options.source));
      unit.groups.push_back(number);
      unit.numel += groups_.back()->numel();
      unit_of_group_.push_back(static_cast<int>(units_.size()));
    }
    numels.push_back(unit.numel);
    units_.push_back(std::move(unit));
  }
  schedule_ = std::make_unique<GatherSchedule>(std::move(numels), options.schedule);
  reduced_.assign(groups_.size(), false);
  for (const auto& group : groups_) {
    for (std::size_t i = 0; i < group->members().size(); ++i) {
      const auto& member = group->members()[i];
      by_parameter_.emplace(member.parameter.unsafeGetTensorImpl(), Held{group.get(), i});
      by_piece_.emplace(member.piece.unsafeGetTensorImpl(), Held{group.get(), i});
      if (at::isFloatingType(member.parameter.scalar_type()))
        torch::autograd::impl::set_post_acc_grad_hooks(member.parameter,
                                                       std::make_unique<GradientHook>(*this, *group, i));
    }
  }
}

ShardedModule::~ShardedModule() {
  for (const auto& group : groups_)
    for (const auto& member : group->members())
      if (at::isFloatingType(member.parameter.scalar_type()))
        torch::autograd::impl::set_post_acc_grad_hooks(member.parameter, nullptr);
  try {
    if (shards_.world_size() > 1 || !failed_.empty()) return;
    drop_all();
    for (const auto& group : groups_) group->release();
  } catch (const std::exception& error) {
    std::cerr << "rtrain: warning: " << who_ << ": the parameters cannot be read any more: " << error.what()
              << std::endl;
  }
}

void ShardedModule::fail(const std::string& unit, std::string_view doing) {
  try {
    throw;
  } catch (const c10::AcceleratorError&) {
    throw;  // its code tells whose fault it is
  } catch (const c10::OutOfMemoryError& error) {
    if (shards_.is_alone()) throw;  // nobody waits for it: a smaller batch may fit
    failed_ = who_ + ": unit " + unit + ", " + std::string(doing) + ": " + error.what();
  } catch (const std::exception& error) {
    failed_ = who_ + ": unit " + unit + ", " + std::string(doing) + ": " + error.what();
  }
  throw std::runtime_error(failed_);
}

// ---- parameters ----------------------------------------------------------------------------------

void ShardedModule::require_open(int unit, std::string_view op) const {
  if (!failed_.empty()) throw std::runtime_error(failed_);
  if (access_ != Access::kClosed || shards_.is_alone()) return;
  throw std::logic_error(
      who_ + ": " + std::string(op) + " reads a parameter of unit " +
      units_[static_cast<std::size_t>(unit)].name +
      " outside of a step, where one rank alone would wait for the others for ever: put it into "
      "full_parameters(module, [&] { ... }), which every rank calls");
}

void ShardedModule::before_use(std::span<const Use> uses, std::string_view op) {
  const std::lock_guard lock(mutex_);
  const auto is_ready = [&](const Use& use) {
    const auto& group = *groups_[static_cast<std::size_t>(use.group)];
    return group.state() == GroupState::kWhole &&
           (access_ == Access::kWhole ||
            schedule_->is_latest(unit_of_group_[static_cast<std::size_t>(use.group)]));
  };
  if (!std::all_of(uses.begin(), uses.end(), is_ready)) {
    std::vector<int> need;
    for (const auto& use : uses) {
      const auto unit = unit_of_group_[static_cast<std::size_t>(use.group)];
      if (std::find(need.begin(), need.end(), unit) == need.end()) need.push_back(unit);
    }
    require_open(need.front(), op);
    const auto actions = schedule_->use(need);
    for (const auto unit : actions.drop) drop(unit);
    for (const auto unit : actions.gather) gather(unit);
    for (const auto unit : need) wait(unit, op);
    if (actions.ahead != GatherSchedule::kNothing) {
      gather(actions.ahead);
      schedule_->gathers_ahead(actions.ahead);
    }
  } else if (access_ == Access::kClosed) {
    require_open(unit_of_group_[static_cast<std::size_t>(uses.front().group)], op);
  }
  for (const auto& use : uses)
    if (use.writes) groups_[static_cast<std::size_t>(use.group)]->set_dirty();
}

void ShardedModule::gather(int number) {
  const auto& unit = units_[static_cast<std::size_t>(number)];
  const runtime::FlightUnit named(unit.name);
  try {
    for (const auto group : unit.groups) {
      auto& one = *groups_[static_cast<std::size_t>(group)];
      if (one.state() == GroupState::kSharded) one.gather(exchange_, buffers_);
    }
  } catch (...) {
    fail(unit.name, "gather of its parameters");
  }
}

void ShardedModule::wait(int number, std::string_view op) {
  const auto& unit = units_[static_cast<std::size_t>(number)];
  try {
    for (const auto group : unit.groups) groups_[static_cast<std::size_t>(group)]->wait();
  } catch (...) {
    fail(unit.name, "gather of its parameters for " + std::string(op));
  }
}

void ShardedModule::drop(int number) {
  const auto& unit = units_[static_cast<std::size_t>(number)];
  try {
    for (const auto group : unit.groups) groups_[static_cast<std::size_t>(group)]->drop(buffers_);
  } catch (...) {
    fail(unit.name, "gather of its parameters");
  }
}

void ShardedModule::drop_all() {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    drop(static_cast<int>(unit));
    schedule_->dropped(static_cast<int>(unit));
  }
}

// ---- a step --------------------------------------------------------------------------------------

void ShardedModule::begin_forward(bool training) {
  if (!failed_.empty()) throw std::runtime_error(failed_);
  access_ = Access::kStep;
  schedule_->begin(training ? GatherSchedule::Pass::kTraining : GatherSchedule::Pass::kEvaluation);
}

void ShardedModule::begin_backward(bool sync) {
  access_ = Access::kStep;
  in_backward_ = true;
  flight_.reset();  // of a backward that has failed
  syncs_ = sync || options_.accumulate_in_shards;
  std::fill(reduced_.begin(), reduced_.end(), false);
  schedule_->begin_backward();
}

void ShardedModule::on_gradient(FlatGroup& group, std::size_t member) {
  const std::lock_guard lock(mutex_);
  group.members()[member].has_gradient = true;
  if (!in_backward_ || !syncs_) return;
  const auto& members = group.members();
  const bool complete = std::all_of(members.begin(), members.end(), [](const FlatGroup::Member& one) {
    return one.has_gradient || !one.parameter.requires_grad();
  });
  if (!complete) return;
  const auto unit = unit_of_group_[static_cast<std::size_t>(group.number())];
  // Its backward is over, as far as anybody knows: without the parameters there is room for the packed
  // gradients. Whoever reads it again gathers it again.
  if (options_.schedule.live_max == 0) {
    drop(unit);
    schedule_->dropped(unit);
  }
  reduce(group);
  if (const auto ahead = schedule_->reduced(unit); ahead != GatherSchedule::kNothing) {
    gather(ahead);
    schedule_->gathers_ahead(ahead);
  }
}

const std::string& ShardedModule::unit_of(const FlatGroup& group) const {
  return units_[static_cast<std::size_t>(unit_of_group_[static_cast<std::size_t>(group.number())])].name;
}

void ShardedModule::reduce(FlatGroup& group) {
  finish_reduction();
  const auto readers = shards_.world_size() * replicas_.world_size();
  const runtime::FlightUnit named(unit_of(group));
  try {
    flight_.emplace(&group, exchange_.start_reduction(group.pack(buffers_, 1.0 / readers), group.number(),
                                                      group.reductions++));
  } catch (...) {
    fail(unit_of(group), "reduction of its gradients");
  }
  reduced_[static_cast<std::size_t>(group.number())] = true;
  if (options_.one_transfer) finish_reduction();
}

void ShardedModule::finish_reduction() {
  if (!flight_) return;
  auto flight = std::exchange(flight_, std::nullopt);
  const runtime::FlightUnit named(unit_of(*flight->group));
  try {
    const auto sum = exchange_.finish(flight->reduction);
    replicas_.all_reduce(sum);
    flight->group->unpack(sum);
  } catch (...) {
    fail(unit_of(*flight->group), "reduction of its gradients");
  }
}

/// In the order of the groups, which is the same on every rank: a rank that did not use a unit has not
/// reduced it while backward ran.
void ShardedModule::end_backward() {
  const std::lock_guard lock(mutex_);
  if (syncs_) {
    for (const auto& group : groups_) {
      const bool left = std::any_of(group->members().begin(), group->members().end(),
                                    [](const FlatGroup::Member& member) { return member.has_gradient; });
      if (left || (group->trainable() > 0 && !reduced_[static_cast<std::size_t>(group->number())]))
        reduce(*group);
    }
    finish_reduction();
  }
  in_backward_ = false;
  schedule_->end();
}

void ShardedModule::reduce_left_gradients() {
  begin_backward(/*sync=*/true);
  end_backward();
}

void ShardedModule::before_step() {
  for (const auto& group : groups_) group->write_back();
}

void ShardedModule::after_step() { drop_all(); }

void ShardedModule::end_batch() { access_ = Access::kClosed; }

void ShardedModule::with_whole(const std::function<void()>& body) {
  if (!failed_.empty()) throw std::runtime_error(failed_);
  if (access_ == Access::kWhole) return body();
  for (std::size_t unit = 0; unit < units_.size(); ++unit) gather(static_cast<int>(unit));
  for (std::size_t unit = 0; unit < units_.size(); ++unit) wait(static_cast<int>(unit), "full_parameters()");
  struct Back {
    ShardedModule& module;
    Access before;
    ~Back() { module.access_ = before; }
  } const back{*this, std::exchange(access_, Access::kWhole)};
  body();
  for (const auto& group : groups_) {
    // Code that has whole parameters may write them by a pointer. What is rounded to the type of the model
    // does not go into a shard that has more digits, unless it was changed.
    if (group->types().master == group->types().compute) group->set_dirty();
  }
  drop_all();
}

void ShardedModule::with_pieces(const std::function<void()>& body) {
  if (!failed_.empty()) throw std::runtime_error(failed_);
  drop_all();  // what is whole would be out of date
  body();
}

// ---- what a strategy has to know -----------------------------------------------------------------

std::optional<ShardedModule::Held> ShardedModule::find(const torch::Tensor& parameter) const {
  const auto found = by_parameter_.find(parameter.unsafeGetTensorImpl());
  return found == by_parameter_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<ShardedModule::Held> ShardedModule::find_piece(const torch::Tensor& piece) const {
  const auto found = by_piece_.find(piece.unsafeGetTensorImpl());
  return found == by_piece_.end() ? std::nullopt : std::optional(found->second);
}

StateTree ShardedModule::state_of(const torch::nn::Module& module) {
  before_step();
  StateTree state;
  for (const auto& item : module.named_parameters()) {
    const auto held = find(item.value());
    state.emplace(item.key(), held ? StatePiece((**held).piece.detach(), item.value().sizes().vec(),
                                                (**held).in_parameter)
                                   : StatePiece(item.value()));
  }
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

void ShardedModule::require_intact() const {
  for (const auto& group : groups_)
    for (const auto& member : group->members())
      if (!group->owns(member.parameter))
        throw std::logic_error(
            who_ + ": parameter " + member.name +
            " got other memory after it was sharded (module.to() or set_data()): convert the "
            "module before fit(), or set the type with mixed_precision");
}

}  // namespace rtrain::sharding
