// The job spec: what `rtrain submit job.json` sends. Names, defaults and meanings are Ray Train's.
// Plain values; read_job_spec() is the only way in, so a JobSpec in hand is valid.
#pragma once

#include "proto/jobspec/label_selector.h"
#include "proto/jobspec/scheduling.h"
#include "proto/json.h"

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::proto {

/// A shared library and the name under which RTRAIN_TRAIN_FUNCTION registered the function.
struct TrainFunc {
  std::string library;  ///< absolute path after resolve_paths()
  std::string name;     ///< empty: the library registers exactly one
  friend bool operator==(const TrainFunc&, const TrainFunc&) = default;
};

/// Resource amounts by name: "CPU", "GPU" (whole, or a share of one GPU between 0 and 1), "memory" (bytes),
/// or a custom name.
using Resources = std::map<std::string, double>;

enum class PlacementStrategy { kPack, kSpread, kStrictPack, kStrictSpread };

struct ScalingConfig {
  /// >= 1 (Ray also takes 0: only in-process, refused on submit); of a range the maximum
  int num_workers = 1;
  /// 1..num_workers; below num_workers the job is elastic. 0, which no job file gives: num_workers
  int min_workers = 0;
  bool use_gpu = false;
  std::optional<Resources> resources_per_worker;  ///< absent: {"GPU":1} with use_gpu, else {"CPU":1}
  PlacementStrategy placement_strategy = PlacementStrategy::kPack;
  /// of every node of the job: its family ("H100") or full name, in any case; "" any
  std::string accelerator_type;
  LabelSelector label_selector;                   ///< holds for every node of the job
  double elastic_resize_monitor_interval_s = 60;  ///< at least this long between two resizes; >= 0
  [[nodiscard]] int least_workers() const { return min_workers > 0 ? min_workers : num_workers; }
  [[nodiscard]] bool elastic() const { return least_workers() < num_workers; }
  /// What one worker takes, defaults applied, zeros dropped (Ray's rules; see docs/reference/jobspec.md).
  [[nodiscard]] Resources resources() const;
  friend bool operator==(const ScalingConfig&, const ScalingConfig&) = default;
};

struct FailureConfig {
  int max_failures = 0;               ///< restarts after a failed attempt; 0 none, -1 for ever
  int max_preemption_failures = -1;   ///< restarts after the scheduler took the place away; -1 for ever
  int controller_failure_limit = -1;  ///< restarts of an attempt that could not be started; -1 for ever
  friend bool operator==(const FailureConfig&, const FailureConfig&) = default;
};

struct CheckpointConfig {
  std::optional<int> num_to_keep;          ///< >= 1; absent keeps all. The newest is always kept
  std::string checkpoint_score_attribute;  ///< metric name; empty: by age
  bool score_is_max = true;                ///< checkpoint_score_order "max" (default) or "min"
  friend bool operator==(const CheckpointConfig&, const CheckpointConfig&) = default;
};

struct RunConfig {
  std::string storage_path;  ///< absolute after resolve_paths(); default ~/rtrain_results
  FailureConfig failure_config;
  CheckpointConfig checkpoint_config;
  double stop_grace_s = 30;  ///< between SIGTERM and SIGKILL on cancel and at the time limit; 0..3600
  /// a rank without a step for this long is taken to hang; > 0; absent: torch_config.timeout_s
  std::optional<double> hang_timeout_s;
  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

struct TorchConfig {
  /// auto | nccl | gloo | cpu:gloo,cuda:nccl; auto is nccl with GPUs, else gloo
  std::string backend = "auto";
  double timeout_s = 1800;      ///< collectives; > 0
  double init_timeout_s = 300;  ///< rendezvous and the first collective; > 0
  friend bool operator==(const TorchConfig&, const TorchConfig&) = default;
};

/// Ray's ValidationConfig: a job of one worker for each checkpoint whose report asks for it.
struct ValidationConfig {
  /// what it runs; without one the job's own train_func or command
  std::optional<TrainFunc> train_func;
  Json train_loop_config = Json::object();  ///< as the job's; a report's fn_kwargs are merged into it
  std::optional<Resources> resources;       ///< of its worker; absent: {"CPU": 1}
  double timeout_s = 3600;  ///< of an attempt, and in the queue once the training is over; > 0
  friend bool operator==(const ValidationConfig&, const ValidationConfig&) = default;
};

struct JobSpec {
  std::string name;  ///< default: the function's or the program's name. [A-Za-z0-9][A-Za-z0-9._-]{0,127}
  std::optional<TrainFunc> train_func;  ///< exactly one of train_func and command
  std::vector<std::string> command;
  /// an object of at most 1 MiB, nested at most kUserDepthMax - 1 deep
  Json train_loop_config = Json::object();
  ScalingConfig scaling_config;
  RunConfig run_config;
  TorchConfig torch_config;
  SchedulingConfig scheduling;
  std::map<std::string, std::string> env;  ///< added to the clean environment of every rank
  bool env_inherit = false;                ///< start from the agent's environment instead of a clean one
  std::string working_dir;  ///< absolute after resolve_paths(); default: the folder of job.json
  /// a checkpoint folder given to get_checkpoint() of the first attempt; "" none
  std::string resume_from_checkpoint;
  std::optional<ValidationConfig> validation;  ///< absent: no report may ask for one
  [[nodiscard]] double hang_timeout_s() const {
    return run_config.hang_timeout_s.value_or(torch_config.timeout_s);
  }
  friend bool operator==(const JobSpec&, const JobSpec&) = default;
};

/// One thing wrong with a job file.
struct SpecError {
  std::string path;     ///< "scaling_config.num_worker", "" for the document
  std::string message;  ///< "unknown key; did you mean num_workers?"
  int line = 0;         ///< 1-based place in the text where known, else 0
  int column = 0;
};

/// "scaling_config.num_worker: unknown key; did you mean num_workers?"
[[nodiscard]] std::string to_string(const SpecError& error);

struct SpecReading {
  JobSpec spec;  ///< meaningful only when errors is empty
  /// all at once, in document order; of very many the first, and a last line that says how many more
  std::vector<SpecError> errors;
  std::size_t count = 0;  ///< errors that there are
  [[nodiscard]] bool ok() const { return errors.empty(); }
};

/// What a head stores and sends of a job is at most so large: a Launch around it fits into a frame.
inline constexpr std::size_t kSpecBytesMax = std::size_t{5} << 19;  // 2.5 MiB

/// Reads and validates a job document: unknown keys (with the nearest known one), wrong types, ranges,
/// combinations. Paths stay as written. Never throws.
[[nodiscard]] SpecReading read_job_spec(std::string_view text);
[[nodiscard]] SpecReading read_job_document(const Json& document);
/// The same of a document in hand. A template so that text never becomes a Json string by conversion.
template <std::same_as<Json> Document>
[[nodiscard]] SpecReading read_job_spec(const Document& document) {
  return read_job_document(document);
}

/// Makes the paths absolute as the user would expect:
/// train_func.library, also of the validation: relative to `job_dir`; a bare file name that is not there is
/// looked for in `library_dir`. working_dir: relative to job_dir, default job_dir. storage_path and
/// resume_from_checkpoint: relative to `cwd`; "~/" is `home`. Touches the file system only to look whether a
/// bare library name exists in job_dir.
void resolve_paths(JobSpec& spec, const std::string& job_dir, const std::string& cwd, const std::string& home,
                   const std::string& library_dir);

/// Checks what only a submitted (resolved) spec must hold: absolute paths. The head calls it: it trusts no
/// client.
[[nodiscard]] std::vector<SpecError> check_resolved(const JobSpec& spec);

/// Canonical JSON, defaults filled in; read_job_spec(to_json(s)) gives s again.
[[nodiscard]] Json to_json(const JobSpec& spec);

/// Whether what would be stored of the spec reads back as the same spec. The head asks before it takes a job:
/// what it has taken, every later head and every agent must be able to read. kInvalidArgument names the
/// field; kLimit: it is larger than kSpecBytesMax.
[[nodiscard]] Result<Done> reads_back(const JobSpec& spec);

/// The JSON Schema (draft 7) of the job spec, the text of proto/jobspec/job.schema.json.
[[nodiscard]] std::string_view job_schema();

[[nodiscard]] std::string_view to_string(PlacementStrategy strategy);

/// The candidate nearest to `word` by Damerau-Levenshtein distance, at most 2 or a third of its length; else
/// the only one that continues it or that it continues ("storage": storage_path); "" if none.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace rtrain::proto
