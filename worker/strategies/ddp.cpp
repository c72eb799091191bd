// Distributed data parallel training: what torch.nn.parallel.DistributedDataParallel does in Python, around
// the same c10d::Reducer.
#include <rtrain/names.h>
#include <rtrain/strategies/ddp.h>

#include "worker/optim/unique.h"
#include "worker/runtime/pulse.h"
#include "worker/strategies/comm_hooks.h"
#include "worker/strategies/local_sgd.h"
#include "worker/strategies/module_agreement.h"
#include "worker/strategies/reduction.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/torch.h>

#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

class DDPPlan final : public Plan {
 public:
  DDPPlan(LightningModule& model, Mesh& mesh, torch::Device device, const DDPOptions& options, bool fitting);

  ~DDPPlan() override;

  void adopt(Optimizer& optimizer) override;
  void before_forward(bool sync) override;
  void backward(const torch::Tensor& loss, bool sync, const BackwardOptions& how) override;
  void step(Optimizer& optimizer, const StepInputs& inputs) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override;
  [[nodiscard]] std::string why_not_captured() const override;

  [[nodiscard]] bool ranks_differ() const override { return local_ && local_->ranks_differ(); }
  void hold_equal_parameters() override {
    share_buffers();
    if (ranks_differ()) local_->replica().hold_equal();
  }
  void hold_own_parameters() override {
    if (local_) local_->replica().hold_own();
  }
  [[nodiscard]] StateTree module_state() const override {
    share_buffers();
    return ranks_differ() ? local_->replica().equal_state() : Plan::module_state();
  }

  [[nodiscard]] const JoinOptions* join() const override { return options_.join ? &*options_.join : nullptr; }
  void join_ranks(const Contributors& ranks) override { contributors_ = ranks; }
  void backward_without_batch() override;

  [[nodiscard]] PlanState step_state() const override;
  void load_step_state(const PlanState& saved) override;

 private:
  [[nodiscard]] std::string changed() const;
  void follow_change(const std::string& list);
  [[nodiscard]] std::string name_of(const torch::Tensor& parameter) const;
  void make_reducer();
  void weigh_contributors();
  void share_buffers() const;
  [[noreturn]] void explain(const c10::Error& error) const;
  [[nodiscard]] Reduction& current() { return reductions_.front(); }
  /// Those that hold the same parameters and compute different parts of the loss.
  [[nodiscard]] Communicator& ranks() const { return mesh().loss_group(); }

  DDPOptions options_;
  std::vector<torch::Tensor> all_;  ///< every parameter once
  std::vector<std::string> all_names_;
  std::vector<torch::Tensor> buffers_;
  std::unique_ptr<HookRun> hook_;    ///< null: c10d's own sum
  std::unique_ptr<LocalSGD> local_;  ///< null: the ranks' parameters never differ
  /// The first is in use.
  std::vector<Reduction> reductions_;
  mutable std::optional<Contributors> contributors_;  ///< of a joined step
  std::size_t optimizers_ = 0;
  bool sync_buffers_next_ = true;
};

DDPPlan::DDPPlan(LightningModule& model, Mesh& mesh, torch::Device device, const DDPOptions& options,
                 bool fitting)
    : Plan(model, mesh, device), options_(options), buffers_(model.buffers()) {
  auto& ranks = mesh.loss_group();
  if (options_.init_sync) {
    require_equal_modules("DDPStrategy", model, ranks, device);
    take_over_state(model, ranks);
  }
  if (!fitting) return;
  FirstTime first;
  for (const auto& item : model.named_parameters()) {
    if (!first(item.value())) continue;
    all_.push_back(item.value());
    all_names_.push_back(item.key());
  }
  if (const auto& recipe = options_.ddp_comm_hook.recipe()) {
    hook_ =
        recipe->start({.ranks = ranks, .device = device, .name_of = [this](const torch::Tensor& parameter) {
                         return name_of(parameter);
                       }});
    if (const auto* start = recipe->local_sgd())
      local_ = std::make_unique<LocalSGD>(module(), ranks, *hook_,
                                          LocalSGD::Averages{.period = options_.model_averaging_period,
                                                             .levels = options_.model_averaging_hierarchy,
                                                             .warmup_steps = start->start_localSGD_iter});
  }
  make_reducer();
  if (!current().reducer) throw std::runtime_error("DDPStrategy: " + no_parameter_words());
}

