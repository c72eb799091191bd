// How the ranks of a job train one model together.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/ddp.h>
#include <rtrain/strategies/deepspeed.h>
#include <rtrain/strategies/diloco.h>
#include <rtrain/strategies/fsdp.h>
#include <rtrain/strategies/model_parallel.h>
#include <rtrain/strategies/strategy.h>

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace rtrain {

/// The type of TrainerOptions::strategy: "auto" (DDP if the job has several ranks, else a single device), a
/// name (strategy_names() lists them), a strategy by value, or a shared_ptr of one.
class RTRAIN_API AnyStrategy {
 public:
  AnyStrategy(const char* name) : name_(name) {}             // NOLINT: implicit on purpose
  AnyStrategy(std::string name) : name_(std::move(name)) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Strategy> S>
  AnyStrategy(S strategy)  // NOLINT: implicit on purpose
      : strategy_(std::make_shared<S>(std::move(strategy))) {}
  template <std::derived_from<Strategy> S>
  AnyStrategy(std::shared_ptr<S> strategy) : strategy_(std::move(strategy)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] const std::string& name() const { return name_; }               ///< "" if given an object
  [[nodiscard]] const std::shared_ptr<Strategy>& get() const { return strategy_; }  ///< null if given a name

 private:
  std::string name_;
  std::shared_ptr<Strategy> strategy_;
};

/// Runs `body` with every parameter of the module whole on every rank. Every rank calls it, in the same
/// place. Changes that `body` makes are kept, if all ranks make the same ones. Under a strategy that does not
/// shard, and outside of a run, it only calls `body`.
RTRAIN_API void full_parameters(LightningModule& module, const std::function<void()>& body);

}  // namespace rtrain
