// One line of `rtrain doctor`: made by the CLI, and by `rtrain-worker --probe` for what needs LibTorch.
#pragma once

#include "proto/json.h"

#include <span>
#include <string>

namespace rtrain::proto {

enum class Health { kOk, kWarning, kFailure };
[[nodiscard]] std::string_view to_string(Health health);

struct Check {
  std::string name;  ///< "libtorch", "gpu 0"
  Health health = Health::kOk;
  std::string detail;             ///< what was found, one line
  std::string hint;               ///< the way out; "" where there is nothing to do
  Json figures = Json::object();  ///< numbers by name, the unit last: {"copy_gb_s": 1512.3}
};
void to_json(Json& j, const Check& check);
/// @throws nlohmann's exceptions on another document.
void from_json(const Json& j, Check& check);

/// The worst of them; kOk of none.
[[nodiscard]] Health worst_of(std::span<const Check> checks);

}  // namespace rtrain::proto
