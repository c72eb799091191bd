// The names under which a profiler gets what a run does: Lightning's.
#include "worker/run/run_context.h"
#include "worker/run/type_name.h"

namespace rtrain {
namespace {

bool is_step(Hook hook) {
  return hook == Hook::kTrainingStep || hook == Hook::kValidationStep || hook == Hook::kTestStep ||
         hook == Hook::kPredictStep;
}

}  // namespace

std::string RunContext::action_of(const Callback& callback, Hook hook) {
  const auto [found, is_new] = callback_actions_.try_emplace(&callback);
  if (is_new) found->second = "[Callback]" + callback.state_key() + ".";
  return found->second + name_of(hook);
}

std::string RunContext::action_of_strategy(const char* part) const {
  return "[Strategy]" + strategy().name() + "." + part;
}

std::string RunContext::action_of_module(Hook hook) const {
  if (is_step(hook) || hook == Hook::kBackward) return action_of_strategy(name_of(hook));
  return "[LightningModule]" + type_name(*module) + "." + name_of(hook);
}

std::string RunContext::action_of_data(Hook hook) const {
  return "[LightningDataModule]" + data->name() + "." + name_of(hook);
}

std::string RunContext::action_of_place(Hook place) const {
  if (place == Hook::kOptimization) return "run_training_batch";
  if (place != Hook::kNextBatch) return {};
  switch (stage) {
    case Stage::kTrain: return "[_TrainingEpochLoop].train_dataloader_next";
    case Stage::kTest: return "[_EvaluationLoop].test_next";
    case Stage::kPredict: return "[_PredictionLoop].predict_next";
    default: return "[_EvaluationLoop].val_next";
  }
}

Batch RunContext::profiled_to_device(Batch batch) {
  const Timed whole(*this, [&] { return action_of_strategy("batch_to_device"); });
  const auto named = [this](const char* hook) {
    return [this, hook] {
      return (data != nullptr ? "[LightningDataModule]" + data->name()
                              : "[LightningModule]" + type_name(*module)) +
             "." + hook;
    };
  };
  {
    const Timed timed(*this, named("on_before_batch_transfer"));
    batch = before_transfer(std::move(batch));
  }
  {
    const Timed timed(*this, named("transfer_batch_to_device"));
    batch = transfer(std::move(batch));
  }
  const Timed timed(*this, named("on_after_batch_transfer"));
  return after_transfer(std::move(batch));
}

void RunContext::start_action(std::string action) {
  profiler->start(action);
  actions_.push_back(std::move(action));
}

/// Called by destructors: a profiler that fails must not end the process.
void RunContext::stop_action() noexcept {
  try {
    const auto action = std::move(actions_.back());
    actions_.pop_back();
    if (profiler != nullptr) profiler->stop(action);
  } catch (const std::exception& error) {
    warn(std::string("the profiler failed and measures no more in this run: ") + error.what());
    profiler = nullptr;
  }
}

}  // namespace rtrain
