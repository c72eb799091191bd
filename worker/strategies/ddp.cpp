// Distributed data parallel training: what torch.nn.parallel.DistributedDataParallel does in Python, around
// the same c10d::Reducer.
#include <rtrain/context.h>
#include <rtrain/strategies.h>

#include "worker/optim/unique.h"
#include "worker/runtime/pulse.h"
#include "worker/strategies/module_agreement.h"
#include "worker/strategies/process_group.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <limits>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace rtrain {
namespace {

Collectives::Op op_of(Strategy::Reduce reduce) {
  switch (reduce) {
    case Strategy::Reduce::kSum: return Collectives::Op::kSum;
    case Strategy::Reduce::kMean: return Collectives::Op::kMean;
    case Strategy::Reduce::kMin: return Collectives::Op::kMin;
    case Strategy::Reduce::kMax: return Collectives::Op::kMax;
  }
  return Collectives::Op::kSum;
}

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

}  // namespace

struct DDPStrategy::Wrapped {
  LightningModule& module;
  std::vector<torch::Tensor> all;  ///< every parameter once
  std::vector<std::string> all_names;
  std::vector<bool> trained;              ///< of each, whether the Reducer has it
  std::vector<torch::Tensor> parameters;  ///< those that require a gradient
  std::vector<std::string> names;
  std::vector<torch::Tensor> buffers;
  std::shared_ptr<c10d::Reducer> reducer;  ///< none while no parameter requires a gradient
  std::shared_ptr<c10d::Logger> logger;    ///< the Reducer has a weak pointer that it does not check
  bool sync_buffers_next = true;
  bool static_graph_seen = false;

  Wrapped(LightningModule& model, bool fitting) : module(model), buffers(model.buffers()) {
    if (!fitting) return;
    FirstTime first;
    for (const auto& item : module.named_parameters()) {
      if (!first(item.value())) continue;
      all.push_back(item.value());
      all_names.push_back(item.key());
      trained.push_back(item.value().requires_grad());
    }
  }

  /// "a.weight, a.bias, ..." of the parameters that were frozen or unfrozen since the Reducer was made; "" is
  /// the usual case, and costs a look at one flag a parameter.
  [[nodiscard]] std::string changed() const {
    std::string list;
    int count = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].requires_grad() == trained[i]) continue;
      if (++count <= 4)
        list += (list.empty() ? "" : ", ") + all_names[i] + (trained[i] ? " frozen" : " unfrozen");
    }
    return count > 4 ? list + " and " + std::to_string(count - 4) + " more" : list;
  }

  void make_reducer(const DDPOptions& options) {
    logger.reset();
    reducer.reset();  // takes its hooks off the parameters
    parameters.clear();
    names.clear();
    static_graph_seen = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      trained[i] = all[i].requires_grad();
      if (trained[i]) {
        parameters.push_back(all[i]);
        names.push_back(all_names[i]);
      } else {
        all[i].mutable_grad().reset();  // it may be a view of a bucket that is gone
      }
    }
    if (parameters.empty()) return;
    std::vector<bool> sparse;
    std::unordered_map<std::size_t, std::string> numbered;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      sparse.push_back(has_sparse_gradient(module, parameters[i]));
      numbered.emplace(i, names[i]);
    }
    const auto cap = static_cast<std::size_t>(options.bucket_cap_mb * 1024 * 1024);
    const auto first_cap = static_cast<std::size_t>(c10d::kDefaultFirstBucketBytes);
    // Buckets are cut again after the first step, in the order in which gradients came; until then one will
    // do, unless they never are.
    const bool rebuilds = options.static_graph || !options.find_unused_parameters;
    const std::vector<std::size_t> limits =
        rebuilds ? std::vector<std::size_t>{std::numeric_limits<std::int64_t>::max()}
                 : std::vector<std::size_t>{first_cap, cap};
    auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, limits, sparse));
    std::reverse(buckets.begin(), buckets.end());  // backward makes the last parameters' gradients first
    reducer = std::make_shared<c10d::Reducer>(
        parameters, std::move(buckets), Collectives::process_group(), std::move(sparse),
        static_cast<std::int64_t>(cap), options.find_unused_parameters, options.gradient_as_bucket_view,
        std::move(numbered), static_cast<std::int64_t>(std::min(first_cap, cap)),
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<std::int64_t>{});
    if (options.static_graph) reducer->set_static_graph();
    logger = std::make_shared<c10d::Logger>(reducer);
    reducer->set_logger(logger);
    const auto device = parameters.front().device();
    logger->set_construction_data_and_log(
        "LightningModule", device.is_cuda() ? std::vector<int>{device.index()} : std::vector<int>{},
        device.is_cuda() ? device.index() : -1, options.broadcast_buffers, /*has_sync_bn=*/false,
        options.static_graph);
  }

  [[noreturn]] void explain(const c10::Error& error) const {
    const std::string text = error.what_without_backtrace();
    if (text.find("reduction in the prior iteration") == std::string::npos)
      throw std::runtime_error("DDPStrategy: " + text);
    std::string unused;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto& gradient = parameters[i].grad();
      if (!gradient.defined() || !gradient.any().item<bool>())
        unused += (unused.empty() ? "" : ", ") + names[i];
    }
    throw std::runtime_error(
        "DDPStrategy: in the last step some parameters got no gradient" +
        (unused.empty() ? "" : " (" + unused + ")") +
        ", so the ranks could not finish their sums; if the model leaves parameters out on purpose, "
        "write DDPStrategy({.find_unused_parameters = true})");
  }
};

