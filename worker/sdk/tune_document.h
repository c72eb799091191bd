// The sweep that a Tuner runs, as a sweep file. Pure, and without LibTorch.
#pragma once

#include "proto/sweep/sweep_reader.h"

#include <rtrain/tune.h>

namespace rtrain::sdk {

/// `job`: the document of the job that a trial runs. What is out of range stands in it as it was given: the
/// reader of sweep files says so.
/// @throws std::invalid_argument num_samples of a grid is not 1.
[[nodiscard]] RTRAIN_API nlohmann::json tune_document(const nlohmann::json& job,
                                                      const tune::ParamSpace& space,
                                                      const TuneConfig& config);

/// Errors of the reader with the names that a Tuner has for the places: "tune_config.num_samples: ...".
[[nodiscard]] RTRAIN_API std::string tuner_errors(const std::vector<proto::SpecError>& errors);

}  // namespace rtrain::sdk
