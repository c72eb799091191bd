// PowerSGD: torch's powerSGD_hook, with its state by the name of a parameter instead of the number of a
// bucket, so that it survives buckets that are cut anew and can be saved.
#include "worker/strategies/comm_hooks.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <algorithm>
#include <iostream>
#include <map>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

namespace rtrain {
namespace {

using comm_hooks::PowerSGDOptions;
using Future = c10::ivalue::Future;

constexpr const char* kErrorOf = "hook.error.";
constexpr const char* kQOf = "hook.q.";

/// numpy.random.RandomState(seed).randint(1'000'000'000), which seeds torch's draws.
class Seeds {
 public:
  explicit Seeds(std::uint32_t seed) : engine_(seed) {}
  [[nodiscard]] std::uint64_t next() {
    constexpr std::uint32_t kMask = (1U << 30U) - 1, kLast = 999'999'999;
    while (true) {
      ++drawn_;
      if (const auto value = static_cast<std::uint32_t>(engine_()) & kMask; value <= kLast) return value;
    }
  }
  [[nodiscard]] std::uint64_t drawn() const { return drawn_; }
  void skip(std::uint64_t numbers) {
    engine_.discard(numbers);
    drawn_ += numbers;
  }

 private:
  std::mt19937 engine_;
  std::uint64_t drawn_ = 0;
};

/// @param columns [1, n, r], in place.
void gram_schmidt(const torch::Tensor& columns, double epsilon) {
  const auto count = columns.size(2);
  for (std::int64_t i = 0; i < count; ++i) {
    auto column = columns.narrow(2, i, 1);
    const auto norm = column.norm(2, /*dim=*/{1}, /*keepdim=*/true);
    column.div_(epsilon == 0 ? norm : norm + epsilon);
    if (i + 1 == count) break;
    auto rest = columns.narrow(2, i + 1, count - i - 1);
    rest.sub_((column * rest).sum(1, /*keepdim=*/true) * column);
  }
}

void orthogonalize(const torch::Tensor& columns, double epsilon) {
  if (columns.size(2) <= 2 || columns.scalar_type() == torch::kHalf ||
      columns.scalar_type() == torch::kBFloat16)
    gram_schmidt(columns, epsilon);
  else
    columns.copy_(std::get<0>(torch::linalg_qr(columns)));
}

/// A gradient that is sent as P and Q.
struct Compressed {
  std::string name;
  torch::Tensor matrix;  ///< [1, n, m]: a view of the bucket
  torch::Tensor p, q;    ///< [1, n, r] and [1, m, r]: views of the bucket's
};

/// A bucket on its way.
struct Flight {
  enum class Waits { kForP, kForQ };
  Waits waits = Waits::kForP;
  torch::Tensor buffer, before;  ///< before: with the errors, as it was compressed; undefined: not needed
  std::vector<Compressed> parts;
  std::vector<torch::Tensor> rest;  ///< gradients that are sent as they are
  torch::Tensor rest_sum, p, q;     ///< what is sent
  c10::intrusive_ptr<c10d::Work> rest_work, work;
  HookFuture result;
};

/// Collectives must have the same order on every rank, so none is started by a callback, of which nobody
/// knows the order: each call brings the buckets before it a step further, and that of the last bucket brings
/// all to their end. Sums of one bucket run while the next one is compressed.
class PowerSGDRun final : public HookRun {
 public:
  PowerSGDRun(const PowerSGDOptions& options, const HookPlace& place)
      : options_(options), place_(place), seeds_(options.random_seed) {}

  HookFuture reduce(c10d::GradBucket& bucket) override;
  [[nodiscard]] nlohmann::json save(PlanState& state) const override;
  void load(const nlohmann::json& saved, const PlanState& state) override;

 private:
  void take_off(c10d::GradBucket& bucket);
  void fill_q(Flight& flight, const std::vector<std::int64_t>& sizes);
  void send_q(Flight& flight);
  void land(Flight& flight);
  [[nodiscard]] c10::intrusive_ptr<c10d::Work> sum(const torch::Tensor& tensor) {
    std::vector<torch::Tensor> tensors{tensor};
    return place_.ranks.c10d_group()->allreduce(tensors);
  }

