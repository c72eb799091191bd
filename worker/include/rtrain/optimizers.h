// What configure_optimizers() returns: optimizers and their learning-rate schedulers.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizer.h>
#include <rtrain/schedulers.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace torch::optim {
class Optimizer;
}  // namespace torch::optim

namespace rtrain {

/// Where a scheduler steps.
enum class Interval { kEpoch, kStep };

/// Lightning's scheduler dictionary.
struct RTRAIN_API LRSchedulerConfig {
  std::shared_ptr<LRScheduler> scheduler{};
  std::string name{};  ///< for monitors of the learning rate
  Interval interval = Interval::kEpoch;
  std::int64_t frequency = 1;            ///< steps at every so many epochs or optimizer steps; at least 1
  std::optional<std::string> monitor{};  ///< the metric that ReduceLROnPlateau gets, which needs it
  bool strict = true;  ///< a monitored metric that is not there is an error; false: a warning
};

/// A scheduler alone or with its configuration.
struct RTRAIN_API SchedulerEntry {
  LRSchedulerConfig config{};
  SchedulerEntry() = default;
  template <std::derived_from<LRScheduler> S>
  SchedulerEntry(std::shared_ptr<S> scheduler)
      : config{std::move(scheduler)} {}                                  // NOLINT: implicit on purpose
  SchedulerEntry(LRSchedulerConfig given) : config(std::move(given)) {}  // NOLINT: implicit on purpose
};

/// One scheduler or a list of them.
struct RTRAIN_API SchedulerEntries {
  std::vector<LRSchedulerConfig> all{};
  SchedulerEntries() = default;
  template <std::derived_from<LRScheduler> S>
  SchedulerEntries(std::shared_ptr<S> one)
      : all{LRSchedulerConfig{std::move(one)}} {}                    // NOLINT: implicit on purpose
  SchedulerEntries(LRSchedulerConfig one) : all{std::move(one)} {}   // NOLINT: implicit on purpose
  SchedulerEntries(std::initializer_list<SchedulerEntry> several) {  // NOLINT: implicit on purpose
    for (const auto& entry : several) all.push_back(entry.config);
  }
  SchedulerEntries(const std::vector<SchedulerEntry>& several) {  // NOLINT: implicit on purpose
    for (const auto& entry : several) all.push_back(entry.config);
  }
};

/// One optimizer with its scheduler: Lightning's dictionary.
struct RTRAIN_API WithScheduler {
  std::shared_ptr<Optimizer> optimizer{};
  SchedulerEntry lr_scheduler{};
  std::optional<std::string> monitor{};  ///< of a scheduler whose own configuration names none
};

namespace detail {

template <class T>
inline constexpr bool kIsTorchOptimizer = std::is_base_of_v<torch::optim::Optimizer, T>;
template <class T>
inline constexpr bool kIsTorchOptimizer<std::shared_ptr<T>> = kIsTorchOptimizer<T>;
template <class T, class D>
inline constexpr bool kIsTorchOptimizer<std::unique_ptr<T, D>> = kIsTorchOptimizer<T>;

}  // namespace detail

/// What configure_optimizers() returns. All forms of Lightning's convert by themselves:
///    return adam;                      // one, as a shared_ptr or by value
///    return {generator, critic};       // several
///    return {{adam}, {step_lr}};       // optimizers and schedulers
///    return WithScheduler{.optimizer = adam, .lr_scheduler = plateau, .monitor = "val_loss"};
///    return {WithScheduler{generator, cosine}, WithScheduler{critic}};
///    return std::nullopt;              // none
/// Automatic optimization takes one optimizer, or none, with a warning; manual optimization any number.
struct RTRAIN_API Optimizers {
  std::vector<std::shared_ptr<Optimizer>> all{};
  std::vector<LRSchedulerConfig> schedulers{};

  Optimizers() = default;
  Optimizers(std::nullopt_t) {}                                        // NOLINT: implicit on purpose
  Optimizers(std::shared_ptr<Optimizer> one) : all{std::move(one)} {}  // NOLINT: implicit on purpose
  template <std::derived_from<Optimizer> O>
  Optimizers(std::shared_ptr<O> one) : all{std::move(one)} {}  // NOLINT: implicit on purpose
  template <std::derived_from<Optimizer> O>
  Optimizers(O one) : all{std::make_shared<O>(std::move(one))} {}        // NOLINT: implicit on purpose
  Optimizers(std::initializer_list<std::shared_ptr<Optimizer>> several)  // NOLINT: implicit on purpose
      : all(several) {}
  Optimizers(std::vector<std::shared_ptr<Optimizer>> several)  // NOLINT: implicit on purpose
      : all(std::move(several)) {}
  Optimizers(std::vector<std::shared_ptr<Optimizer>> several, SchedulerEntries with)
      : all(std::move(several)), schedulers(std::move(with.all)) {}
  Optimizers(std::shared_ptr<Optimizer> one, SchedulerEntries with)
      : all{std::move(one)}, schedulers(std::move(with.all)) {}
  Optimizers(WithScheduler one) { add(std::move(one)); }      // NOLINT: implicit on purpose
  Optimizers(std::initializer_list<WithScheduler> several) {  // NOLINT: implicit on purpose
    for (const auto& one : several) add(one);
  }
  Optimizers(std::vector<WithScheduler> several) {  // NOLINT: implicit on purpose
    for (auto& one : several) add(std::move(one));
  }
  template <class T>
    requires detail::kIsTorchOptimizer<std::remove_cvref_t<T>>
  Optimizers(T&&) {  // NOLINT: implicit on purpose
    static_assert(!detail::kIsTorchOptimizer<std::remove_cvref_t<T>>,
                  "configure_optimizers() returns one of rtrain::optim (SGD, Adam, AdamW) or a class derived "
                  "from rtrain::Optimizer, "
                  "not a torch::optim optimizer: its state would be missing in checkpoints; "
                  "rtrain::optim::wrap(optimizer) takes it along");
  }

 private:
  void add(WithScheduler one) {
    all.push_back(std::move(one.optimizer));
    auto& config = one.lr_scheduler.config;
    if (config.scheduler == nullptr) return;
    if (!config.monitor) config.monitor = std::move(one.monitor);
    schedulers.push_back(std::move(config));
  }
};

}  // namespace rtrain
