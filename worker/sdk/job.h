// This process's membership in a job: its environment, the connection to the agent, and reports.
#pragma once

#include "worker/comm/job_group.h"
#include "worker/runtime/checkpoint_store.h"
#include "worker/runtime/environment.h"
#include "worker/runtime/metrics_log.h"
#include "worker/runtime/report_agreement.h"
#include "worker/runtime/retention.h"
#include "worker/runtime/session.h"
#include "worker/runtime/start_checkpoint.h"
#include "worker/runtime/step_rate.h"
#include "worker/runtime/work_queue.h"

#include <rtrain/context.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <thread>

namespace rtrain::sdk {

/// Uploads of CheckpointUploadMode::kAsync that wait beside the one that goes on.
inline constexpr int kUploadsWaitingMax = 2;

/// One per process. It reads the environment on first use, so after the fork.
/// @thread the training thread, except for progress().
class Job {
 public:
  /// @throws std::runtime_error if the environment is not one that an agent sets.
  static Job& current();
  /// Starts a job without a cluster, for TorchTrainer with num_workers 0: reports go to `launch.run_dir`.
  /// end_local() ends it.
  void begin_local(proto::Launch launch);
  void end_local();

  [[nodiscard]] const runtime::Environment& environment() const { return environment_; }
  /// True in a job of a cluster or in a local one: reports are stored.
  [[nodiscard]] bool active() const { return environment_.in_job || local_; }

  /// Declares this process a rank that enters a training function and will join the job's process group. Call
  /// it before connect().
  void will_join() { joins_ = true; }
  /// Joins the ranks of the job. @throws std::logic_error if it has already joined; what JobGroup throws.
  void join(const comm::JobGroupOptions& options);
  /// Ends this process's membership in the group; does nothing if it has not joined.
  void leave() noexcept;
  /// The ranks of the job; null before join() and after leave().
  [[nodiscard]] comm::JobGroup* group() const { return group_.get(); }

  /// Called before each step of a hand-written loop. @return true if the job must yield.
  [[nodiscard]] bool should_yield();
  /// Connects to the agent; does nothing outside a job or if already connected. @throws std::runtime_error
  void connect();
  /// The session; null outside a job.
  [[nodiscard]] runtime::Session* session() const { return session_.get(); }
  /// Called on rank 0: writes params.json to the run's folder and removes incomplete checkpoints of earlier
  /// attempts.
  [[nodiscard]] Result<Done> prepare_run_dir() const;

  /// @param before is called before the checkpoint's files are touched, on the thread that stores them
  void report(const nlohmann::json& metrics, const std::optional<Checkpoint>& checkpoint,
              const ReportOptions& options = {}, std::function<void()> before = {});
  /// @return false: not within the limit. @throws what a report on the other thread threw, once.
  bool wait_for_uploads(std::optional<std::chrono::milliseconds> limit = std::nullopt);
  /// The same, and an error is a line on stderr.
  void finish_uploads_quietly() noexcept;
  /// Those that are kept, oldest first. Waits for the reports of this rank so far, and for rank 0 to have
  /// stored its own of as many.
  /// @param validated waits until none of them is being validated
  [[nodiscard]] std::vector<proto::CheckpointRecord> reported_checkpoints(
      bool validated, std::optional<std::chrono::milliseconds> limit);
  /// Calls `body` on rank 0 with each report that is stored, on the thread that stores it.
  void on_stored(std::function<void(const proto::RankReport&)> body) { on_stored_ = std::move(body); }
  struct Preemption {
    std::string reason;
    std::chrono::system_clock::time_point deadline;
  };
  /// @thread any
  [[nodiscard]] std::optional<Preemption> preemption() const {
    const std::lock_guard lock(stored_mutex_);
    return preemption_;
  }
  /// An empty folder below the run's folder for a checkpoint that is reported right after it is written;
  /// std::nullopt outside a job. @throws std::runtime_error
  [[nodiscard]] std::optional<std::string> make_scratch() const;
  /// Called at the end of the training function: waits, within a time limit, for work that report() left to
  /// other threads.
  [[nodiscard]] Result<Done> finish();
  /// Called at exit() of a program that reports without a training function: flushes its reports to the agent
  /// and the run's folder, or writes to stderr why they could not be sent.
  void flush_at_exit() noexcept;
  [[nodiscard]] Result<Done> flush_metrics(std::chrono::milliseconds timeout) {
    return metrics_log_->flush(timeout);
  }
  /// The first that exists of: the latest checkpoint that this process reported, the newest one of the job
  /// that is whole, resume_from_checkpoint. Ranks that have joined get the same one, chosen by rank 0; others
  /// look for the newest without reading it.
  /// @throws std::runtime_error if all checkpoints of the job are damaged.
  [[nodiscard]] std::optional<std::string> latest_checkpoint();
  [[nodiscard]] bool progress_due() const noexcept;
  void progress(proto::RankProgress progress, bool last);
  [[nodiscard]] std::vector<proto::CheckpointRecord> kept_checkpoints() const {
    const std::lock_guard lock(stored_mutex_);
    return kept_;
  }
  [[nodiscard]] const proto::Json& latest_metrics() const { return latest_metrics_; }