DDPPlan::~DDPPlan() {
  try {
    reductions_.clear();
  } catch (const std::exception& error) {
    std::cerr << "rtrain: warning: DDPStrategy: the Reducer's end failed: " << error.what() << std::endl;
  }
}

/// "a.weight, a.bias, ..." of the parameters that were frozen or unfrozen since the Reducer was made; "" is
/// the usual case, and costs a look at one flag a parameter.
std::string DDPPlan::changed() const {
  const auto& trained = reductions_.front().trained;
  std::string list;
  int count = 0;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].requires_grad() == trained[i]) continue;
    if (++count <= 4)
      list += (list.empty() ? "" : ", ") + all_names_[i] + (trained[i] ? " frozen" : " unfrozen");
  }
  return count > 4 ? list + " and " + std::to_string(count - 4) + " more" : list;
}

std::string DDPPlan::name_of(const torch::Tensor& parameter) const {
  for (std::size_t i = 0; i < all_.size(); ++i)
    if (all_[i].is_same(parameter)) return all_names_[i];
  throw std::logic_error("DDPStrategy: a bucket holds a parameter that is not the module's");
}

/// Toggled optimizers alternate between sets of parameters that share none. Each set keeps its Reducer.
void DDPPlan::follow_change(const std::string& list) {
  const auto found = std::find_if(reductions_.begin(), reductions_.end(), [&](const Reduction& one) {
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (all_[i].requires_grad() != one.trained[i]) return false;
    return true;
  });
  if (found != reductions_.end()) {
    std::rotate(reductions_.begin(), found, found + 1);
  } else {
    mesh().world().meet("a change of the parameters that require a gradient (" + list + ")");
    require_equal_modules("DDPStrategy", module(), ranks(), device());
    // One that shares a parameter would count what the new one sums. A Reducer that goes takes its hooks off.
    std::erase_if(reductions_, [](const Reduction& one) {
      return std::any_of(one.parameters.begin(), one.parameters.end(),
                         [](const torch::Tensor& parameter) { return parameter.requires_grad(); });
    });
    make_reducer();
  }
  if (optimizers_ > 1) return;  // gradients of the others may be pending
  for (const auto& parameter : all_) {
    // It may be zero in a bucket, which still moves the parameter, or a view of a bucket that is gone.
    if (!parameter.requires_grad()) parameter.mutable_grad().reset();
  }
}

void DDPPlan::make_reducer() {
  auto& made = *reductions_.insert(reductions_.begin(), Reduction());
  for (std::size_t i = 0; i < all_.size(); ++i) {
    made.trained.push_back(all_[i].requires_grad());
    if (!made.trained[i]) continue;
    made.parameters.push_back(all_[i]);
    made.names.push_back(all_names_[i]);
    made.sparse.push_back(has_sparse_gradient(module(), all_[i]));
  }
  if (made.parameters.empty()) return;
  made.start(ranks(), options_);
  if (hook_)
    made.reducer->register_comm_hook(
        hook_for_reducer(*hook_, ranks(), options_.ddp_comm_hook.recipe()->cast()));
}

/// Of the exception that is being handled.
void DDPPlan::explain(const c10::Error& error) const {
  // Its code tells whose fault it is.
  if (dynamic_cast<const c10::AcceleratorError*>(&error) != nullptr) throw;
  const std::string text = error.what_without_backtrace();
  if (text.find("reduction in the prior iteration") == std::string::npos)
    throw std::runtime_error("DDPStrategy: " + text);
  std::string unused;
  const auto& parameters = reductions_.front().parameters;
  const auto& names = reductions_.front().names;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& gradient = parameters[i].grad();
    if (!gradient.defined() || !gradient.any().item<bool>())
      unused += (unused.empty() ? "" : ", ") + names[i];
  }
  throw std::runtime_error(
      "DDPStrategy: in the last step some parameters got no gradient" +
      (unused.empty() ? "" : " (" + unused + ")") +
      ", so the all-reduce could not complete; if the model skips parameters intentionally, "
      "use DDPStrategy({.find_unused_parameters = true})" +
      (optimizers_ > 1 ? "; if they belong to another optimizer, toggle_optimizer() leaves them out" : ""));
}

void DDPPlan::before_forward(bool sync) {
  const bool with_gradients = torch::GradMode::is_enabled();
  try {
    if (with_gradients && !reductions_.empty() && current().reducer) current().reducer->rebuild_buckets();
  } catch (const c10::Error& error) {
    explain(error);
  }
  // The first forward after one that changed the buffers of every rank in its own way.
  if (sync_buffers_next_ && options_.broadcast_buffers && !buffers_.empty()) {
    take_over_buffers(buffers_, ranks(), contributors_ ? contributors_->first : 0);
  }
  sync_buffers_next_ = with_gradients && sync;
}

