// Reading, validating and writing a sweep file, and putting the parameters of a trial into its job.
#pragma once

#include "proto/sweep/sweep_spec.h"

#include <functional>

namespace rtrain::proto {

struct SweepReading {
  SweepSpec spec;                 ///< meaningful only when errors is empty
  std::vector<SpecError> errors;  ///< all at once, in document order; those of the job begin with "job."
  /// what is right and may surprise: "trial 0 is not the job as it is: it has no value for width"
  std::vector<std::string> notes;
  [[nodiscard]] bool ok() const { return errors.empty(); }
};

/// A larger sweep file is not read, by the command line as by a head.
inline constexpr std::size_t kSweepBytesMax = 1u << 20;

/// The text of a job file by the path that the sweep file has for it.
using JobText = std::function<Result<std::string>(const std::string& path)>;

/// Never throws. Without `job_text` the job must stand in the file.
[[nodiscard]] SweepReading read_sweep_spec(std::string_view text, const JobText& job_text = {});
/// `text`: where the document came from, before something in it was changed; errors have their places there.
[[nodiscard]] SweepReading read_sweep_document(const Json& document, const JobText& job_text = {},
                                               std::string_view text = {});

/// Canonical JSON, defaults filled in; read_sweep_document(to_json(s)) gives s again. The job stands in it.
[[nodiscard]] Json to_json(const SweepSpec& spec);

/// The job of a trial: `values` ({"lr": 0.1, "scaling_config.num_workers": 2}) put in at their paths.
/// kInvalidArgument: the result is no valid job.
[[nodiscard]] Result<JobSpec> job_of(const SweepSpec& spec, const Json& values);

/// Where a parameter goes in a job, as `--set` names it: "train_loop_config.lr" for "lr", "env.X" for
/// "env.X".
[[nodiscard]] std::string job_path_text(const std::string& parameter);

/// The values that the job has at the paths of the parameters, of those that are in their domains. A complete
/// one is trial 0.
[[nodiscard]] Json baseline_of(const SweepSpec& spec);
/// Whether `values` has all parameters whose conditions it meets.
[[nodiscard]] bool is_complete(const SweepSpec& spec, const Json& values);

/// The JSON Schema (draft 7) of the sweep file, the text of proto/sweep/sweep.schema.json.
[[nodiscard]] std::string_view sweep_schema();

}  // namespace rtrain::proto
