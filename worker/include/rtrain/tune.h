// What a Tuner searches, and how: Ray Tune's search space, search algorithms, schedulers and TuneConfig.
//   {.param_space = {{"lr", tune::loguniform(1e-5, 1e-1)}, {"model.width", tune::choice({32, 64})}},
//    .tune_config = {.metric = "val_loss", .num_samples = 64, .scheduler = tune::ASHAScheduler{.max_t = 27}}}
//
// All of it becomes a sweep file (docs/reference/sweep.md), whose rules and defaults hold: Tuner::fit()
// reports what is out of range.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rtrain {
namespace tune {

/// The values that a parameter may have.
class RTRAIN_API Domain {
 public:
  explicit Domain(nlohmann::json json) : json_(std::move(json)) {}
  /// As it stands in a sweep file: {"float": [1e-5, 0.1], "log": true}.
  [[nodiscard]] const nlohmann::json& json() const { return json_; }
  /// The parameter is part of a trial only when `parameter` has this value, or one of a list of values:
  /// tune::uniform(0.5, 0.99).when("optimizer", "sgd").
  [[nodiscard]] Domain when(const std::string& parameter, const nlohmann::json& value) const;

 private:
  nlohmann::json json_;
};

/// Numbers from `lower` to `upper`, both included.
[[nodiscard]] RTRAIN_API Domain uniform(double lower, double upper);
/// lower, lower + q, ...: the steps begin at `lower`, where Ray's are multiples of q.
[[nodiscard]] RTRAIN_API Domain quniform(double lower, double upper, double q);
/// Numbers, by their logarithm; lower > 0.
[[nodiscard]] RTRAIN_API Domain loguniform(double lower, double upper);
/// Normally distributed numbers; sd > 0.
[[nodiscard]] RTRAIN_API Domain randn(double mean = 0, double sd = 1);
/// Whole numbers from `lower` to `upper`, **both included**: Ray's randint(lower, upper) leaves `upper` out.
[[nodiscard]] RTRAIN_API Domain randint(std::int64_t lower, std::int64_t upper);
/// lower, lower + q, ...
[[nodiscard]] RTRAIN_API Domain qrandint(std::int64_t lower, std::int64_t upper, std::int64_t q);
/// Whole numbers, by their logarithm, both ends included; lower > 0.
[[nodiscard]] RTRAIN_API Domain lograndint(std::int64_t lower, std::int64_t upper);
/// Values that are not alike: 1 to 1000, none of them null or twice.
[[nodiscard]] RTRAIN_API Domain choice(std::vector<nlohmann::json> values);
/// Values whose neighbours are alike: {32, 64, 128}.
[[nodiscard]] RTRAIN_API Domain ordinal(std::vector<nlohmann::json> values);
/// Each of the values with each point of the other parameters, which have values or steps then, too.
[[nodiscard]] RTRAIN_API Domain grid_search(std::vector<nlohmann::json> values);

/// A domain, or one value that all trials have.
class RTRAIN_API Parameter {
 public:
  Parameter(Domain domain) : domain_(std::move(domain)) {}  // NOLINT: implicit on purpose
  template <class T>
    requires(!std::same_as<std::remove_cvref_t<T>, Parameter> &&
             !std::same_as<std::remove_cvref_t<T>, Domain> && std::constructible_from<nlohmann::json, T>)
  Parameter(T value)  // NOLINT: implicit on purpose
      : domain_(nlohmann::json{{"constant", nlohmann::json(std::move(value))}}) {}
  [[nodiscard]] const Domain& domain() const { return domain_; }