void DDPPlan::backward(const torch::Tensor& loss, bool sync, const BackwardOptions& how) {
  if (!sync) {
    // The Reducer counts this backward's hooks in its recording, and sums too little from then on.
    if (options_.static_graph)
      throw std::invalid_argument(
          "DDPStrategy: static_graph cannot be combined with accumulated gradients: set "
          "accumulate_grad_batches = 1 or static_graph = false");
    return how.run(loss);
  }
  if (const auto list = changed(); !list.empty()) follow_change(list);
  const auto& reducer = current().reducer;
  if (!reducer) return how.run(loss);
  const runtime::Pulse::InCollective waiting(runtime::pulse(), "all_reduce of gradients");
  try {
    // A second backward within one training_step has no forward of its own before it.
    reducer->rebuild_buckets();
    // It counts the iterations, which must be those with sums: a forward whose batch has no loss is none.
    reducer->prepare_for_forward();
    const bool look_for_unused = options_.find_unused_parameters && !options_.static_graph;
    reducer->prepare_for_backward(look_for_unused ? std::vector<torch::Tensor>{loss}
                                                  : std::vector<torch::Tensor>{});
    if (!options_.static_graph || std::exchange(current().static_graph_seen, true)) {
      how.run(loss);
      return weigh_contributors();
    }
    // The first backward records the graph; its sums start when it has ended. The engine takes such a request
    // only from within.
    loss.register_hook([alive = std::weak_ptr<c10d::Reducer>(reducer)](const torch::Tensor&) {
      torch::autograd::Engine::get_default_engine().queue_callback([alive] {
        if (const auto recorded = alive.lock()) recorded->delay_all_reduce();
      });
    });
    how.run(loss);
  } catch (const c10::Error& error) {
    explain(error);
  }
}

/// c10d divides by all ranks.
void DDPPlan::weigh_contributors() {
  if (!contributors_ || options_.join->divide_by_initial_world_size) return;
  const int world = ranks().world_size();
  if (contributors_->count == world) return;
  const torch::NoGradGuard no_grad;
  for (const auto& parameter : current().parameters)
    if (const auto& gradient = parameter.grad(); gradient.defined())
      gradient.mul_(static_cast<double>(world) / contributors_->count);
}

/// What is saved is rank 0's: where it had no batch, the buffers are another rank's.
void DDPPlan::share_buffers() const {
  if (!contributors_ || contributors_->first == 0 || !options_.broadcast_buffers || buffers_.empty()) return;
  take_over_buffers(buffers_, ranks(), std::exchange(contributors_->first, 0));
}

/// A loss that reaches the parameters and gives each a gradient of zero, so that the Reducer does on this
/// rank what it does on the others. Where it looks for unused parameters, one is enough: the others are
/// unused.
void DDPPlan::backward_without_batch() {
  if (const auto list = changed(); !list.empty()) follow_change(list);
  const auto& [parameters, sparse] = std::tie(current().parameters, current().sparse);
  const torch::AutoGradMode with_gradients(true);
  torch::Tensor loss;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto nothing =
        sparse[i]
            ? torch::embedding(parameters[i],
                               torch::empty({0}, torch::dtype(torch::kInt64).device(parameters[i].device())),
                               /*padding_idx=*/-1, /*scale_grad_by_freq=*/false, /*sparse=*/true)
            : parameters[i].flatten().narrow(0, 0, 0);
    const auto zero = torch::real(nothing.sum());
    loss = loss.defined() ? loss + zero : zero;
    if (options_.find_unused_parameters) break;
  }
  if (loss.defined()) backward(loss, /*sync=*/true, {});
}

void DDPPlan::adopt(Optimizer& optimizer) {
  ++optimizers_;
  if (local_) local_->adopt(optimizer);
}

void DDPPlan::step(Optimizer& optimizer, const StepInputs& inputs) {
  optimizer.step(inputs);
  if (local_) local_->after_step(optimizer);
}

PlanState DDPPlan::step_state() const {
  PlanState state;
  if (!hook_) return state;
  auto of_hook = hook_->save(state);
  if (of_hook.is_null()) return state;
  state.shared = {{"comm_hook", options_.ddp_comm_hook.name()}, {"hook", std::move(of_hook)}};
  if (local_) state.shared["averaging"] = local_->save(state);
  return state;
}

