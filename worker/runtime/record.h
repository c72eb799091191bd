// What a rank leaves in its folder for the agent: how it ended, in its own words.
#pragma once

#include "common/base/result.h"
#include "proto/message/types.h"

#include <string>

namespace rtrain::runtime {

/// <rank_dir>/error.json: {"kind": ..., "message": ...}. The first word counts: an error that is there
/// already stays. Of a long message the beginning is kept (payload.h).
[[nodiscard]] Result<Done> write_error_record(const std::string& rank_dir, const proto::RankError& error);
/// <rank_dir>/outcome.json: {"return_value": ..., "yielded": false}. Its presence says that the training
/// function returned, or made way when it was asked to (`yielded`).
[[nodiscard]] Result<Done> write_outcome_record(const std::string& rank_dir, const proto::Json& return_value,
                                                bool yielded);

}  // namespace rtrain::runtime
