#include "worker/callbacks/monitored.h"

#include "worker/run/warn.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace rtrain {
namespace {

/// "4:loss4607182418800017408;": any name, and every bit of the value.
std::string packed(const Metrics& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) {
    text +=
        std::to_string(name.size()) + ":" + name + std::to_string(std::bit_cast<std::uint64_t>(value)) + ";";
  }
  return text;
}

Metrics unpacked(const std::string& text) {
  Metrics metrics;
  for (std::size_t at = 0; at < text.size();) {
    const auto colon = text.find(':', at);
    const auto length = std::stoull(text.substr(at, colon - at));
    const auto end = text.find(';', colon + 1 + length);
    const auto bits = std::stoull(text.substr(colon + 1 + length, end - colon - 1 - length));
    metrics.emplace(text.substr(colon + 1, length), std::bit_cast<double>(static_cast<std::uint64_t>(bits)));
    at = end + 1;
  }
  return metrics;
}

}  // namespace

Metrics agreed_metrics(Trainer& trainer, const Metrics& own) {
  if (!trainer.strategy().is_distributed()) return own;
  return unpacked(trainer.strategy().broadcast(packed(own)));
}

void warn_if_unsynced(Trainer& trainer, const std::string& who, const std::string& name, const Metrics& own,
                      bool& warned) {
  auto& strategy = trainer.strategy();
  if (warned || !strategy.is_distributed()) return;
  const auto agreed = agreed_metrics(trainer, own);
  const auto mine = own.find(name), rank0 = agreed.find(name);
  const bool both = mine != own.end() && rank0 != agreed.end();
  const bool same =
      both ? mine->second == rank0->second || (std::isnan(mine->second) && std::isnan(rank0->second))
           : (mine == own.end()) == (rank0 == agreed.end());
  if (strategy.reduce_boolean_decision(same)) return;
  warned = true;
  warn(who + ": the ranks have different values of the metric \"" + name +
       "\"; rank 0's value is used. Log it with sync_dist = true");
}

std::string names_of(const Metrics& metrics) {
  std::string names;
  for (const auto& [name, value] : metrics) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "none" : names;
}

}  // namespace rtrain
