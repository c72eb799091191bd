// This process's part in a job: what the environment says, the connection to the agent, reports.
#pragma once

#include "worker/comm/job_group.h"
#include "worker/runtime/checkpoint_store.h"
#include "worker/runtime/environment.h"
#include "worker/runtime/metrics_log.h"
#include "worker/runtime/report_agreement.h"
#include "worker/runtime/session.h"
#include "worker/runtime/step_rate.h"

#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>

namespace rtrain::sdk {

/// There is one a process. The environment is read when it is first asked for, so after the fork.
/// @thread the training thread, but for progress().
class Job {
 public:
  /// @throws std::runtime_error the environment is not what an agent sets.
  static Job& current();
  /// A job without a cluster, for TorchTrainer with num_workers 0: reports go to `launch.run_dir`. Ends with
  /// end_local().
  void begin_local(proto::Launch launch);
  void end_local();

  [[nodiscard]] const runtime::Environment& environment() const { return environment_; }
  /// In a job of the cluster, or in a local one: reports are stored.
  [[nodiscard]] bool active() const { return environment_.in_job || local_; }

  /// This process is a rank that enters a training function: it will join the job's process group. Before
  /// connect().
  void will_join() { joins_ = true; }
  /// Joins the ranks of the job. @throws std::logic_error it has joined them already; what JobGroup throws.
  void join(const comm::JobGroupOptions& options);
  /// The end of this process's part in the group; nothing when it has not joined.
  void leave() noexcept;
  /// The ranks of the job; null before join() and after leave().
  [[nodiscard]] comm::JobGroup* group() const { return group_.get(); }

  /// Before it enters a step of a loop of its own. @return it is to make way
  [[nodiscard]] bool should_yield();
  /// Dials the agent; nothing outside a job or when it is done already. @throws std::runtime_error
  void connect();
  /// The session; null outside a job.
  [[nodiscard]] runtime::Session* session() const { return session_.get(); }
  /// Rank 0: the run's folder with params.json, and no half-written checkpoints of earlier attempts in it.
  [[nodiscard]] Result<Done> prepare_run_dir() const;

  void report(const nlohmann::json& metrics, const std::optional<std::filesystem::path>& checkpoint);
  /// An empty folder below the run's to make a checkpoint in, for report() at once after it; nothing outside
  /// a job. @throws std::runtime_error
  [[nodiscard]] std::optional<std::string> make_scratch() const;
  /// The end of the training function: what report() left to other threads is done, or given up in time.
  [[nodiscard]] Result<Done> finish();
  /// The end of a program that reports and is no training function: what it said reaches the agent and the
  /// run's folder, or stderr says why not. Runs at exit().
  void flush_at_exit() noexcept;
  [[nodiscard]] Result<Done> flush_metrics(std::chrono::milliseconds timeout) {
    return metrics_log_->flush(timeout);
  }
  /// Newest first: what this process reported, the newest of the job that is still there,
  /// resume_from_checkpoint.
  [[nodiscard]] std::optional<std::string> latest_checkpoint() const;
  [[nodiscard]] bool progress_due() const noexcept;
  void progress(proto::RankProgress progress, bool last);
  [[nodiscard]] std::vector<proto::CheckpointRecord> kept_checkpoints() const { return kept_; }
  [[nodiscard]] const proto::Json& latest_metrics() const { return latest_metrics_; }

 private:
  explicit Job(runtime::Environment environment);
  void adopt(runtime::Environment environment);
  [[nodiscard]] std::string store_checkpoint(const std::string& source, proto::RankReport& report);
  [[nodiscard]] Result<std::string> publish(proto::RankReport& report);
  /// Those that a stored report replaced. A crash before it is stored leaves one checkpoint too many, not one
  /// too few.
  void drop_old_checkpoints(std::chrono::milliseconds patience);
  void make_way(const proto::YieldAttempt& request);
  runtime::ReportAgreement& agreement();

  runtime::Environment environment_;
  bool local_ = false, joins_ = false;
  std::atomic<bool> asks_{false};  // should_yield() was called
  std::unique_ptr<runtime::Session> session_;
  std::unique_ptr<runtime::MetricsLog> metrics_log_;
  std::thread yielding_;  // lives as long as the process
  std::unique_ptr<comm::JobGroup> group_;
  std::optional<runtime::CheckpointStore> store_;
  std::unique_ptr<runtime::ReportAgreement> agreement_;
  std::chrono::milliseconds waited_{0};  // in the agreement, for this report
  std::int64_t reports_ = 0, next_index_ = 0;
  std::vector<proto::CheckpointRecord> kept_, to_drop_;
  bool said_unranked_ = false;
  std::optional<std::string> latest_;
  proto::Json latest_metrics_ = proto::Json::object();
  std::atomic<std::int64_t> next_progress_ms_{0};  // steady clock
  std::mutex rate_mutex_;
  runtime::StepRate rate_;  // of a loop that gives none itself
};

}  // namespace rtrain::sdk
