// Distributed data parallel training: what torch.nn.parallel.DistributedDataParallel does in Python, around
// the same c10d::Reducer.
#include <rtrain/names.h>
#include <rtrain/strategies.h>

#include "worker/optim/unique.h"
#include "worker/runtime/pulse.h"
#include "worker/strategies/module_agreement.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace rtrain {
namespace {

bool has_sparse_gradient(const torch::nn::Module& module, const torch::Tensor& parameter) {
  if (const auto* embedding = dynamic_cast<const torch::nn::EmbeddingImpl*>(&module)) {
    return embedding->options.sparse() && embedding->weight.is_same(parameter);
  }
  if (const auto* bag = dynamic_cast<const torch::nn::EmbeddingBagImpl*>(&module))
    return bag->options.sparse() && bag->weight.is_same(parameter);
  for (const auto& child : module.children()) {
    if (has_sparse_gradient(*child, parameter)) return true;
  }
  return false;
}

/// A Reducer and the parameters that it sums.
struct Reduction {
  std::vector<bool> trained;  ///< of each parameter of the module, whether it is one of them
  std::vector<torch::Tensor> parameters;
  std::vector<std::string> names;
  std::shared_ptr<c10d::Reducer> reducer;  ///< none while no parameter requires a gradient
  std::shared_ptr<c10d::Logger> logger;    ///< the Reducer has a weak pointer that it does not check
  bool static_graph_seen = false;
};

class DDPPlan final : public Plan {
 public:
  DDPPlan(LightningModule& model, Mesh& mesh, torch::Device device, const DDPOptions& options, bool fitting);

  ~DDPPlan() override;

  void adopt(Optimizer&) override { ++optimizers_; }
  void before_forward(bool sync) override;
  void backward(const torch::Tensor& loss, bool sync, const BackwardOptions& how) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override;
  [[nodiscard]] std::string why_not_captured() const override;

 private:
  [[nodiscard]] std::string changed() const;
  void follow_change(const std::string& list);
  void make_reducer();
  [[noreturn]] void explain(const c10::Error& error) const;
  [[nodiscard]] Reduction& current() { return reductions_.front(); }

  DDPOptions options_;
  std::vector<torch::Tensor> all_;  ///< every parameter once
  std::vector<std::string> all_names_;
  std::vector<torch::Tensor> buffers_;
  /// The first is in use.
  std::vector<Reduction> reductions_;
  std::size_t optimizers_ = 0;
  bool sync_buffers_next_ = true;
};

DDPPlan::DDPPlan(LightningModule& model, Mesh& mesh, torch::Device device, const DDPOptions& options,
                 bool fitting)
    : Plan(model, mesh, device), options_(options), buffers_(model.buffers()) {
  auto& ranks = mesh.world();
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
    require_equal_modules("DDPStrategy", module(), mesh().world(), device());
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
    if (made.trained[i]) {
      made.parameters.push_back(all_[i]);
      made.names.push_back(all_names_[i]);
    }
  }
  const auto& parameters = made.parameters;
  if (parameters.empty()) return;
  std::vector<bool> sparse;
  std::unordered_map<std::size_t, std::string> numbered;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    sparse.push_back(has_sparse_gradient(module(), parameters[i]));
    numbered.emplace(i, made.names[i]);
  }
  const auto cap = static_cast<std::size_t>(options_.bucket_cap_mb * 1024 * 1024);
  const auto first_cap = static_cast<std::size_t>(c10d::kDefaultFirstBucketBytes);
  // Buckets are cut again after the first step, in the order in which gradients came; until then one will
  // do, unless they never are.
  const bool rebuilds = options_.static_graph || !options_.find_unused_parameters;
  const std::vector<std::size_t> limits =
      rebuilds ? std::vector<std::size_t>{std::numeric_limits<std::int64_t>::max()}
               : std::vector<std::size_t>{first_cap, cap};
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, limits, sparse));
  std::reverse(buckets.begin(), buckets.end());  // backward makes the last parameters' gradients first
  auto group =
      c10::intrusive_ptr<c10d::ProcessGroup>::unsafe_reclaim_from_nonowning(mesh().world().c10d_group());
  made.reducer = std::make_shared<c10d::Reducer>(
      parameters, std::move(buckets), std::move(group), std::move(sparse), static_cast<std::int64_t>(cap),
      options_.find_unused_parameters, options_.gradient_as_bucket_view, std::move(numbered),
      static_cast<std::int64_t>(std::min(first_cap, cap)),
      /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<std::int64_t>{});
  if (options_.static_graph) made.reducer->set_static_graph();
  made.logger = std::make_shared<c10d::Logger>(made.reducer);
  made.reducer->set_logger(made.logger);
  const auto device = parameters.front().device();
  made.logger->set_construction_data_and_log(
      "LightningModule", device.is_cuda() ? std::vector<int>{device.index()} : std::vector<int>{},
      device.is_cuda() ? device.index() : -1, options_.broadcast_buffers, /*has_sync_bn=*/false,
      options_.static_graph);
}

/// Of the exception that is being handled.
void DDPPlan::explain(const c10::Error& error) const {
  // Its code tells whose fault it is.
  if (dynamic_cast<const c10::AcceleratorError*>(&error) != nullptr) throw;
  const std::string text = error.what_without_backtrace();
  if (text.find("reduction in the prior iteration") == std::string::npos)
    throw std::runtime_error("DDPStrategy: " + text);
  std::string unused;
  const auto& [trained, parameters, names, reducer, logger, seen] = reductions_.front();
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
    take_over_buffers(buffers_, mesh().world());
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
    if (!options_.static_graph || std::exchange(current().static_graph_seen, true)) return how.run(loss);
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

std::string DDPPlan::why_not_captured() const {
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

DDPStrategy::DDPStrategy(DDPOptions options) : options_(options) {
  std::string problems;
  if (!(options.bucket_cap_mb > 0))
    problems += "\n  bucket_cap_mb is " + std::to_string(options.bucket_cap_mb) + ", expected more than 0";
  if (options.timeout && options.timeout->count() <= 0)
    problems += "\n  timeout is " + std::to_string(options.timeout->count()) + " ms, expected more than 0";
  if (!problems.empty()) throw std::invalid_argument("DDPStrategy: these options cannot be used:" + problems);
}

std::unique_ptr<Plan> DDPStrategy::prepare(LightningModule& module, bool fitting) {
  auto& ranks = mesh().world();
  if (ranks.is_alone()) return std::make_unique<Plan>(module, mesh(), device());
  if (options_.timeout) ranks.set_timeout(*options_.timeout);
  return std::make_unique<DDPPlan>(module, mesh(), device(), options_, fitting);
}

RTRAIN_REGISTER(Strategy, "ddp", DDPStrategy);

}  // namespace rtrain