void DDPPlan::load_step_state(const PlanState& saved) {
  if (!hook_) return;
  const auto before = saved.shared.is_null() ? std::string() : saved.shared.value("comm_hook", std::string());
  const bool is_own = before == options_.ddp_comm_hook.name();
  if (!is_own && !before.empty() && mesh().world().rank() == 0)
    std::cerr << "rtrain: warning: DDPStrategy: the checkpoint's run had the ddp_comm_hook " << before
              << ", this one has " << options_.ddp_comm_hook.name() << ", which begins anew" << std::endl;
  hook_->load(is_own ? saved.shared.at("hook") : nlohmann::json(), saved);
  if (local_) local_->load(is_own ? saved.shared.at("averaging") : nlohmann::json(), saved);
}

std::string DDPPlan::why_not_captured() const {
  if (hook_)
    return "DDPStrategy with ddp_comm_hook decides on the host what a bucket becomes: leave the hook out";
  if (options_.join) return "DDPStrategy with join asks the ranks in each step who has a batch: leave it out";
  if (options_.find_unused_parameters)
    return "DDPStrategy with find_unused_parameters reads on the host which parameters a step used: leave it "
           "out, or freeze what no step uses";
  return options_.static_graph ? "DDPStrategy with static_graph counts its steps on the host: leave it out"
                               : "";
}

void DDPPlan::zero_grad(const std::vector<torch::Tensor>& parameters) {
  // Views of the buckets stay, cleared; an unused parameter must have no gradient at all, or the optimizer
  // would move it.
  if (options_.gradient_as_bucket_view && !options_.find_unused_parameters) {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> gradients;
    for (const auto& parameter : parameters) {
      if (parameter.grad().defined()) gradients.push_back(parameter.grad());
    }
    if (!gradients.empty()) at::_foreach_zero_(gradients);
    return;
  }
  Plan::zero_grad(parameters);
}

}  // namespace

DDPStrategy::DDPStrategy(DDPOptions options) : options_(std::move(options)) {
  const auto& o = options_;
  std::string problems;
  const auto add = [&](const std::string& what) { problems += "\n  " + what; };
  if (!(o.bucket_cap_mb > 0))
    add("bucket_cap_mb is " + std::to_string(o.bucket_cap_mb) + ", expected more than 0");
  if (o.timeout && o.timeout->count() <= 0)
    add("timeout is " + std::to_string(o.timeout->count()) + " ms, expected more than 0");
  const bool local = o.ddp_comm_hook.defined() && o.ddp_comm_hook.recipe()->local_sgd() != nullptr;
  const bool has_period = o.model_averaging_period.has_value(),
             has_levels = !o.model_averaging_hierarchy.empty();
  if (has_period && *o.model_averaging_period < 1)
    add("model_averaging_period is " + std::to_string(*o.model_averaging_period) + ", expected 1 or more");
  if (has_period && has_levels)
    add("model_averaging_period and model_averaging_hierarchy are both set: choose one");
  if (local && !has_period && !has_levels)
    add("ddp_comm_hook is comm_hooks::post_localSGD, which needs model_averaging_period or "
        "model_averaging_hierarchy, or the ranks would never meet again");
  if (!local && (has_period || has_levels))
    add("model averaging is for ranks whose parameters differ: set ddp_comm_hook = "
        "comm_hooks::post_localSGD({.start_localSGD_iter = ...})");
  if (o.join && o.static_graph)
    add("join and static_graph are both set: a rank without a batch does not run the static graph");
  if (o.join && local)
    add("join is set and ddp_comm_hook is comm_hooks::post_localSGD: a rank without a batch has nothing to "
        "step "
        "by alone");
  if (!problems.empty()) throw std::invalid_argument("DDPStrategy: these options cannot be used:" + problems);
}

std::unique_ptr<Plan> DDPStrategy::prepare(LightningModule& module, bool fitting) {
  auto& ranks = mesh().loss_group();
  if (ranks.is_alone()) return std::make_unique<Plan>(module, mesh(), device());
  if (options_.timeout) ranks.set_timeout(*options_.timeout);
  return std::make_unique<DDPPlan>(module, mesh(), device(), options_, fitting);
}

RTRAIN_REGISTER_OPTIONS(Strategy, "ddp", DDPStrategy, DDPOptions, broadcast_buffers, init_sync, bucket_cap_mb,
                        find_unused_parameters, gradient_as_bucket_view, static_graph);

}  // namespace rtrain
