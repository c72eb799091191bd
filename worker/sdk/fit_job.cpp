#include "worker/sdk/fit_job.h"

#include "worker/sdk/fit_call.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace rtrain::sdk {
namespace {

namespace fs = std::filesystem;

/// A job's name is a file name, too.
std::string name_from(std::string program) {
  for (char& c : program)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_' && c != '-') c = '_';
  return program.empty() || std::isalnum(static_cast<unsigned char>(program[0])) == 0 ? "fit" + program
                                                                                      : program;
}

}  // namespace

nlohmann::json fit_job(const ScalingConfig& scaling, const RunConfig& run,
                       const nlohmann::json& train_loop_config, const TorchConfig& torch,
                       const std::optional<Checkpoint>& resume) {
  const auto command = own_command();
  const auto& keep = run.checkpoint_config;
  nlohmann::json document = {
      {"name", run.name.empty() ? name_from(fs::path(command[0]).filename().string()) : run.name},
      {"command", command},
      {"working_dir", fs::current_path().string()},
      {"env_inherit", true},
      {"train_loop_config", train_loop_config},
      {"scaling_config",
       {{"num_workers", std::max(1, scaling.num_workers)},
        {"use_gpu", scaling.use_gpu},
        {"placement_strategy", scaling.placement_strategy}}},
      {"run_config",
       {{"failure_config", {{"max_failures", run.failure_config.max_failures}}},
        {"checkpoint_config", {{"checkpoint_score_order", keep.checkpoint_score_order}}}}},
      {"torch_config",
       {{"backend", torch.backend},
        {"timeout_s", torch.timeout_s},
        {"init_timeout_s", torch.init_timeout_s}}}};
  if (!scaling.resources_per_worker.empty())
    document["scaling_config"]["resources_per_worker"] = scaling.resources_per_worker;
  // refused with the reader's own words
  if (scaling.num_workers < 0) document["scaling_config"]["num_workers"] = scaling.num_workers;
  if (!run.storage_path.empty()) document["run_config"]["storage_path"] = run.storage_path;
  auto& checkpoint_config = document["run_config"]["checkpoint_config"];
  if (keep.num_to_keep) checkpoint_config["num_to_keep"] = *keep.num_to_keep;
  if (!keep.checkpoint_score_attribute.empty())
    checkpoint_config["checkpoint_score_attribute"] = keep.checkpoint_score_attribute;
  if (resume) document["resume_from_checkpoint"] = fs::absolute(resume->path()).string();
  return document;
}

std::string fit_errors(const std::string& who, const std::vector<proto::SpecError>& errors) {
  std::string text = who + ":";
  for (const auto& error : errors) text += "\n  " + proto::to_string(error);
  return text;
}

}  // namespace rtrain::sdk
