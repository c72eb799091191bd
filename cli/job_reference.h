// What a user means by "12", "12_3" or "12_[3-7,9]": a job, the job with an index of an array, several of
// them.
#pragma once

#include "cli/client.h"

#include <span>

namespace rtrain::cli {

struct JobReference {
  std::int64_t id = 0;                 ///< of a job, or of an array
  std::optional<std::string> indices;  ///< "3", "3-7,9": of the array; absent: the job, or all of the array
  friend bool operator==(const JobReference&, const JobReference&) = default;
};
/// Pure. kInvalidArgument says what a job may be called.
[[nodiscard]] Result<JobReference> parse_job_reference(const std::string& text);
/// "12" or "12_[3-7]", as it is written.
[[nodiscard]] std::string to_string(const JobReference& reference);
/// "12_3" for a job of an array, else "12".
[[nodiscard]] std::string job_name_of(const proto::JobDoc& job);
/// The same of a job whose document may not have come.
[[nodiscard]] std::string job_name_of(JobId id, const std::optional<proto::JobDoc>& job);

/// Whether `text`, which led to `job`, means the whole array that the job is the first of: "12", not "12_0".
[[nodiscard]] bool means_array(const std::string& text, const proto::JobDoc& job);

/// The number of one job that is called "12" or "12_3"; for the latter the head is asked.
[[nodiscard]] Result<std::int64_t> find_job(const Client& client, const std::string& text);
/// What became of a job in words: "is held", and of several: "are held".
struct ChangeWords {
  std::string one, several;
};
/// One line for what a reference meant: "job 12_3 (sweep) is held", "array 12 (sweep): 8 jobs are held, 2
/// jobs run on". At least one job. Pure.
[[nodiscard]] std::string change_line(const JobReference& reference, std::span<const proto::JobDoc> jobs,
                                      ChangeWords (*words)(const proto::JobDoc& job));

/// Posts `action` (cancel, hold, release) to what the reference means: a job, or those of an array that the
/// action changes. They come back as they are afterwards, by number.
[[nodiscard]] Result<std::vector<proto::JobDoc>> change_jobs(const Client& client,
                                                             const JobReference& reference,
                                                             const std::string& action);

/// What the reference means, as it is now, by number.
[[nodiscard]] Result<std::vector<proto::JobDoc>> jobs_meant(const Client& client,
                                                            const JobReference& reference);

/// Why several jobs that a reference means cannot be cancelled: "array 12 (sweep) has ended: 1 SUCCEEDED, 2
/// CANCELLED", or all that have not ended are stopping already. At least one job. Pure.
[[nodiscard]] Error nothing_to_cancel(const JobReference& reference, std::span<const proto::JobDoc> jobs);

}  // namespace rtrain::cli
