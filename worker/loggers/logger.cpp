#include <rtrain/logger.h>

namespace rtrain {

std::vector<AnyLogger> loggers_from(const nlohmann::json& list) {
  std::vector<AnyLogger> all;
  for (auto& logger : Names<Logger>::all_from_json(list)) all.emplace_back(std::move(logger));
  return all;
}

}  // namespace rtrain
