// Reads a DeepSpeed configuration.
#pragma once

#include <rtrain/strategies/deepspeed.h>

#include <string>
#include <vector>

namespace rtrain::sharding {

struct ReadConfig {
  std::vector<std::string> problems;  ///< a line each: what cannot be used, and what to set instead
  std::vector<std::string> idle;      ///< keys that change nothing here
};

/// Sets the options that `options.config` names. A path in it is read first.
[[nodiscard]] ReadConfig read_deepspeed_config(DeepSpeedOptions& options);

}  // namespace rtrain::sharding