  PowerSGDOptions options_;
  HookPlace place_;
  Seeds seeds_;
  std::int64_t iterations_ = 0;  ///< backwards without compression
  std::map<std::string, torch::Tensor> error_of_, q_of_;
  std::vector<Flight> flights_;  ///< of this backward, in the order of the buckets
};

HookFuture PowerSGDRun::reduce(c10d::GradBucket& bucket) {
  if (iterations_ < options_.start_powerSGD_iter) {
    if (bucket.isLast()) ++iterations_;
    return start_average(bucket.getBuffer(), place_.ranks);
  }
  if (bucket.getIndex() == 0) flights_.clear();  // of a backward that failed
  take_off(bucket);
  const auto result = flights_.back().result;
  const auto further = [this](std::size_t flights) {
    for (std::size_t i = 0; i < flights; ++i) {
      auto& flight = flights_[i];
      if (flight.result->completed()) continue;
      if (flight.waits == Flight::Waits::kForP)
        send_q(flight);
      else
        land(flight);
    }
  };
  further(flights_.size() - 1);
  if (bucket.isLast()) {
    while (!result->completed()) further(flights_.size());
    flights_.clear();
  }
  return result;
}

void PowerSGDRun::take_off(c10d::GradBucket& bucket) {
  auto& flight = flights_.emplace_back();
  flight.buffer = bucket.getBuffer();
  flight.result = c10::make_intrusive<Future>(
      c10::TensorType::get(), flight.buffer.is_cuda() ? std::vector<c10::Device>{flight.buffer.device()}
                                                      : std::vector<c10::Device>{});
  const auto gradients = bucket.getGradients();
  const auto parameters = bucket.getParameters();
  std::vector<std::int64_t> p_sizes, q_sizes;
  std::vector<std::size_t> compressed;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const auto n = gradients[i].dim() > 0 ? gradients[i].size(0) : 1;
    const auto m = n > 0 ? gradients[i].numel() / n : 0;
    const auto rank = std::min({n, m, options_.matrix_approximation_rank});
    const auto sent = static_cast<double>((n + m) * rank);
    if (gradients[i].dim() < 1 || !(sent * options_.min_compression_rate < static_cast<double>(n * m))) {
      flight.rest.push_back(gradients[i]);
      continue;
    }
    compressed.push_back(i);
    flight.parts.push_back({place_.name_of(parameters[i]), gradients[i].view({1, n, m}), {}, {}});
    p_sizes.push_back(n * rank);
    q_sizes.push_back(m * rank);
  }
  if (options_.use_error_feedback) {
    for (const auto& part : flight.parts)
      if (const auto found = error_of_.find(part.name); found != error_of_.end())
        part.matrix.add_(found->second.view(part.matrix.sizes()));
    flight.before = flight.buffer.clone();
  }
  // The sum of what is not compressed runs while the rest is.
  if (!flight.rest.empty()) {
    std::vector<torch::Tensor> rows;
    for (const auto& gradient : flight.rest) rows.push_back(gradient.reshape(-1));
    flight.rest_sum = torch::cat(rows);
    flight.rest_work = sum(flight.rest_sum);
  }
  if (flight.parts.empty()) return;
  std::int64_t p_size = 0;
  for (const auto size : p_sizes) p_size += size;
  flight.p = torch::empty({p_size}, flight.buffer.options());
  const auto ps = flight.p.split_with_sizes(p_sizes);
  fill_q(flight, q_sizes);
  for (std::size_t i = 0; i < flight.parts.size(); ++i) {
    auto& part = flight.parts[i];
    part.p = ps[i].view({1, part.matrix.size(1), -1});
    at::bmm_out(part.p, part.matrix, part.q);
  }
  flight.work = sum(flight.p);
}

/// The Q of the step before, or a new one.
void PowerSGDRun::fill_q(Flight& flight, const std::vector<std::int64_t>& sizes) {
  std::int64_t size = 0;
  for (const auto own : sizes) size += own;
  flight.q = torch::empty({size}, flight.buffer.options());
  const auto qs = flight.q.split_with_sizes(sizes);
  std::optional<at::Generator> draws;
  for (std::size_t i = 0; i < flight.parts.size(); ++i) {
    auto& part = flight.parts[i];
    part.q = qs[i].view({1, part.matrix.size(2), -1});
    const auto found = options_.warm_start ? q_of_.find(part.name) : q_of_.end();
    if (found != q_of_.end() && found->second.numel() == part.q.numel()) {
      part.q.copy_(found->second.view(part.q.sizes()));
    } else {
      if (!draws) draws = at::make_generator<at::CPUGeneratorImpl>(seeds_.next());
      part.q.copy_(torch::randn(part.q.sizes(), draws, torch::dtype(part.q.scalar_type())));
    }
    orthogonalize(part.q, options_.orthogonalization_epsilon);
  }
}

void PowerSGDRun::send_q(Flight& flight) {
  if (flight.rest_work) {
    flight.rest_work->wait();
    flight.rest_sum.div_(place_.ranks.world_size());
    std::int64_t at = 0;
    for (const auto& gradient : flight.rest) {
      gradient.copy_(flight.rest_sum.narrow(0, at, gradient.numel()).view(gradient.sizes()));
      at += gradient.numel();
    }
  }
  flight.waits = Flight::Waits::kForQ;
  if (flight.parts.empty()) return;
  flight.work->wait();
  // It is made orthonormal, so that there is no need to divide it.
  for (const auto& part : flight.parts) orthogonalize(part.p, options_.orthogonalization_epsilon);
  for (auto& part : flight.parts) at::bmm_out(part.q, part.matrix.transpose(1, 2), part.p);
  flight.work = sum(flight.q);
}

void PowerSGDRun::land(Flight& flight) {
  if (!flight.parts.empty()) {
    flight.work->wait();
    flight.q.div_(place_.ranks.world_size());
    for (auto& part : flight.parts) at::bmm_out(part.matrix, part.p, part.q.transpose(1, 2));
  }
  for (auto& part : flight.parts) {
    if (options_.use_error_feedback) {
      const auto before = flight.before.narrow(
          0, part.matrix.storage_offset() - flight.buffer.storage_offset(), part.matrix.numel());
      error_of_[part.name] = before - part.matrix.view(-1);
    }
    if (options_.warm_start) q_of_[part.name] = part.q.reshape(-1);
  }
  flight.result->markCompleted(c10::IValue(flight.buffer));
}

nlohmann::json PowerSGDRun::save(PlanState& state) const {
  for (const auto& [name, error] : error_of_) state.own.emplace(kErrorOf + name, error);
  for (const auto& [name, q] : q_of_) state.tensors.emplace(kQOf + name, q);
  return {{"iterations", iterations_}, {"drawn", seeds_.drawn()}, {"errors", error_of_.size()}};
}

void PowerSGDRun::load(const nlohmann::json& saved, const PlanState& state) {
  seeds_ = Seeds(options_.random_seed);
  iterations_ = 0;
  error_of_.clear();
  q_of_.clear();
  if (saved.is_null()) return;
  iterations_ = saved.value("iterations", std::int64_t{0});
  seeds_.skip(saved.value("drawn", std::uint64_t{0}));
  const auto take = [&](const std::map<std::string, torch::Tensor>& from, const std::string& prefix,
                        std::map<std::string, torch::Tensor>& into) {
    for (const auto& [name, tensor] : from)
      if (name.starts_with(prefix))
        into.emplace(name.substr(prefix.size()),
                     tensor.to(place_.device, /*non_blocking=*/false, /*copy=*/true));
  };
  take(state.tensors, kQOf, q_of_);
  take(state.own, kErrorOf, error_of_);
  if (state.own.empty() && saved.value("errors", std::size_t{0}) > 0 && place_.ranks.rank() == 0)
    std::cerr << "rtrain: warning: comm_hooks::powerSGD: the checkpoint is of another number of ranks: the "
                 "errors of its compression are left out"
              << std::endl;
}

class PowerSGDRecipe final : public CommHook::Recipe {
 public:
  explicit PowerSGDRecipe(const PowerSGDOptions& options) : options_(options) {}
  [[nodiscard]] std::string name() const override { return "powerSGD"; }
  [[nodiscard]] std::unique_ptr<HookRun> start(const HookPlace& place) const override {
    return std::make_unique<PowerSGDRun>(options_, place);
  }

