// Where in a job the value of a parameter goes, and when it is part of a trial. Private to proto/sweep.
#pragma once

#include "proto/json.h"
#include "proto/sweep/sweep_spec.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::proto {

/// A parameter's path that begins with one of them is one of the job; every other is one of
/// train_loop_config.
inline constexpr std::array<std::string_view, 5> kJobSections{"scaling_config", "run_config", "torch_config",
                                                              "scheduling", "env"};

/// "model.width": train_loop_config, model, width.
[[nodiscard]] std::vector<std::string> job_path_of(const std::string& parameter);
/// nullptr: there is none.
[[nodiscard]] const Json* value_at(const Json& document, const std::vector<std::string>& path);
/// Objects on the way are made. kInvalidArgument: something there is no object.
[[nodiscard]] Result<Done> put_value(Json& document, const std::vector<std::string>& path, Json value);

/// Whether the other parameter is among `values`, with one under which the conditional one is part of a
/// trial.
[[nodiscard]] bool meets(const Json& values, const When& when);

}  // namespace rtrain::proto