 private:
  Domain domain_;
};
/// By the path of a value in train_loop_config ("lr", "model.width"). A path that begins with
/// "scaling_config.", "run_config.", "torch_config.", "scheduling." or "env." is one of the job.
using ParamSpace = std::map<std::string, Parameter>;

// ---- search algorithms

/// Ray's default: each point of a grid once when the space has a grid_search(), else points at random.
struct RTRAIN_API BasicVariantGenerator {};
/// A Sobol sequence, shifted by the seed.
struct RTRAIN_API SobolSearch {};
/// Tree-structured Parzen estimators with Optuna's rules and defaults: Ray's OptunaSearch.
struct RTRAIN_API TPESearch {
  int n_startup_trials = 10;  ///< before it models anything; 1 or more
  int n_ei_candidates = 24;   ///< points that are drawn and compared; 1 or more
};
/// The CMA evolution strategy: numbers and ordinals only.
struct RTRAIN_API CmaEsSearch {
  std::optional<double> sigma0{};  ///< first step size in widths of the domains, up to 1; default: 1/6
  std::optional<int> popsize{};    ///< trials of a generation, 2 or more; default: 4 + floor(3 ln d)
};
/// What draws the parameters of the next trial.
using SearchAlgorithm = std::variant<BasicVariantGenerator, SobolSearch, TPESearch, CmaEsSearch>;

// ---- schedulers: what `time_attr` of TuneConfig measures is their unit

/// Every trial runs to its end.
struct RTRAIN_API FIFOScheduler {};
/// kPromote: a trial pauses at a rung, and the best 1/eta go on from their checkpoints. kStop: it goes on at
/// once or ends, as Ray's.
enum class Halving { kPromote, kStop };
/// Asynchronous successive halving.
struct RTRAIN_API ASHAScheduler {
  double max_t = 0;             ///< of the last rung, where a trial has all that it gets; > grace_period
  double grace_period = 1;      ///< of the first rung; > 0
  double reduction_factor = 3;  ///< eta, 2 or more; Ray's default is 4
  Halving mode = Halving::kPromote;
};
/// Several brackets of ASHA with fewer and fewer rungs.
struct RTRAIN_API HyperBandScheduler {
  double max_t = 0;
  double grace_period = 1;
  double reduction_factor = 3;
  Halving mode = Halving::kPromote;
  std::string brackets = "standard";  ///< aggressive | standard | conservative
  int max_rungs = 5;                  ///< of the longest bracket
};
/// A trial ends when its best value is worse than the median of the completed ones.
struct RTRAIN_API MedianStoppingRule {
  double grace_period = 0;       ///< no trial is stopped below this
  int min_samples_required = 5;  ///< so many trials have completed before one is stopped; Ray's default is 3
  double interval = 1;           ///< between two decisions about a trial; > 0
};
/// `num_samples` is the size of the population. Values stay within their domains.
struct RTRAIN_API PopulationBasedTraining {
  double perturbation_interval = 0;  ///< between two changes of a member; > 0
  double burn_in_period = 0;         ///< no member changes below this
  double max_t = 0;                  ///< where members end, and nobody is replaced; 0: nowhere
  double quantile_fraction = 0.25;   ///< so many copy from as many; 0 to 0.5
  double resample_probability = 0.25;
  std::array<double, 2> perturbation_factors{1.2, 0.8};
};
/// What pauses, stops and changes trials that run.
using Scheduler = std::variant<FIFOScheduler, ASHAScheduler, HyperBandScheduler, MedianStoppingRule,
                               PopulationBasedTraining>;

}  // namespace tune

/// Names are Ray's.
struct RTRAIN_API TuneConfig {
  std::string metric{};           ///< the reported number that is searched by; required
  std::string mode = "min";       ///< or "max"
  int num_samples = 1;            ///< trials; of a grid it is left at 1, since each point is tried once
  int max_concurrent_trials = 0;  ///< 0: as the sweep file's limits.running
  /// default: a grid when the space has a grid_search(), else TPESearch (Ray's: BasicVariantGenerator)
  std::optional<tune::SearchAlgorithm> search_alg{};
  tune::Scheduler scheduler{};
  /// the reported number that only grows, by which schedulers measure; default: "epoch". A trial that never
  /// reports it has failed, when the scheduler needs it.
  std::string time_attr{};
  double time_budget_s = 0;  ///< nothing new starts after so long; 0: no limit
  std::uint64_t seed = 0;    ///< the same seed and results give the same suggestions; below 2^53
  std::vector<nlohmann::json> points_to_evaluate{};  ///< objects of parameters that are tried first
  /// what else a sweep file may have, over what is made of the above: {"constraints": {...}}
  nlohmann::json sweep_file = nlohmann::json::object();
};

}  // namespace rtrain