 private:
  explicit Job(runtime::Environment environment);
  void adopt(runtime::Environment environment);
  struct Brought;
  void check(const nlohmann::json& metrics, const std::optional<Checkpoint>& checkpoint,
             const ReportOptions& options) const;
  // On the training thread while no upload goes on, else on the uploading one.
  void store(proto::RankReport report, const Brought& brought);
  void store_checkpoint(proto::RankReport& report, const Brought& brought);
  [[nodiscard]] Result<std::string> bring(const proto::RankReport& report, const Brought& brought);
  [[nodiscard]] Result<std::string> publish(proto::RankReport& report, const Brought& brought,
                                            const std::string& path);
  /// Deletes the checkpoints that a stored report replaced. A crash before the report is stored leaves one
  /// checkpoint too many, never one too few.
  void drop_old_checkpoints(std::chrono::milliseconds patience);
  void on_yield_request(const proto::YieldAttempt& request);
  /// @thread the session's
  void on_validated(const proto::CheckpointRecord& checkpoint);
  /// @thread the session's
  void on_pins(const std::vector<std::string>& paths);
  [[nodiscard]] runtime::Pins pins() const;
  [[nodiscard]] std::vector<proto::CheckpointRecord> stored_checkpoints(
      std::optional<std::chrono::milliseconds> limit);
  void choose_for_all();
  [[nodiscard]] runtime::StartCheckpoint choose_start() const;
  [[nodiscard]] runtime::StartCheckpoint start_checkpoint();
  runtime::ReportAgreement& agreement();

  runtime::Environment environment_;
  bool local_ = false, joins_ = false;
  std::atomic<bool> asks_{false};  // should_yield() was called
  std::unique_ptr<runtime::Session> session_;
  std::unique_ptr<runtime::MetricsLog> metrics_log_;
  std::thread yielding_, choosing_;                      // never end before the process
  std::shared_future<runtime::StartCheckpoint> chosen_;  // by rank 0, of several
  std::optional<std::optional<std::string>> start_;      // once it is known
  std::unique_ptr<comm::JobGroup> group_;
  std::optional<runtime::CheckpointStore> store_;
  std::unique_ptr<runtime::ReportAgreement> agreement_;
  std::chrono::milliseconds waited_{0};  // in the agreement, for this report
  std::int64_t reports_ = 0, next_index_ = 0;
  std::vector<proto::CheckpointRecord> to_drop_;
  bool printed_unranked_ = false;
  std::function<void(const proto::RankReport&)> on_stored_;
  mutable std::mutex stored_mutex_;  // of the next five
  std::vector<proto::CheckpointRecord> kept_;
  runtime::Pins pins_;
  /// by index, as the head told of them: every rank hears it, and kept_ is rank 0's alone
  std::map<std::int64_t, proto::CheckpointRecord> validated_;
  std::optional<std::string> latest_;
  std::optional<Preemption> preemption_;
  std::condition_variable validated_changed_;
  runtime::WorkQueue uploads_{kUploadsWaitingMax};
  proto::Json latest_metrics_ = proto::Json::object();
  std::atomic<std::int64_t> next_progress_ms_{0};  // steady clock
  std::mutex rate_mutex_;
  runtime::StepRate rate_;  // for a loop that does not report one
};

}  // namespace rtrain::sdk
