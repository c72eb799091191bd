// What a user sees of sweeps and trials. Pure.
#pragma once

#include "cli/table.h"
#include "proto/api/api.h"

#include <string>
#include <vector>

namespace rtrain::cli {

/// "lr=0.003, optimizer=sgd"
[[nodiscard]] std::string params_line(const proto::Json& params);
/// Six digits; "" for none.
[[nodiscard]] std::string value_text(const std::optional<double>& value);
/// "3 COMPLETED, 2 RUNNING"
[[nodiscard]] std::string states_line(const std::map<std::string, std::int64_t>& states);
[[nodiscard]] Table trial_table(const std::vector<proto::TrialDoc>& trials);
/// The heading and its rows.
[[nodiscard]] std::string sweep_block(const proto::SweepDoc& sweep, bool colour);
/// The trial that is the best of the sweep. `checkpoint`: "" when nobody knows of one.
[[nodiscard]] std::string best_block(const proto::SweepDoc& sweep, const proto::TrialDoc& trial,
                                     const std::string& checkpoint, bool colour);
/// The values of --set that make the trial of the job file.
[[nodiscard]] std::vector<std::string> overrides_of(const proto::Json& params);

}  // namespace rtrain::cli