 private:
  PowerSGDOptions options_;
};

}  // namespace

CommHook comm_hooks::powerSGD(PowerSGDOptions options) {
  std::string problems;
  const auto add = [&](const std::string& what) { problems += "\n  " + what; };
  if (options.matrix_approximation_rank < 1)
    add("matrix_approximation_rank is " + std::to_string(options.matrix_approximation_rank) +
        ", expected 1 or more");
  const bool remembers = options.use_error_feedback || options.warm_start;
  if (options.start_powerSGD_iter < (remembers ? 2 : 0))
    add("start_powerSGD_iter is " + std::to_string(options.start_powerSGD_iter) + ", expected " +
        (remembers ? "2 or more with use_error_feedback or warm_start" : "0 or more"));
  if (!(options.min_compression_rate > 0))
    add("min_compression_rate is " + std::to_string(options.min_compression_rate) + ", expected more than 0");
  if (!(options.orthogonalization_epsilon >= 0))
    add("orthogonalization_epsilon is " + std::to_string(options.orthogonalization_epsilon) +
        ", expected 0 or more");
  if (!problems.empty())
    throw std::invalid_argument("comm_hooks::powerSGD: these options cannot be used:" + problems);
  return CommHook(std::make_shared<PowerSGDRecipe>(options));
}

}  // namespace rtrain
