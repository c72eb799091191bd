// Learning-rate schedulers. Arguments, defaults and the order of the floating-point operations are those of
// torch.optim.lr_scheduler in PyTorch 2.11: "e" below is the number of steps so far.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizer.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Writes the option "lr" of each group of one optimizer. Making one is its step 0: it notes the learning
/// rates that it finds as the groups' option "initial_lr" (unless an earlier scheduler did) and sets those of
/// e = 0. A class of one's own overrides rates() and calls begin() in its constructor.
/// @thread that of the optimizer. @lifetime keeps its optimizer alive.
class RTRAIN_API LRScheduler {
 public:
  /// @throws std::invalid_argument no optimizer.
  LRScheduler(std::shared_ptr<Optimizer> optimizer, std::string type);
  virtual ~LRScheduler() = default;

  /// One epoch or one optimizer step went by. @throws std::logic_error ReduceLROnPlateau, which needs a
  /// metric.
  virtual void step();
  /// For ReduceLROnPlateau. @throws std::logic_error all others, which take no metric.
  virtual void step(double metric);
  /// PyTorch's step(epoch): goes to `epoch` at once, with the closed form where there is one. Only
  /// CosineAnnealingWarmRestarts takes fractions of an epoch. @throws std::invalid_argument below 0, or a
  /// fraction.
  virtual void step_to(double epoch);

  [[nodiscard]] const std::string& type_name() const { return type_; }
  [[nodiscard]] Optimizer& optimizer() const { return *optimizer_; }
  [[nodiscard]] std::int64_t last_epoch() const { return last_epoch_; }  ///< e
  /// By group, as the last step set them.
  [[nodiscard]] const std::vector<double>& last_lr() const { return last_lr_; }
  /// step(double metric) is the one to call.
  [[nodiscard]] virtual bool needs_metric() const { return false; }
  /// Made for a step at every optimizer step (OneCycleLR, CyclicLR).
  [[nodiscard]] virtual bool counts_steps() const { return false; }

  /// Where it stands, not how it was made: a resumed run has the options that its code gives.
  [[nodiscard]] virtual nlohmann::json state() const;
  /// The learning rates themselves are the optimizer's state. @throws std::invalid_argument a state of
  /// another type or another number of groups, or a value that is missing; nothing is changed then.
  virtual void load_state(const nlohmann::json& state);

 protected:
  using Rates = std::vector<double>;
  /// Sets the rates of e = 0.
  void begin();
  /// The rates of the groups at last_epoch(), from those that the groups have now (rate()) or from base_lrs_.
  [[nodiscard]] virtual Rates rates() = 0;
  /// The rates of last_epoch() from base_lrs_ alone; nullopt: there is no such form, rates() is used.
  [[nodiscard]] virtual std::optional<Rates> closed_form() { return std::nullopt; }
  [[nodiscard]] double rate(std::size_t group) const;
  [[nodiscard]] std::size_t groups() const { return base_lrs_.size(); }
  void apply(const Rates& rates);
  /// Goes to e = 0 as a member of SequentialLR whose turn has come.
  virtual void restart();
  /// Undoes begin() but for the rates: the scheduler waits for restart().
  virtual void take_back();

  std::vector<double> base_lrs_;  ///< of the groups, before the first step
  std::vector<double> last_lr_;
  std::int64_t last_epoch_ = -1;
  std::int64_t step_count_ = 0;
  bool is_initial_ = false;  ///< within begin()

 private:
  friend class SchedulerSequence;  ///< SequentialLR and ChainedScheduler, which step their members
  std::shared_ptr<Optimizer> optimizer_;
  std::string type_;
};

namespace lr {

/// Shared with the optimizer's or scheduler's maker.
using SharedOptimizer = std::shared_ptr<Optimizer>;
using SharedScheduler = std::shared_ptr<LRScheduler>;
/// A factor as a function of e.
using Factor = std::function<double(std::int64_t)>;
/// One number for all groups, or one for each.
class RTRAIN_API PerGroup {
 public:
  PerGroup(double all) : values_{all} {}  // NOLINT: implicit on purpose
  PerGroup(std::vector<double> each)
      : values_(std::move(each)), is_list_(true) {}  // NOLINT: implicit on purpose
  PerGroup(std::initializer_list<double> each)       // NOLINT: implicit on purpose
      : values_(each), is_list_(true) {}
  /// @throws std::invalid_argument a list of another length; `what` begins the message.
  [[nodiscard]] std::vector<double> of(std::size_t groups, const std::string& what) const;

