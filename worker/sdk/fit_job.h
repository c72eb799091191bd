// The job that a call of fit() runs: this program again, with what its configuration classes say.
#pragma once

#include "proto/jobspec/jobspec.h"

#include <rtrain/torch_trainer.h>

namespace rtrain::sdk {

/// A job document. What is out of range stands in it as it was given: the reader of job files says so.
/// @throws std::runtime_error own_command()'s
[[nodiscard]] nlohmann::json fit_job(const ScalingConfig& scaling, const RunConfig& run,
                                     const nlohmann::json& train_loop_config, const TorchConfig& torch,
                                     const std::optional<Checkpoint>& resume);

/// "TorchTrainer:" and an error a line.
[[nodiscard]] std::string fit_errors(const std::string& who, const std::vector<proto::SpecError>& errors);

}  // namespace rtrain::sdk