DDPStrategy::DDPStrategy() = default;
DDPStrategy::DDPStrategy(DDPStrategy&&) noexcept = default;
DDPStrategy::~DDPStrategy() = default;

DDPStrategy::DDPStrategy(DDPOptions options) : options_(options) {
  std::string problems;
  if (!(options.bucket_cap_mb > 0))
    problems += "\n  bucket_cap_mb is " + std::to_string(options.bucket_cap_mb) + ", expected more than 0";
  if (options.timeout && options.timeout->count() <= 0)
    problems += "\n  timeout is " + std::to_string(options.timeout->count()) + " ms, expected more than 0";
  if (!problems.empty()) throw std::invalid_argument("DDPStrategy: these options cannot be used:" + problems);
}

bool DDPStrategy::is_distributed() const {
  return Collectives::initialized() && Collectives::world_size() > 1;
}

void DDPStrategy::setup(LightningModule& module, bool fitting) {
  wrapped_.reset();
  if (!is_distributed()) {
    if (const auto ranks = get_context().get_world_size(); ranks > 1) {
      throw std::runtime_error("DDPStrategy: this is one of " + std::to_string(ranks) +
                               " ranks, but the process group was not set up");
    }
    return;
  }
  const auto& group = Collectives::process_group();
  if (options_.timeout) group->setTimeout(*options_.timeout);

  auto wrapped = std::make_unique<Wrapped>(module, fitting);
  if (options_.init_sync) {
    require_equal_modules("DDPStrategy", module, device());
    take_over_state(module);
  }
  if (!fitting) return;
  wrapped->make_reducer(options_);
  if (!wrapped->reducer) throw std::runtime_error("DDPStrategy: " + no_parameter_words());
  wrapped_ = std::move(wrapped);
}

void DDPStrategy::teardown() { wrapped_.reset(); }

void DDPStrategy::before_forward(bool sync) {
  if (!wrapped_) return;
  auto& w = *wrapped_;
  const bool with_gradients = torch::GradMode::is_enabled();
  try {
    if (with_gradients && w.reducer) w.reducer->rebuild_buckets();
  } catch (const c10::Error& error) {
    w.explain(error);
  }
  // The first forward after one that changed the buffers of every rank in its own way.
  if (w.sync_buffers_next && options_.broadcast_buffers && !w.buffers.empty()) {
    take_over_buffers(w.buffers);
  }
  w.sync_buffers_next = with_gradients && sync;
}

void DDPStrategy::backward(const torch::Tensor& loss, bool sync) {
  if (!wrapped_) return loss.backward();
  if (!sync) {
    // The Reducer counts this backward's hooks in its recording, and sums too little from then on.
    if (options_.static_graph)
      throw std::invalid_argument(
          "DDPStrategy: static_graph cannot be combined with accumulated gradients: set "
          "accumulate_grad_batches = 1 or static_graph = false");
    return loss.backward();
  }
  auto& w = *wrapped_;
  if (const auto changed = w.changed(); !changed.empty()) {
    meet("a change of the parameters that require a gradient (" + changed + ")");
    require_equal_modules("DDPStrategy", w.module, device());
    w.make_reducer(options_);
  }
  if (!w.reducer) return loss.backward();
  const runtime::Pulse::InCollective waiting(runtime::pulse(), "all_reduce of gradients");
  try {
    // It counts the iterations, which must be those with sums: a forward whose batch has no loss is none.
    w.reducer->prepare_for_forward();
    const bool look_for_unused = options_.find_unused_parameters && !options_.static_graph;
    w.reducer->prepare_for_backward(look_for_unused ? std::vector<torch::Tensor>{loss}
                                                    : std::vector<torch::Tensor>{});
    if (!options_.static_graph || std::exchange(w.static_graph_seen, true)) return loss.backward();
    // The first backward records the graph; its sums start when it has ended. The engine takes such a wish
    // only from within.
    loss.register_hook([reducer = std::weak_ptr<c10d::Reducer>(w.reducer)](const torch::Tensor&) {
      torch::autograd::Engine::get_default_engine().queue_callback([reducer] {
        if (const auto alive = reducer.lock()) alive->delay_all_reduce();
      });
    });
    loss.backward();
  } catch (const c10::Error& error) {
    w.explain(error);
  }
}

void DDPStrategy::zero_grad(const std::vector<torch::Tensor>& parameters) {
  // Views of the buckets stay, cleared; an unused parameter must have no gradient at all, or the optimizer
  // would move it.
  if (wrapped_ && options_.gradient_as_bucket_view && !options_.find_unused_parameters) {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> gradients;
    for (const auto& parameter : parameters) {
      if (parameter.grad().defined()) gradients.push_back(parameter.grad());
    }
    if (!gradients.empty()) at::_foreach_zero_(gradients);
    return;
  }
  for (const auto& parameter : parameters) parameter.mutable_grad().reset();
}

void DDPStrategy::reduce(torch::Tensor& value, Reduce op) {
  if (is_distributed()) Collectives::all_reduce(value, op_of(op));
}

std::string DDPStrategy::broadcast(const std::string& value) {
  return is_distributed() ? broadcast_text(value, 0, device()) : value;
}

void DDPStrategy::barrier() {
  if (is_distributed()) Collectives::barrier();
}

std::vector<torch::Tensor> DDPStrategy::all_gather(const torch::Tensor& value) {
  return is_distributed() ? Collectives::all_gather(value) : Strategy::all_gather(value);
}

void DDPStrategy::meet(const std::string& place) {
  if (is_distributed()) Collectives::meet(place);
}

}  // namespace rtrain