 private:
  std::vector<double> values_;
  bool is_list_ = false;
};

// Every function: @throws std::invalid_argument no optimizer, or an argument out of range.

/// base_lr * factor(e). @param factors one, or one for each group. Checkpoints do not hold functions.
[[nodiscard]] RTRAIN_API SharedScheduler LambdaLR(SharedOptimizer optimizer, std::vector<Factor> factors);
[[nodiscard]] RTRAIN_API SharedScheduler LambdaLR(SharedOptimizer optimizer, Factor factor);
/// lr * factor(e).
[[nodiscard]] RTRAIN_API SharedScheduler MultiplicativeLR(SharedOptimizer optimizer,
                                                          std::vector<Factor> factors);
[[nodiscard]] RTRAIN_API SharedScheduler MultiplicativeLR(SharedOptimizer optimizer, Factor factor);

/// lr * gamma at every step_size-th step.
struct RTRAIN_API StepLROptions {
  std::int64_t step_size = 0;  ///< must be given
  double gamma = 0.1;
};
[[nodiscard]] RTRAIN_API SharedScheduler StepLR(SharedOptimizer optimizer, StepLROptions options);

/// lr * gamma at each milestone; one that is listed twice counts twice.
struct RTRAIN_API MultiStepLROptions {
  std::vector<std::int64_t> milestones{};
  double gamma = 0.1;
};
[[nodiscard]] RTRAIN_API SharedScheduler MultiStepLR(SharedOptimizer optimizer, MultiStepLROptions options);

/// base_lr * factor for total_iters steps, then base_lr.
struct RTRAIN_API ConstantLROptions {
  double factor = 1.0 / 3;  ///< in [0, 1]
  std::int64_t total_iters = 5;
};
[[nodiscard]] RTRAIN_API SharedScheduler ConstantLR(SharedOptimizer optimizer,
                                                    ConstantLROptions options = {});

/// base_lr times a factor that goes from start_factor to end_factor in total_iters steps.
struct RTRAIN_API LinearLROptions {
  double start_factor = 1.0 / 3;  ///< in (0, 1]
  double end_factor = 1;          ///< in [0, 1]
  std::int64_t total_iters = 5;
};
[[nodiscard]] RTRAIN_API SharedScheduler LinearLR(SharedOptimizer optimizer, LinearLROptions options = {});

/// lr * gamma at every step.
[[nodiscard]] RTRAIN_API SharedScheduler ExponentialLR(SharedOptimizer optimizer, double gamma);

/// base_lr (1 - e / total_iters)^power, then 0.
struct RTRAIN_API PolynomialLROptions {
  std::int64_t total_iters = 5;
  double power = 1;
};
[[nodiscard]] RTRAIN_API SharedScheduler PolynomialLR(SharedOptimizer optimizer,
                                                      PolynomialLROptions options = {});

/// eta_min + (base_lr - eta_min) (1 + cos(pi e / t_max)) / 2; goes up again after t_max. Loshchilov and
/// Hutter, "SGDR", arXiv 1608.03983, without its restarts.
struct RTRAIN_API CosineAnnealingLROptions {
  std::int64_t t_max = 0;  ///< must be given
  double eta_min = 0;
};
[[nodiscard]] RTRAIN_API SharedScheduler CosineAnnealingLR(SharedOptimizer optimizer,
                                                           CosineAnnealingLROptions options);

/// A cosine that begins anew after t_0 steps, then after t_mult times as many, and so on. arXiv 1608.03983.
struct RTRAIN_API CosineAnnealingWarmRestartsOptions {
  std::int64_t t_0 = 0;  ///< must be given
  std::int64_t t_mult = 1;
  double eta_min = 0;
};
[[nodiscard]] RTRAIN_API SharedScheduler
CosineAnnealingWarmRestarts(SharedOptimizer optimizer, CosineAnnealingWarmRestartsOptions options);

/// The shape of a change of the learning rate.
enum class Anneal { kCosine, kLinear };
/// The 1cycle policy: up to max_lr, then down to next to nothing; "momentum" or "beta1" goes the other way.
/// Smith and Topin, "Super-Convergence", arXiv 1708.07120. Writes the groups' options max_lr, min_lr,
/// max_momentum and base_momentum. Past its end it stays at min_lr and says so once, where PyTorch turns up
/// again and then throws.
struct RTRAIN_API OneCycleLROptions {
  PerGroup max_lr = 0.0;                      ///< must be given
  std::optional<std::int64_t> total_steps{};  ///< this, or the next two
  std::optional<std::int64_t> epochs{}, steps_per_epoch{};
  double pct_start = 0.3;  ///< the part of the cycle that goes up
  Anneal anneal_strategy = Anneal::kCosine;
  bool cycle_momentum = true;
  PerGroup base_momentum = 0.85, max_momentum = 0.95;
  double div_factor = 25;         ///< initial_lr = max_lr / div_factor
  double final_div_factor = 1e4;  ///< min_lr = initial_lr / final_div_factor
  bool three_phase = false;       ///< up, down in the same time, then down to min_lr
};
[[nodiscard]] RTRAIN_API SharedScheduler OneCycleLR(SharedOptimizer optimizer, OneCycleLROptions options);

/// Each cycle as high as the first, half as high as the one before, or gamma to the power of the step.
enum class Cycle { kTriangular, kTriangular2, kExpRange };
/// Up and down between base_lr and max_lr; "momentum" or "beta1" goes the other way. Smith, "Cyclical
/// Learning Rates for Training Neural Networks", arXiv 1506.01186.
struct RTRAIN_API CyclicLROptions {
  PerGroup base_lr = 0.0, max_lr = 0.0;  ///< must be given
  std::int64_t step_size_up = 2000;
  std::optional<std::int64_t> step_size_down{};  ///< left out: as step_size_up
  /// the amplitude: the same in all cycles, halved with each, or gamma^e
  Cycle mode = Cycle::kTriangular;
  double gamma = 1;
  /// in place of mode: the amplitude as a function of the cycle (from 1), or of e with scale_by_step
  std::function<double(double)> scale_fn{};
  bool scale_by_step = false;
  bool cycle_momentum = true;
  PerGroup base_momentum = 0.8, max_momentum = 0.9;
};
[[nodiscard]] RTRAIN_API SharedScheduler CyclicLR(SharedOptimizer optimizer, CyclicLROptions options);

/// The schedulers one after the other: each begins at its milestone, at its own e = 0. Only the first is in
/// force at first: their making counts as if it had not been. @param milestones one less than schedulers,
/// ascending.
[[nodiscard]] RTRAIN_API SharedScheduler SequentialLR(SharedOptimizer optimizer,
                                                      std::vector<SharedScheduler> schedulers,
                                                      std::vector<std::int64_t> milestones);
/// All schedulers step, one after the other; those with recursive forms multiply. All of one optimizer.
[[nodiscard]] RTRAIN_API SharedScheduler ChainedScheduler(std::vector<SharedScheduler> schedulers);

/// Which of two values of a metric is the better one.
enum class Mode { kMin, kMax };
/// Whether a threshold is a part of the best value or a distance from it.
enum class ThresholdMode { kRelative, kAbsolute };
/// lr * factor after more than `patience` steps without a better metric. NaN is never better.
struct RTRAIN_API ReduceLROnPlateauOptions {
  Mode mode = Mode::kMin;
  double factor = 0.1;  ///< below 1
  std::int64_t patience = 10;
  double threshold = 1e-4;  ///< how much better a metric has to be
  ThresholdMode threshold_mode = ThresholdMode::kRelative;
  std::int64_t cooldown = 0;  ///< steps after a reduction that do not count
  PerGroup min_lr = 0.0;
  double eps = 1e-8;  ///< a change of no more than this is left out
};
[[nodiscard]] RTRAIN_API SharedScheduler ReduceLROnPlateau(SharedOptimizer optimizer,
                                                           ReduceLROnPlateauOptions options = {});

/// To swa_lr in anneal_epochs steps, where it stays. Izmailov et al., "Averaging Weights Leads to Wider
/// Optima and Better Generalization", arXiv 1803.05407. Writes the groups' option swa_lr.
struct RTRAIN_API SWALROptions {
  PerGroup swa_lr = 0.0;  ///< must be given
  std::int64_t anneal_epochs = 10;
  Anneal anneal_strategy = Anneal::kCosine;
};
[[nodiscard]] RTRAIN_API SharedScheduler SWALR(SharedOptimizer optimizer, SWALROptions options);

/// A factor for LambdaLR: linear from 0 to 1 in warmup_steps, then half a cosine down to min_factor at
/// total_steps, where it stays. PyTorch has none; the shape is that of get_cosine_schedule_with_warmup in
/// Hugging Face's transformers.
[[nodiscard]] RTRAIN_API Factor warmup_cosine(std::int64_t warmup_steps, std::int64_t total_steps,
                                              double min_factor = 0);

}  // namespace lr
}  // namespace rtrain
