// Saves that training does not wait for.
#include "common/base/duration.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/checkpoint/save_agreement.h"
#include "worker/runtime/longer_pause.h"
#include "worker/sdk/job.h"
#include "worker/trainer/trainer_impl.h"

#include <chrono>
#include <iostream>
#include <set>
#include <stdexcept>
#include <thread>

namespace rtrain {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAfterFailure{5000};  ///< for the other ranks, which may have failed as well

/// What nothing but an optimizer step changes. Under manual optimization training_step may do anything.
std::set<const void*> stable_tensors(const RunContext& run, const SaveFiles& files) {
  std::set<const void*> stable;
  const auto hook = run.current_hook;
  const bool trains_next =
      hook == Hook::kTrainBatchEnd || hook == Hook::kValidationEnd || hook == Hook::kTrainEpochEnd;
  if (!run.running || !run.automatic || run.function != Stage::kFit || !trains_next) return stable;
  const auto add = [&](const torch::Tensor& tensor) {
    if (tensor.defined() && tensor.layout() == torch::kStrided && tensor.numel() > 0)
      stable.insert(tensor.const_data_ptr());
  };
  for (const auto& optimizer : run.optimizers)
    for (const auto& parameter : optimizer->parameters()) add(parameter);
  if (const auto state = files.tensors.find(tensors::kOptimizerFile); state != files.tensors.end())
    for (const auto& [name, tensor] : state->second.tensors) add(tensor);
  if (const auto state = files.shared.find(tensors::kOptimizerFile); state != files.shared.end())
    for (const auto& [name, piece] : state->second.tensors) add(piece.tensor);
  return stable;
}

/// Of this process, whichever Trainer makes them: all ranks make the same saves.
std::int64_t next_save_number() {
  static std::atomic<std::int64_t> number{0};
  return ++number;
}

/// Pauses longer and longer, until `limit` or the Trainer's failure.
std::function<bool()> patience(milliseconds limit, std::shared_ptr<std::atomic<bool>> gives_up) {
  return [limit, gives_up = std::move(gives_up), waited = milliseconds(0), late = milliseconds(0)]() mutable {
    const auto pause = runtime::longer_pause(waited);
    std::this_thread::sleep_for(pause);
    waited += pause;
    if (gives_up->load()) late += pause;
    return waited < limit && late < kAfterFailure;
  };
}

}  // namespace

void Trainer::Impl::write_later(const std::filesystem::path& path, SaveFiles files) {
  run.settle_parameters();
  const auto& at = run.placement;
  const auto* group = sdk::Job::current().group();
  auto* const store = group == nullptr ? nullptr : group->store();
  if (at.world_size > 1 && store == nullptr)
    throw std::runtime_error(io().name() + ": this is one of " + std::to_string(at.world_size) +
                             " ranks, but the process group was not set up");
  io().wait_for_room();  // before a copy is made
  const auto stable = stable_tensors(run, files);
  auto snapshot = std::make_shared<Snapshot>(std::move(files), stable, buffers);
  if (!stable.empty()) run.before_change = [snapshot] { snapshot->settle(); };
  const auto number = next_save_number();
  const auto timeout = to_milliseconds(sdk::Job::current().environment().launch.spec.torch_config.timeout_s);
  io().save(path, [path, snapshot, store, number, rank = at.global_rank, world_size = at.world_size,
                   more = patience(timeout, gives_up)](CheckpointIO& into) {
    if (world_size == 1) return save_files(into, path, snapshot->files(), {});
    SaveAgreement agreement(*store, number, rank, world_size, more);
    try {
      save_files(into, path, snapshot->files(),
                 {.rank = rank, .world_size = world_size, .meet = [&](const std::string& place) {
                    agreement.meet(place);
                  }});
    } catch (const std::exception& error) {
      agreement.fail(error.what());
      throw;
    }
  });
}

void Trainer::Impl::finish_saves() {
  run.settle_parameters();
  io().wait();
}

void Trainer::Impl::finish_saves_quietly() noexcept {
  try {
    gives_up->store(true);
    finish_saves();
  } catch (const std::exception& error) {
    std::cerr << "rtrain: warning: a checkpoint was not written: " << error.what() << std::endl;
  }
  gives_up->store(false);
}

void Trainer::wait_for_snapshot() { impl_->run.settle_parameters(); }

}  // namespace rtrain
