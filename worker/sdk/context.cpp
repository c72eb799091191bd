#include <rtrain/context.h>
#include <rtrain/progress.h>

#include "common/base/duration.h"
#include "common/os/file.h"
#include "proto/json.h"
#include "proto/tensors/checksums.h"
#include "worker/sdk/job.h"

#include <torch/cuda.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace rtrain {
namespace {

const runtime::Environment& environment() { return sdk::Job::current().environment(); }

}  // namespace

Checkpoint Checkpoint::temporary() {
  namespace fs = std::filesystem;
  const auto& job = sdk::Job::current();
  // Names that CheckpointStore takes for leftovers when the next attempt begins.
  const auto name = job.active() ? environment().launch.run_dir + "/.checkpoint_new.tmp-" +
                                       std::to_string(get_context().get_attempt()) + "-rank" +
                                       std::to_string(environment().rank) + "-XXXXXX"
                                 : (fs::temp_directory_path() / "rtrain-checkpoint-XXXXXX").string();
  std::error_code error;
  fs::create_directories(fs::path(name).parent_path(), error);
  auto made = name;
  if (error || ::mkdtemp(made.data()) == nullptr)
    throw std::runtime_error("Checkpoint::temporary(): " + name + ": " +
                             (error ? error.message() : std::strerror(errno)));
  Checkpoint checkpoint(made);
  checkpoint.folder_ = std::shared_ptr<const void>(nullptr, [made](const void*) {
    std::error_code ignored;
    fs::remove_all(made, ignored);
  });
  return checkpoint;
}

