#include <rtrain/tuner.h>

#include "worker/sdk/fit_call.h"
#include "worker/sdk/fit_job.h"
#include "worker/sdk/job.h"
#include "worker/sdk/rank_main.h"
#include "worker/sdk/tune_document.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

/// In a worker: where the run of its trial is, which the program reads when the sweep has ended. A job of a
/// trial has one folder, whatever its attempts.
void tell_run(const runtime::Environment& environment) {
  const auto file = sdk::told_file();
  if (file.empty() || environment.rank != 0) return;
  sdk::tell(file, {{"job", environment.key.job.value()}, {"path", environment.launch.run_dir}});
}

/// The folders that workers told, by the number of the job.
std::map<std::uint64_t, std::string> runs_in(const sdk::UnnamedFile& told) {
  std::map<std::uint64_t, std::string> runs;
  const auto text = told.text();
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = proto::parse_json(text.substr(begin, end - begin));
    if (!line) throw std::runtime_error("Tuner: where a trial has its run: " + line.error().message());
    runs[line->at("job").get<std::uint64_t>()] = line->at("path").get<std::string>();
    begin = end + 1;
  }
  return runs;
}

/// What `rtrain sweep run` gave, with the config and the run of each trial.
nlohmann::json with_runs(nlohmann::json given, const proto::SweepSpec& spec,
                         const std::map<std::uint64_t, std::string>& runs) {
  for (auto& trial : given.at("trials")) {
    if (const auto job = proto::job_of(spec, trial.at("params"))) trial["config"] = job->train_loop_config;
    const auto run = runs.find(trial.at("job").get<std::uint64_t>());
    trial["path"] = run != runs.end() ? nlohmann::json(run->second) : nlohmann::json();
  }
  return given;
}

}  // namespace

Tuner::Tuner(TrainFunction train_func, TunerOptions options)
    : train_func_(std::move(train_func)), options_(std::move(options)) {}

ResultGrid Tuner::fit() {
  sdk::FitCall call("Tuner");
  const auto& environment = sdk::Job::current().environment();
  if (environment.in_job) {
    if (!call.is_wanted()) return ResultGrid::from_document(call.earlier_result());
    tell_run(environment);
    sdk::run_rank([this] { return train_func_; });
  }

  const auto& scaling = options_.scaling_config;
  if (scaling.num_workers == 0)
    throw std::invalid_argument(
        "Tuner:\n  scaling_config.num_workers: is 0, and a trial is a job with workers of its own; write 1 "
        "or more");
  const auto job = sdk::fit_job(scaling, options_.run_config, options_.train_loop_config,
                                options_.torch_config, std::nullopt);
  const auto document = sdk::tune_document(job, options_.param_space, options_.tune_config);
  const auto reading = proto::read_sweep_document(document);
  if (!reading.ok()) throw std::invalid_argument(sdk::tuner_errors(reading.errors));
  const sdk::UnnamedFile told("runs.jsonl", "");
  auto swept = sdk::run_sweep(document, call.variables(told.path()));
  auto given = with_runs(std::move(swept), reading.spec, runs_in(told));  // told by now
  auto grid = ResultGrid::from_document(given);
  sdk::FitCall::gave(std::move(given));
  return grid;
}

}  // namespace rtrain
