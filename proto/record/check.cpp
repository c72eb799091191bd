#include "proto/record/check.h"

#include <algorithm>
#include <array>

namespace rtrain::proto {
namespace {

constexpr std::array<std::string_view, 3> kHealthNames{"ok", "warning", "failure"};

}  // namespace

std::string_view to_string(Health health) { return kHealthNames.at(static_cast<std::size_t>(health)); }

void to_json(Json& j, const Check& check) {
  j = {{"name", check.name},
       {"status", to_string(check.health)},
       {"detail", check.detail},
       {"hint", check.hint},
       {"figures", check.figures.is_object() ? check.figures : Json::object()}};
}

void from_json(const Json& j, Check& check) {
  j.at("name").get_to(check.name);
  const auto status = j.at("status").get<std::string>();
  const auto known = std::ranges::find(kHealthNames, status);
  check.health =
      known == kHealthNames.end() ? Health::kWarning : static_cast<Health>(known - kHealthNames.begin());
  j.at("detail").get_to(check.detail);
  j.at("hint").get_to(check.hint);
  check.figures = j.at("figures");
}

Health worst_of(std::span<const Check> checks) {
  Health worst = Health::kOk;
  for (const auto& check : checks) worst = std::max(worst, check.health);
  return worst;
}

}  // namespace rtrain::proto
