// The places where the Trainer calls out, and what log() may do there.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/lightning_module.h>

#include <string_view>

namespace rtrain {

/// kNone: no hook runs. kOther: a hook without logging (setup, on_fit_start, on_save_checkpoint, ...).
enum class Hook {
  kNone, kOther,
  kTrainStart, kTrainEpochStart, kTrainEpochEnd, kTrainBatchStart, kTrainBatchEnd, kTrainingStep,
  kBeforeZeroGrad, kBeforeBackward, kAfterBackward, kBeforeOptimizerStep,
  kValidationStart, kValidationEpochStart, kValidationEpochEnd, kValidationBatchStart, kValidationBatchEnd, kValidationStep,
  kTestStart, kTestEpochStart, kTestEpochEnd, kTestBatchStart, kTestBatchEnd, kTestStep,
};

/// Lightning's rules of log(), hook by hook.
enum class LogRule { kRefused, kEpochOnly, kStepByDefault, kEpochByDefault };

[[nodiscard]] constexpr LogRule log_rule(Hook hook) {
  switch (hook) {
    case Hook::kNone:
    case Hook::kOther: return LogRule::kRefused;
    case Hook::kTrainStart:
    case Hook::kTrainEpochStart:
    case Hook::kTrainEpochEnd:
    case Hook::kValidationStart:
    case Hook::kValidationEpochStart:
    case Hook::kValidationEpochEnd:
    case Hook::kTestStart:
    case Hook::kTestEpochStart:
    case Hook::kTestEpochEnd: return LogRule::kEpochOnly;
    case Hook::kTrainBatchStart:
    case Hook::kTrainBatchEnd:
    case Hook::kTrainingStep:
    case Hook::kBeforeZeroGrad:
    case Hook::kBeforeBackward:
    case Hook::kAfterBackward:
    case Hook::kBeforeOptimizerStep: return LogRule::kStepByDefault;
    case Hook::kValidationBatchStart:
    case Hook::kValidationBatchEnd:
    case Hook::kValidationStep:
    case Hook::kTestBatchStart:
    case Hook::kTestBatchEnd:
    case Hook::kTestStep: return LogRule::kEpochByDefault;
  }
  return LogRule::kRefused;
}

}  // namespace rtrain
