// What rank 0 leaves in the run's folder for people and their tools: params.json, run_config.json and
// metrics.jsonl.
#pragma once

#include "common/base/result.h"
#include "proto/jobspec/jobspec.h"
#include "proto/message/message.h"

#include <string>
#include <vector>

namespace rtrain::runtime {

/// <run_dir>/params.json: train_loop_config. Makes the folder. Written once, by the first attempt.
[[nodiscard]] Result<Done> write_params(const std::string& run_dir, const proto::Json& train_loop_config);
/// <run_dir>/run_config.json, {"checkpoint_config": {...}}: by what the run's checkpoints are scored. Written
/// by each attempt, since a job may go on under another one.
[[nodiscard]] Result<Done> write_checkpoint_config(const std::string& run_dir,
                                                   const proto::CheckpointConfig& config);
/// The default where there is no such file, or none that can be read: runs before had none.
[[nodiscard]] proto::CheckpointConfig read_checkpoint_config(const std::string& run_dir);
/// Appends one line to <run_dir>/metrics.jsonl:
/// {"attempt": 1, "checkpoint": "checkpoint_000003" | null, "metrics": {...}, "report": 7, "time":
/// "2026-11-23T22:30:00.123Z"}. A checkpoint that is not directly below the run's folder stands with its
/// path.
[[nodiscard]] Result<Done> append_metrics(const std::string& run_dir, const proto::RankReport& report);
/// The same in two parts: the line, with its end, and its way into the file.
[[nodiscard]] std::string metrics_line(const std::string& run_dir, const proto::RankReport& report);
[[nodiscard]] Result<Done> append_metrics_line(const std::string& run_dir, const std::string& line);
/// The lines of metrics.jsonl, oldest first; empty when there is none. A last line that was cut off is left
/// out.
[[nodiscard]] Result<std::vector<proto::Json>> read_metrics(const std::string& run_dir);

/// "NaN", "Infinity" and "-Infinity" (how JSON text here spells them) become the numbers again, at any depth.
[[nodiscard]] proto::Json with_numbers(proto::Json value);

}  // namespace rtrain::runtime
