#include "worker/sdk/job.h"

#include "common/log/log.h"
#include "common/os/file.h"
#include "worker/runtime/retention.h"
#include "worker/runtime/run_record.h"
#include "worker/strategies/process_group.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace rtrain::sdk {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kProgressPeriodMs = 200;
constexpr milliseconds kHeadStoresReport{1000};

std::int64_t steady_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void throw_error(const Error& error) {
  throw std::runtime_error(error.hint().empty() ? error.message() : error.message() + " (" + error.hint() + ")");
}

}  // namespace

Job& Job::current() {
  static Job* job = [] {
    auto environment = runtime::read_environment();
    if (!environment) throw_error(environment.error());
    return new Job(std::move(*environment));  // never destroyed: exit() may run while its thread does
  }();
  return *job;
}

Job::Job(runtime::Environment environment) { adopt(std::move(environment)); }

void Job::adopt(runtime::Environment environment) {
  environment_ = std::move(environment);
  const auto& launch = environment_.launch;
  store_.emplace(launch.run_dir, environment_.key.attempt.value(), environment_.rank);
  next_index_ = launch.next_checkpoint_index;
  kept_ = launch.checkpoints;
  reports_ = 0;
  to_drop_.clear();
  latest_.reset();
  latest_metrics_ = proto::Json::object();
}

void Job::begin_local(proto::Launch launch) {
  if (active()) throw std::logic_error("TorchTrainer with num_workers 0 cannot run inside a job");
  runtime::Environment environment;
  environment.key = {launch.job, launch.attempt, 0};
  environment.launch = std::move(launch);
  adopt(std::move(environment));
  local_ = true;
}

void Job::end_local() {
  local_ = false;
  adopt({});
}

void Job::connect() {
  if (!environment_.in_job || session_) return;
  auto session = runtime::Session::open(environment_);
  if (!session) throw_error(session.error());
  session_ = std::move(*session);
}

Result<Done> Job::prepare_run_dir() const {
  if (auto written = runtime::write_params(environment_.launch.run_dir, environment_.launch.spec.train_loop_config); !written) return written;
  return store_->remove_leftovers();
}

runtime::ReportAgreement& Job::agreement() {
  if (!agreement_) {
    if (!Collectives::initialized())
      throw std::runtime_error("report() with a checkpoint and several workers needs the job's process group: use train_func or TorchTrainer");
    agreement_ = std::make_unique<runtime::ReportAgreement>(*Collectives::store(), environment_.rank, environment_.world_size, [this] {
      const auto pause = std::clamp<milliseconds>(waited_ / 8, milliseconds(1), milliseconds(50));
      std::this_thread::sleep_for(pause);
      waited_ += pause;
      return waited_ < milliseconds(static_cast<std::int64_t>(environment_.launch.spec.torch_config.timeout_s * 1000));
    });
  }
  return *agreement_;
}

void Job::report(const nlohmann::json& metrics, const std::optional<std::filesystem::path>& checkpoint) {
  if (!metrics.is_object()) throw std::invalid_argument(std::string("report(): metrics must be an object, found ") + metrics.type_name());
  if (checkpoint && !std::filesystem::is_directory(*checkpoint))
    throw std::invalid_argument("report(): the checkpoint " + checkpoint->string() + " is not a folder");
  if (!active()) return;
  connect();
  proto::RankReport report{.key = environment_.key, .seq = ++reports_, .time_ms = os::unix_ms_now(), .metrics = metrics};
  if (checkpoint) latest_ = store_checkpoint(checkpoint->string(), report);
  else if (environment_.world_size > 1 && Collectives::initialized()) agreement().pass(reports_);
  latest_metrics_ = metrics;
  if (environment_.rank != 0) return;
  if (auto made = os::make_dirs(environment_.launch.run_dir); !made) throw_error(made.error().in("report()"));
  if (auto written = runtime::append_metrics(environment_.launch.run_dir, report); !written) throw_error(written.error().in("report()"));
  if (session_) session_->send(report);
  drop_old_checkpoints();
}

std::string Job::store_checkpoint(const std::string& source, proto::RankReport& report) {
  if (environment_.world_size > 1) (void)agreement();
  waited_ = milliseconds(0);
  const auto staged = store_->stage(source, report.seq);
  const auto publish_it = [&] { return publish(report); };
  Result<std::string> stored = std::string();
  if (environment_.world_size > 1) stored = agreement_->settle(report.seq, staged, publish_it);
  else if (staged) stored = publish_it();
  else stored = staged.error();
  if (stored) return std::move(*stored);
  store_->discard(report.seq);
  throw_error(stored.error().in("report(): the checkpoint could not be stored"));
}

Result<std::string> Job::publish(proto::RankReport& report) {
  proto::CheckpointRecord record{store_->path(next_index_), next_index_, report.metrics};
  if (auto published = store_->publish(report.seq, next_index_); !published) return published.error();
  ++next_index_;
  kept_.push_back(record);
  for (auto& old : runtime::to_delete(kept_, environment_.launch.spec.run_config.checkpoint_config)) {
    std::erase_if(kept_, [&](const auto& kept) { return kept.index == old.index; });
    report.deleted_checkpoints.push_back(old.path);
    to_drop_.push_back(std::move(old));
  }
  report.checkpoint = std::move(record);
  return report.checkpoint->path;
}

/// Only when the head has stored the report of the checkpoint that replaces them: a crash in between leaves one too many, not one too few.
void Job::drop_old_checkpoints() {
  if (to_drop_.empty()) return;
  if (session_ && !session_->wait_stored(kHeadStoresReport)) return;  // with a later report
  const auto gone = store_->remove(to_drop_);
  std::erase_if(to_drop_, [&](const auto& dropped) { return std::find(gone.begin(), gone.end(), dropped.path) != gone.end(); });
}

std::optional<std::string> Job::latest_checkpoint() const {
  if (latest_) return latest_;
  const auto& launch = environment_.launch;
  std::error_code ignored;
  for (auto it = launch.checkpoints.rbegin(); it != launch.checkpoints.rend(); ++it)
    if (std::filesystem::is_directory(it->path, ignored)) return it->path;
  if (!launch.spec.resume_from_checkpoint.empty()) return launch.spec.resume_from_checkpoint;
  return std::nullopt;
}

bool Job::progress_due() const noexcept { return session_ && environment_.rank == 0 && steady_ms() >= next_progress_ms_.load(std::memory_order_relaxed); }

void Job::progress(proto::RankProgress progress, bool last) {
  if (!session_ || environment_.rank != 0 || (!last && !progress_due())) return;
  next_progress_ms_.store(steady_ms() + kProgressPeriodMs, std::memory_order_relaxed);
  progress.key = environment_.key;
  session_->send(std::move(progress));
}

}  // namespace rtrain::sdk
