#include <rtrain/torch_trainer.h>

#include "common/os/file.h"
#include "worker/runtime/retention.h"
#include "worker/sdk/fit_call.h"
#include "worker/sdk/fit_job.h"
#include "worker/sdk/fit_reports.h"
#include "worker/sdk/job.h"
#include "worker/sdk/rank_failure.h"
#include "worker/sdk/rank_main.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace rtrain {

TorchTrainer::TorchTrainer(TrainFunction train_func, ScalingConfig scaling_config, RunConfig run_config,
                           nlohmann::json train_loop_config, TorchConfig torch_config,
                           std::optional<Checkpoint> resume_from_checkpoint)
    : train_func_(std::move(train_func)),
      scaling_config_(std::move(scaling_config)),
      run_config_(std::move(run_config)),
      train_loop_config_(std::move(train_loop_config)),
      torch_config_(std::move(torch_config)),
      resume_from_checkpoint_(std::move(resume_from_checkpoint)) {}

namespace {

namespace fs = std::filesystem;

/// Without a function of a library: the program itself is run again, and its call of fit() knows from its
/// launch what it is for.
nlohmann::json validation_of(const ValidationConfig& config) {
  nlohmann::json document = {{"train_loop_config", config.train_loop_config},
                             {"timeout_s", config.timeout_s}};
  if (!config.resources.empty()) document["resources"] = config.resources;
  return document;
}

/// In a worker: hands the reports that are stored to the program that called fit().
void tell_reports(sdk::Job& job, const std::string& file) {
  job.on_stored([file](const proto::RankReport& report) { sdk::tell(file, sdk::report_line(report)); });
}

/// num_workers 0: no process but this one.
TrainingResult run_here(const TrainFunction& train_func, proto::JobSpec spec,
                        const std::function<void(const ReportedRow&)>& on_report) {
  const char* home = std::getenv("HOME");
  proto::resolve_paths(spec, fs::current_path().string(), fs::current_path().string(),
                       home != nullptr ? home : "/", "");
  proto::Launch launch;
  launch.job = JobId(1);
  launch.attempt = Attempt(1);
  launch.submitted_ms = os::unix_ms_now();
  launch.run_name = spec.name + "-" + std::to_string(launch.submitted_ms) + "-" + std::to_string(::getpid());
  launch.run_dir = spec.run_config.storage_path + "/" + launch.run_name;
  launch.spec = std::move(spec);
  auto& job = sdk::Job::current();
  job.begin_local(launch);
  if (on_report)
    job.on_stored([&](const proto::RankReport& report) { on_report(sdk::row_of(sdk::report_line(report))); });
  TrainingResult result;
  result.path = launch.run_dir;
  try {
    if (auto prepared = job.prepare_run_dir(); !prepared)
      throw std::runtime_error("the run's folder: " + prepared.error().message());
    job.join({});
    const Config config(launch.spec.train_loop_config);
    result.return_value = train_func(config);
    if (const auto unread = sdk::unread_keys(config); !unread.empty())
      std::fprintf(stderr, "rtrain: warning: %s\n", unread.c_str());
    if (auto finished = job.finish(); !finished) throw std::runtime_error(finished.error().message());
  } catch (...) {
    auto failure = sdk::rank_failure(std::current_exception(), "exception");
    result.error = TrainingError{std::move(failure.kind), std::move(failure.message), 0, "", {}};
  }
  job.finish_uploads_quietly();  // of a function that failed before they were stored
  job.leave();
  result.metrics = job.latest_metrics();
  const auto kept = job.kept_checkpoints();
  if (!kept.empty()) result.checkpoint.emplace(kept.back().path);
  for (const auto& best : runtime::by_score(kept, launch.spec.run_config.checkpoint_config))
    result.best_checkpoints.emplace_back(Checkpoint(best.path), best.metrics);
  job.end_local();
  return result;
}

}  // namespace

TorchTrainer& TorchTrainer::on_report(std::function<void(const ReportedRow&)> body) {
  on_report_ = std::move(body);
  return *this;
}

TorchTrainer& TorchTrainer::validation(ValidationConfig config) {
  validation_ = std::move(config);
  return *this;
}

TrainingResult TorchTrainer::fit() {
  sdk::FitCall call("TorchTrainer");
  auto document =
      sdk::fit_job(scaling_config_, run_config_, train_loop_config_, torch_config_, resume_from_checkpoint_);
  if (validation_) document["validation"] = validation_of(*validation_);
  auto& job = sdk::Job::current();
  if (job.environment().in_job) {
    if (call.is_wanted()) {
      if (validation_ && job.environment().launch.validates)
        sdk::run_rank([this] { return validation_->fn; });
      if (const auto file = sdk::told_file(); !file.empty()) tell_reports(job, file);
      sdk::run_rank([this] { return train_func_; });
    }
    const auto gave = call.earlier_result();
    return gave.is_null() ? TrainingResult{} : sdk::result_of(gave);
  }

  const auto reading = proto::read_job_spec(document);
  if (!reading.ok()) throw std::invalid_argument(sdk::fit_errors("TorchTrainer", reading.errors));
  if (scaling_config_.num_workers == 0) {
    sdk::FitCall::gave(nullptr);
    return run_here(train_func_, reading.spec, on_report_);
  }
  std::optional<sdk::ReportListener> listener;
  if (on_report_) listener.emplace(on_report_);
  const auto given = sdk::run_job(document, call.variables(listener ? listener->path() : ""));
  sdk::FitCall::gave(given);
  if (listener) listener->finish();
  return sdk::result_of(given);
}

}  // namespace rtrain
