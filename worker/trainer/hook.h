// The places where the Trainer calls out: their names, what log() may do there, and what counts there.
#pragma once

#include <array>
#include <cstddef>

namespace rtrain {

/// kNone: no hook runs.
enum class Hook {
  // clang-format off
  kNone,
  kPrepareData, kSetup, kConfigureModel, kConfigureOptimizers,
  kTrainDataloader, kValDataloader, kTestDataloader, kPredictDataloader,
  kFitStart, kFitEnd, kTeardown, kSanityCheckStart, kSanityCheckEnd, kSaveCheckpoint, kLoadCheckpoint, kYield, kException,
  kTrainStart, kTrainEnd, kTrainEpochStart, kTrainEpochEnd,
  kNextBatch, kTransferBatch, kTrainBatchStart, kTrainBatchEnd, kTrainingStep,
  kOptimization, kBeforeZeroGrad, kBeforeBackward, kAfterBackward, kBeforeOptimizerStep,
  kValidationModelZeroGrad, kValidationModelEval, kValidationModelTrain, kValidationStart, kValidationEnd,
  kValidationEpochStart, kValidationEpochEnd, kValidationBatchStart, kValidationBatchEnd, kValidationStep,
  kTestModelEval, kTestModelTrain, kTestStart, kTestEnd,
  kTestEpochStart, kTestEpochEnd, kTestBatchStart, kTestBatchEnd, kTestStep,
  kPredictModelEval, kPredictStart, kPredictEnd,
  kPredictEpochStart, kPredictEpochEnd, kPredictBatchStart, kPredictBatchEnd, kPredictStep,
  // clang-format on
  kCount
};

/// Lightning's rules of log(), hook by hook.
enum class LogRule { kRefused, kEpochOnly, kStepByDefault, kEpochByDefault };
/// How often a hook is called: once a run, an epoch, or a batch.
enum class HookPeriod { kRun, kEpoch, kBatch };

struct HookFacts {
  Hook hook;
  const char* name;  ///< as the user writes it; checkpoints hold it
  LogRule log;
  HookPeriod period;
};

namespace hook_table {
using enum Hook;
using enum LogRule;
using enum HookPeriod;
inline constexpr std::array<HookFacts, static_cast<std::size_t>(Hook::kCount)> kFacts{{
    {kNone, "no hook", kRefused, kRun},
    {kPrepareData, "prepare_data", kRefused, kRun},
    {kSetup, "setup", kRefused, kRun},
    {kConfigureModel, "configure_model", kRefused, kRun},
    {kConfigureOptimizers, "configure_optimizers", kRefused, kRun},
    {kTrainDataloader, "train_dataloader", kRefused, kRun},
    {kValDataloader, "val_dataloader", kRefused, kRun},
    {kTestDataloader, "test_dataloader", kRefused, kRun},
    {kPredictDataloader, "predict_dataloader", kRefused, kRun},
    {kFitStart, "on_fit_start", kRefused, kRun},
    {kFitEnd, "on_fit_end", kRefused, kRun},
    {kTeardown, "teardown", kRefused, kRun},
    {kSanityCheckStart, "on_sanity_check_start", kRefused, kRun},
    {kSanityCheckEnd, "on_sanity_check_end", kRefused, kRun},
    {kSaveCheckpoint, "on_save_checkpoint", kRefused, kEpoch},
    {kLoadCheckpoint, "on_load_checkpoint", kRefused, kRun},
    {kYield, "on_yield", kRefused, kEpoch},
    {kException, "on_exception", kRefused, kRun},
    {kTrainStart, "on_train_start", kEpochOnly, kRun},
    {kTrainEnd, "on_train_end", kRefused, kRun},
    {kTrainEpochStart, "on_train_epoch_start", kEpochOnly, kEpoch},
    {kTrainEpochEnd, "on_train_epoch_end", kEpochOnly, kEpoch},
    {kNextBatch, "data loader", kRefused, kBatch},
    {kTransferBatch, "transfer_batch_to_device", kRefused, kBatch},
    {kTrainBatchStart, "on_train_batch_start", kStepByDefault, kBatch},
    {kTrainBatchEnd, "on_train_batch_end", kStepByDefault, kBatch},
    {kTrainingStep, "training_step", kStepByDefault, kBatch},
    {kOptimization, "backward and optimizer step", kRefused, kBatch},
    {kBeforeZeroGrad, "on_before_zero_grad", kStepByDefault, kBatch},
    {kBeforeBackward, "on_before_backward", kStepByDefault, kBatch},
    {kAfterBackward, "on_after_backward", kStepByDefault, kBatch},
    {kBeforeOptimizerStep, "on_before_optimizer_step", kStepByDefault, kBatch},
    {kValidationModelZeroGrad, "on_validation_model_zero_grad", kRefused, kEpoch},
    {kValidationModelEval, "on_validation_model_eval", kRefused, kEpoch},
    {kValidationModelTrain, "on_validation_model_train", kRefused, kEpoch},
    {kValidationStart, "on_validation_start", kEpochOnly, kEpoch},
    {kValidationEnd, "on_validation_end", kRefused, kEpoch},
    {kValidationEpochStart, "on_validation_epoch_start", kEpochOnly, kEpoch},
    {kValidationEpochEnd, "on_validation_epoch_end", kEpochOnly, kEpoch},
    {kValidationBatchStart, "on_validation_batch_start", kEpochByDefault, kBatch},
    {kValidationBatchEnd, "on_validation_batch_end", kEpochByDefault, kBatch},
    {kValidationStep, "validation_step", kEpochByDefault, kBatch},
    {kTestModelEval, "on_test_model_eval", kRefused, kRun},
    {kTestModelTrain, "on_test_model_train", kRefused, kRun},
    {kTestStart, "on_test_start", kEpochOnly, kRun},
    {kTestEnd, "on_test_end", kRefused, kRun},
    {kTestEpochStart, "on_test_epoch_start", kEpochOnly, kRun},
    {kTestEpochEnd, "on_test_epoch_end", kEpochOnly, kRun},
    {kTestBatchStart, "on_test_batch_start", kEpochByDefault, kBatch},
    {kTestBatchEnd, "on_test_batch_end", kEpochByDefault, kBatch},
    {kTestStep, "test_step", kEpochByDefault, kBatch},
    {kPredictModelEval, "on_predict_model_eval", kRefused, kRun},
    {kPredictStart, "on_predict_start", kRefused, kRun},
    {kPredictEnd, "on_predict_end", kRefused, kRun},
    {kPredictEpochStart, "on_predict_epoch_start", kRefused, kRun},
    {kPredictEpochEnd, "on_predict_epoch_end", kRefused, kRun},
    {kPredictBatchStart, "on_predict_batch_start", kRefused, kBatch},
    {kPredictBatchEnd, "on_predict_batch_end", kRefused, kBatch},
    {kPredictStep, "predict_step", kRefused, kBatch},
}};
static_assert([] {
  for (std::size_t i = 0; i < kFacts.size(); ++i) {
    if (kFacts[i].hook != static_cast<Hook>(i)) return false;
  }
  return true;
}());
}  // namespace hook_table

[[nodiscard]] constexpr const HookFacts& facts_of(Hook hook) {
  return hook_table::kFacts[static_cast<std::size_t>(hook)];
}
[[nodiscard]] constexpr LogRule log_rule(Hook hook) { return facts_of(hook).log; }
[[nodiscard]] constexpr const char* name_of(Hook hook) { return facts_of(hook).name; }

}  // namespace rtrain
