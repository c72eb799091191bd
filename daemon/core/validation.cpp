#include "daemon/core/validation.h"

namespace rtrain::core {
namespace {

constexpr std::size_t kNameBytesMax = 128;
constexpr std::string_view kNameEnd = "-validation";

proto::ValidationEnded not_validated(std::int64_t index, std::string why) {
  return {index, proto::ValidationStatus::kFailed, proto::Json::object(), std::move(why)};
}

}  // namespace

double validation_timeout_s(const JobState& parent, const proto::CheckpointRecord& checkpoint) {
  const auto& own = checkpoint.validation ? checkpoint.validation->timeout_s : std::nullopt;
  return own.value_or(parent.spec->validation ? parent.spec->validation->timeout_s
                                              : proto::ValidationConfig{}.timeout_s);
}

proto::JobSpec validation_spec(const JobState& parent, const proto::CheckpointRecord& checkpoint) {
  const auto& from = *parent.spec;
  const auto& validation = *from.validation;
  proto::JobSpec spec;
  spec.name = from.name.substr(0, kNameBytesMax - kNameEnd.size()) + std::string(kNameEnd);
  if (validation.train_func)
    spec.train_func = validation.train_func;
  else
    spec.command = from.command;
  spec.train_loop_config = validation.train_loop_config;
  if (checkpoint.validation) spec.train_loop_config.update(checkpoint.validation->fn_kwargs);

  auto& scaling = spec.scaling_config;
  scaling.min_workers = scaling.num_workers;
  scaling.resources_per_worker = validation.resources;
  const auto gpus =
      validation.resources ? validation.resources->find("GPU") : proto::Resources::const_iterator{};
  scaling.use_gpu = validation.resources && gpus != validation.resources->end() && gpus->second > 0;
  if (scaling.resources_per_worker && !scaling.use_gpu) scaling.resources_per_worker->erase("GPU");
  if (scaling.use_gpu) scaling.accelerator_type = from.scaling_config.accelerator_type;
  scaling.label_selector = from.scaling_config.label_selector;  // they may say who has the storage

  spec.run_config.storage_path = parent.run_dir + "/validations";
  spec.run_config.stop_grace_s = from.run_config.stop_grace_s;
  spec.run_config.hang_timeout_s = from.run_config.hang_timeout_s;
  spec.torch_config = from.torch_config;

  spec.scheduling.queue = from.scheduling.queue;
  spec.scheduling.priority = from.scheduling.priority;
  spec.scheduling.reservation = from.scheduling.reservation;
  spec.scheduling.preemptible = from.scheduling.preemptible;
  spec.scheduling.preempt_grace_s = from.scheduling.preempt_grace_s;
  spec.scheduling.time_limit_s = validation_timeout_s(parent, checkpoint);

  spec.env = from.env;
  spec.env_inherit = from.env_inherit;
  spec.working_dir = from.working_dir;
  spec.resume_from_checkpoint = checkpoint.path;
  return spec;
}

proto::ValidationEnded validation_ended(const JobState& child, std::int64_t index) {
  const auto job = "job " + to_string(child.id) + " ";
  if (child.phase == JobPhase::kCancelled)
    return not_validated(index, job + "was cancelled by " + child.cancelled_by);
  if (child.phase == JobPhase::kFailed) {
    if (child.error && child.error->kind == "time_limit")
      return {index, proto::ValidationStatus::kTimeout, proto::Json::object(), job + child.error->message};
    return not_validated(index, job + "failed: " + (child.error ? child.error->message : "nobody knows why"));
  }
  const auto& metrics = child.return_value;
  if (!metrics.is_object())
    return not_validated(
        index, job + "returned " +
                   (metrics.is_null() ? "nothing" : std::string("a value of type ") + metrics.type_name()) +
                   "; a validation function returns an object of metrics");
  if (const auto bytes = proto::dump_json(metrics).size(); bytes > kValidationBytesMax)
    return not_validated(index, job + "returned " + std::to_string(bytes) + " bytes of metrics; at most " +
                                    std::to_string(kValidationBytesMax) + " are stored");
  return {index, proto::ValidationStatus::kValidated, metrics, {}};
}

}  // namespace rtrain::core
