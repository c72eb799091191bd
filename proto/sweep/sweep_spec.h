// The sweep spec: what `rtrain sweep submit sweep.json` sends. Plain values; read_sweep_spec() is the only
// way in, so a SweepSpec in hand is valid.
#pragma once

#include "proto/jobspec/jobspec.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::proto {

enum class DomainKind { kFloat, kInt, kChoice, kOrdinal, kNormal, kGrid, kConstant };
/// "float", "int", ...: the key of a domain in the file.
[[nodiscard]] std::string_view to_string(DomainKind kind);

/// The values that a parameter may have.
struct Domain {
  DomainKind kind = DomainKind::kFloat;
  double low = 0, high = 0;  ///< float and int: both ends included, low < high
  bool log = false;          ///< float and int: searched by its logarithm; low > 0
  /// float: 0 none, else values are low + k * step. int: at least 1
  double step = 0;
  double mean = 0, sd = 1;   ///< normal: sd > 0
  std::vector<Json> values;  ///< choice, ordinal, grid: all different, none null; constant: one
  friend bool operator==(const Domain&, const Domain&) = default;
};

/// The parameter is part of a trial only when another one has one of these values.
struct When {
  std::string parameter;
  std::vector<Json> values;
  friend bool operator==(const When&, const When&) = default;
};

struct SweepParameter {
  std::string path;  ///< "lr", "model.width", "scaling_config.num_workers", "env.X"
  Domain domain;
  std::optional<When> when;
  friend bool operator==(const SweepParameter&, const SweepParameter&) = default;
};

enum class SearchMethod { kRandom, kGrid, kSobol, kTpe, kCmaes, kExternal };
[[nodiscard]] std::string_view to_string(SearchMethod method);

struct SearchConfig {
  SearchMethod method = SearchMethod::kTpe;
  int startup = 10;     ///< tpe: so many trials have ended before it models them; Optuna's n_startup_trials
  int candidates = 24;  ///< tpe: points that are drawn and compared; Optuna's n_ei_candidates
  double sigma0 = 0;    ///< cmaes: first step size, in widths of the domains; 0: 1/6
  int popsize = 0;      ///< cmaes: trials of a generation; 0: 4 + floor(3 ln d)
  friend bool operator==(const SearchConfig&, const SearchConfig&) = default;
};

enum class ScheduleKind { kNone, kAsha, kHyperband, kMedian, kPbt };
[[nodiscard]] std::string_view to_string(ScheduleKind kind);
/// Promote: a trial pauses at each rung and goes on when it is among the best. Stop: it goes on at once or
/// ends.
enum class AshaMode { kPromote, kStop };
[[nodiscard]] std::string_view to_string(AshaMode mode);
/// Determined's: how many brackets there are, from one (aggressive) to all (conservative).
enum class BracketMode { kAggressive, kStandard, kConservative };
[[nodiscard]] std::string_view to_string(BracketMode mode);

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kNone;
  // asha and hyperband
  /// Resource of the first and of the last rung; 0 < min < max. pbt has no min, and its max is the resource
  /// at which members end; 0: not known.
  double min = 1, max = 0;
  double eta = 3;  ///< one of so many goes on; >= 2
  AshaMode mode = AshaMode::kPromote;
  BracketMode brackets = BracketMode::kStandard;  ///< hyperband
  int max_rungs = 5;                              ///< hyperband: of its longest bracket
  // median: Optuna's MedianPruner
  int startup_trials = 5;  ///< so many trials have completed before it stops one
  double grace = 0;        ///< no trial is stopped below this resource
  // median (default 1) and pbt (required): resource between two decisions about a trial; > 0
  double interval = 1;
  // pbt: Ray's PopulationBasedTraining
  double burn_in = 0;                       ///< no member changes below this resource
  double quantile_fraction = 0.25;          ///< so many copy from as many; 0..0.5
  double resample_probability = 0.25;       ///< a parameter is drawn anew rather than changed
  std::array<double, 2> factors{1.2, 0.8};  ///< a changed number is multiplied by one of them
  friend bool operator==(const ScheduleConfig&, const ScheduleConfig&) = default;
};

struct SweepLimits {
  int trials = 0;  ///< so many are suggested; with grid 0: all points
  /// At once; 0: as many as there is room for, with tpe at most a quarter of trials, with cmaes a generation.
  int running = 0;
  std::optional<double> hours, gpu_hours;  ///< of the sweep, over all trials; > 0
  std::optional<double> target;            ///< the sweep ends when a trial is as good as this
  int no_better_trials = 0;  ///< it ends when so many trials in a row were not the best; 0: never
  int failed_max = 3;        ///< it fails when so many trials fail before any succeeds; 0: never
  friend bool operator==(const SweepLimits&, const SweepLimits&) = default;
};

/// A reported number that must be within bounds. A trial that is out of them ranks below all that are not.
struct Constraint {
  std::optional<double> min, max;
  friend bool operator==(const Constraint&, const Constraint&) = default;
};

inline constexpr int kTrialsMax = 100'000;
inline constexpr std::size_t kSweepParametersMax = 1000;
/// Of a domain with a list of values.
inline constexpr std::size_t kDomainValuesMax = 1000;
inline constexpr std::size_t kFromMax = 100;
/// Trials of earlier sweeps that are taken, the newest: TPE looks at no more.
inline constexpr std::size_t kKnownTrialsMax = 2000;
/// CMA-ES takes time and memory with the square and the cube of them.
inline constexpr std::size_t kCmaesParametersMax = 100;

struct SweepSpec {
  std::string name;                        ///< like a job's; default: the name of the job
  JobSpec job;                             ///< what a trial runs, before its parameters are put in
  std::vector<SweepParameter> parameters;  ///< at least one, in the order of their paths
  std::string metric;                      ///< a reported number
  bool maximize = false;                   ///< mode: "min" (default) or "max"
  std::string resource;  ///< a reported number that only grows; "": epoch, else count of reports
  std::uint64_t seed = 0;
  SearchConfig search;
  ScheduleConfig schedule;
  SweepLimits limits;
  std::map<std::string, Constraint> constraints;
  std::vector<Json> start_with;  ///< objects: parameters of the first trials; what one leaves out is searched
  /// Numbers of earlier sweeps whose trials the searcher knows from the start; with tpe only.
  std::vector<std::int64_t> from;
  bool baseline = true;            ///< trial 0 has the values that the job file has
  bool checkpoint_pruned = false;  ///< a pruned trial writes a checkpoint before it ends
  bool idle = false;               ///< trials only fill holes of the cluster
  friend bool operator==(const SweepSpec&, const SweepSpec&) = default;
};

/// What the resource of the sweep's trials is called in their reports.
[[nodiscard]] std::string resource_name(const SweepSpec& spec);
/// A number of a report; nothing when it is missing or not finite.
[[nodiscard]] std::optional<double> reported_number(const Json& metrics, const std::string& name);

}  // namespace rtrain::proto