void Checkpoint::to_directory(const std::filesystem::path& target) const {
  std::filesystem::create_directories(target);
  std::filesystem::copy(
      path_, target,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
}

nlohmann::json Checkpoint::get_metadata() const {
  const auto file = path_ / tensors::kMetadataFile;
  const auto text = os::read_file(file.string());
  if (!text && text.error().code() == Errc::kNotFound) return nlohmann::json::object();
  if (!text) throw std::runtime_error("checkpoint " + text.error().message());
  auto metadata = proto::parse_json(*text);
  if (!metadata) throw std::runtime_error("checkpoint " + file.string() + ": " + metadata.error().message());
  if (!metadata->is_object())
    throw std::runtime_error("checkpoint " + file.string() + ": expected a JSON object, found " +
                             metadata->type_name());
  return std::move(*metadata);
}

void Checkpoint::set_metadata(const nlohmann::json& metadata) const {
  if (!metadata.is_object())
    throw std::invalid_argument(std::string("Checkpoint::set_metadata(): expected an object, found ") +
                                metadata.type_name());
  const auto file = path_ / tensors::kMetadataFile;
  if (auto done = os::replace_file(file.string(), proto::dump_json_pretty(metadata) + "\n"); !done)
    throw std::runtime_error("checkpoint " + done.error().message());
}

void Checkpoint::update_metadata(const nlohmann::json& metadata) const {
  if (!metadata.is_object())
    throw std::invalid_argument(std::string("Checkpoint::update_metadata(): expected an object, found ") +
                                metadata.type_name());
  auto all = get_metadata();
  all.update(metadata);
  set_metadata(all);
}

int TrainContext::get_world_size() const { return environment().world_size; }
int TrainContext::get_world_rank() const { return environment().rank; }
int TrainContext::get_max_world_size() const {
  const auto& e = environment();
  return std::max(e.world_size, e.launch.spec.scaling_config.num_workers);
}
int TrainContext::get_local_rank() const { return environment().local_rank; }
int TrainContext::get_local_world_size() const { return environment().local_world_size; }
int TrainContext::get_node_rank() const { return environment().node_rank; }
std::string TrainContext::get_experiment_name() const { return environment().launch.spec.name; }
std::string TrainContext::get_trial_name() const { return environment().launch.run_name; }
std::string TrainContext::get_trial_id() const {
  return environment().in_job ? to_string(environment().key.job) : "";
}
std::filesystem::path TrainContext::get_trial_dir() const { return environment().launch.run_dir; }
nlohmann::json TrainContext::get_trial_resources() const {
  return environment().launch.spec.scaling_config.resources();
}
std::filesystem::path TrainContext::get_storage() const {
  return environment().launch.spec.run_config.storage_path;
}
nlohmann::json TrainContext::get_metadata() const { return nlohmann::json::object(); }
int TrainContext::get_attempt() const {
  return environment().in_job ? static_cast<int>(environment().key.attempt.value()) : 1;
}

const TrainContext& get_context() {
  static const TrainContext context;
  return context;
}

void report(const nlohmann::json& metrics, const std::optional<Checkpoint>& checkpoint,
            const ReportOptions& options) {
  sdk::Job::current().report(metrics, checkpoint, options);
}

void wait_for_uploads() { (void)sdk::Job::current().wait_for_uploads(); }

namespace {

ReportedCheckpointStatus status_of(const proto::CheckpointRecord& kept) {
  if (!kept.validation) return ReportedCheckpointStatus::kCommitted;
  switch (kept.validation->status) {
    case proto::ValidationStatus::kPending: return ReportedCheckpointStatus::kPendingValidation;
    case proto::ValidationStatus::kValidated: return ReportedCheckpointStatus::kValidated;
    case proto::ValidationStatus::kTimeout: return ReportedCheckpointStatus::kValidationTimeout;
    case proto::ValidationStatus::kFailed: return ReportedCheckpointStatus::kValidationFailed;
  }
  return ReportedCheckpointStatus::kCommitted;
}

}  // namespace

std::vector<ReportedCheckpoint> get_all_reported_checkpoints(CheckpointConsistencyMode consistency_mode,
                                                             std::optional<double> timeout_s) {
  if (timeout_s && !(*timeout_s >= 0))
    throw std::invalid_argument("get_all_reported_checkpoints(): timeout_s is " + std::to_string(*timeout_s) +
                                ", expected 0 or more");
  std::optional<std::chrono::milliseconds> limit;
  if (timeout_s) limit = to_milliseconds(*timeout_s);
  std::vector<ReportedCheckpoint> all;
  const bool validated = consistency_mode == CheckpointConsistencyMode::kValidated;
  for (auto& kept : sdk::Job::current().reported_checkpoints(validated, limit)) {
    const auto status = status_of(kept);
    all.push_back({Checkpoint(kept.path), std::move(kept.metrics), status});
  }
  return all;
}

std::optional<PreemptionInfo> get_preemption_info() {
  auto asked = sdk::Job::current().preemption();
  if (!asked) return std::nullopt;
  return PreemptionInfo{std::move(asked->reason), asked->deadline};
}

std::optional<Checkpoint> get_checkpoint() {
  const auto path = sdk::Job::current().latest_checkpoint();
  return path ? std::optional(Checkpoint(*path)) : std::nullopt;
}

bool should_yield() { return sdk::Job::current().should_yield(); }

torch::Device get_device() { return get_devices().front(); }

std::vector<torch::Device> get_devices() {
  std::vector<torch::Device> devices;
  for (const int index : environment().device_indices)
    devices.emplace_back(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
  if (!environment().in_job && torch::cuda::is_available()) devices.emplace_back(torch::kCUDA, 0);
  if (devices.empty()) devices.emplace_back(torch::kCPU);
  return devices;
}

bool progress_due() noexcept {
  try {
    return sdk::Job::current().progress_due();
  } catch (...) {
    return false;
  }
}

void report_progress(const Progress& progress, bool last) {
  sdk::Job::current().progress({.stage = progress.stage,
                                .epoch = progress.epoch,
                                .max_epochs = progress.max_epochs,
                                .step = progress.step,
                                .steps = progress.steps,
                                .steps_per_s = progress.steps_per_s,
                                .prog_bar = progress.prog_bar},
                               last);
}

}  // namespace rtrain
