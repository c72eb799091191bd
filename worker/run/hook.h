// The hooks of the Trainer: their names and the rules of log() in them.
#pragma once

#include <array>
#include <cstddef>

namespace rtrain {

/// kNone: no hook runs.
enum class Hook {
#define RTRAIN_HOOK(id, name, log, period, signature) id,
#define RTRAIN_PLACE(id, text, log, period) id,
#include <rtrain/hooks.def>
  kCount
};

/// Lightning's rules for log(), per hook.
enum class LogRule { kRefused, kEpochOnly, kStepByDefault, kEpochByDefault };
/// How often a hook is called: once per run, per epoch or per batch.
enum class HookPeriod { kRun, kEpoch, kBatch };

struct HookFacts {
  Hook hook;
  const char* name;  ///< as users write it; stored in checkpoints
  LogRule log;
  HookPeriod period;
};

namespace hook_table {
using enum Hook;
using enum LogRule;
using enum HookPeriod;
inline constexpr std::array<HookFacts, static_cast<std::size_t>(Hook::kCount)> kFacts{{
#define RTRAIN_HOOK(id, name, log, period, signature) {id, #name, log, period},
#define RTRAIN_PLACE(id, text, log, period) {id, text, log, period},
#include <rtrain/hooks.def>
}};
}  // namespace hook_table

[[nodiscard]] constexpr const HookFacts& facts_of(Hook hook) {
  return hook_table::kFacts[static_cast<std::size_t>(hook)];
}
[[nodiscard]] constexpr LogRule log_rule(Hook hook) { return facts_of(hook).log; }
[[nodiscard]] constexpr const char* name_of(Hook hook) { return facts_of(hook).name; }

}  // namespace rtrain
