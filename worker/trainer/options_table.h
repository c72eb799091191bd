// All options of the Trainer, once.
#pragma once

#include <rtrain/export.h>
#include <rtrain/trainer.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace rtrain {

/// One field of TrainerOptions.
struct OptionField {
  const char* name;
  /// @throws std::exception the value has another type, or cannot be used. @param path begins the message.
  void (*read)(TrainerOptions& options, const std::string& path, const nlohmann::json& value);
};

/// In the order of TrainerOptions.
[[nodiscard]] RTRAIN_API const std::vector<OptionField>& option_fields();

}  // namespace rtrain
