#include "worker/sdk/job.h"

#include "common/base/duration.h"
#include "common/log/log.h"
#include "common/os/file.h"
#include "worker/comm/job_store.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/run_record.h"
#include "worker/runtime/yield_point.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <thread>

#include <unistd.h>

namespace rtrain::sdk {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kYieldLook{5}, kStartLook{10};
constexpr std::int64_t kProgressPeriodMs = 200;
constexpr milliseconds kFlushAtExit{10'000};

std::int64_t steady_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void throw_error(const Error& error) {
  throw std::runtime_error(error.hint().empty() ? error.message()
                                                : error.message() + " (" + error.hint() + ")");
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
  store_.emplace(launch.run_dir, environment_.key.attempt.value(), environment_.rank,
                 environment_.world_size);
  next_index_ = launch.next_checkpoint_index;
  kept_ = launch.checkpoints;
  reports_ = 0;
  metrics_log_ = std::make_unique<runtime::MetricsLog>(launch.run_dir);
  pins_ = {launch.pins.begin(), launch.pins.end()};
  to_drop_ = environment_.rank == 0
                 ? runtime::left_pinned(kept_, launch.spec.run_config.checkpoint_config, pins_)
                 : std::vector<proto::CheckpointRecord>();
  latest_.reset();
  preemption_.reset();
  validated_.clear();
  on_stored_ = nullptr;
  start_.reset();
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
  auto session = runtime::Session::open(
      environment_, [this](const proto::YieldAttempt& request) { on_yield_request(request); },
      [this](const proto::CheckpointRecord& checkpoint) { on_validated(checkpoint); },
      [this](const std::vector<std::string>& paths) { on_pins(paths); });
  if (!session) throw_error(session.error());
  session_ = std::move(*session);
  static const pid_t connected = ::getpid();
  std::atexit([] {
    if (::getpid() == connected) current().flush_at_exit();  // not in a child that the program forked
  });
}

void Job::flush_at_exit() noexcept {
  try {
    if (auto finished = finish(); !finished)
      std::fprintf(stderr, "rtrain: %s\n", finished.error().message().c_str());
    if (!session_) return;
    if (auto flushed = session_->flush(kFlushAtExit); !flushed)
      std::fprintf(stderr, "rtrain: %s\n", flushed.error().message().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtrain: %s\n", error.what());
  }
}

/// On a thread of its own: the session's must go on renewing the lease, and the training thread may be
/// anywhere.
void Job::on_yield_request(const proto::YieldAttempt& request) {
  {
    const std::lock_guard lock(stored_mutex_);
    preemption_ = Preemption{
        request.reason, std::chrono::system_clock::time_point(std::chrono::milliseconds(os::unix_ms_now()) +
                                                              to_milliseconds(request.grace_s))};
  }
  std::fprintf(stderr, "rtrain: asked to yield within %g s: %s\n", request.grace_s, request.reason.c_str());
  yielding_ = std::thread([this, grace = to_milliseconds(request.grace_s)] {
    auto& point = runtime::yield_point();
    const auto mine = point.freeze();
    if (environment_.world_size == 1 || !joins_) {
      // A program that has no process group of the job's: each rank for itself, and one that never asks as
      // any other program.
      if (!joins_ && !asks_.load()) ::kill(::getpid(), SIGTERM);
      return point.settle(mine);
    }
    const auto until = std::chrono::steady_clock::now() + grace;
    try {
      const auto store = comm::connect_store(environment_.master_addr, environment_.master_port, grace);
      const auto place =
          runtime::agree_to_yield(*store, environment_.rank, environment_.world_size, mine, [&] {
            std::this_thread::sleep_for(kYieldLook);
            return std::chrono::steady_clock::now() < until;
          });
      if (place) point.settle(*place);
    } catch (const std::exception& error) {
      // The others have ended, or rank 0 has: there is nobody left to agree with, and the grace ends this
      // rank.
      std::fprintf(stderr, "rtrain: the ranks could not agree on a step to yield at: %s\n", error.what());
    }
  });
}

void Job::join(const comm::JobGroupOptions& options) {
  if (group_ != nullptr) throw std::logic_error("the process group is set up already");
  group_ = std::make_unique<comm::JobGroup>(options, runtime::pulse());
  if (environment_.rank == 0 && environment_.world_size > 1) choose_for_all();
}

/// At once and on a thread of its own: no rank knows whether the others will ask, and reading may take a
/// while.
void Job::choose_for_all() {
  if (environment_.launch.checkpoints.empty() || choosing_.joinable()) return;
  auto promise = std::make_shared<std::promise<runtime::StartCheckpoint>>();
  chosen_ = promise->get_future().share();
  choosing_ = std::thread([this, promise] {
    try {
      const auto start = choose_start();
      promise->set_value(start);
      const auto timeout = to_milliseconds(environment_.launch.spec.torch_config.timeout_s);
      const auto store = comm::connect_store(environment_.master_addr, environment_.master_port, timeout);
      runtime::announce_start(*store, start);
    } catch (const std::exception& error) {
      // The others wait in get_checkpoint(), if at all, and say so.
      std::fprintf(stderr, "rtrain: the checkpoint to begin at could not be told to the other ranks: %s\n",
                   error.what());
    }
  });
}

void Job::leave() noexcept {
  if (group_ == nullptr) return;
  const auto group = std::move(group_);
  group->leave();
}

bool Job::should_yield() {
  if (!asks_.load(std::memory_order_relaxed)) {
    asks_ = true;
    connect();
  }
  runtime::pulse().beat();
  return runtime::yield_point().next_step();
}

Result<Done> Job::prepare_run_dir() const {
  if (auto written =
          runtime::write_params(environment_.launch.run_dir, environment_.launch.spec.train_loop_config);
      !written)
    return written;
  if (auto written = runtime::write_checkpoint_config(environment_.launch.run_dir,
                                                      environment_.launch.spec.run_config.checkpoint_config);
      !written)
    return written;
  return store_->remove_leftovers();
}

std::optional<std::string> Job::make_scratch() const {
  if (!active()) return std::nullopt;
  auto made = store_->make_scratch();
  if (!made) throw_error(made.error().in("a folder to make a checkpoint in"));
  return std::move(*made);
}

runtime::StartCheckpoint Job::choose_start() const {
  const auto& launch = environment_.launch;
  try {
    return runtime::newest_whole(
        launch.checkpoints, launch.spec.resume_from_checkpoint,
        [](const std::string& line) { std::fprintf(stderr, "rtrain: warning: %s\n", line.c_str()); });
  } catch (const std::exception& error) {  // without memory
    return fail(Errc::kIo, error.what());
  }
}

runtime::StartCheckpoint Job::start_checkpoint() {
  const auto& launch = environment_.launch;
  if (launch.checkpoints.empty() || (environment_.world_size > 1 && group_ == nullptr))
    return runtime::newest_there(launch.checkpoints, launch.spec.resume_from_checkpoint);
  if (environment_.world_size == 1) return choose_start();
  if (environment_.rank == 0) {
    while (chosen_.wait_for(kStartLook) != std::future_status::ready) runtime::pulse().beat();
    return chosen_.get();
  }
  const auto limit = to_milliseconds(launch.spec.torch_config.timeout_s);
  milliseconds waited{0};
  return runtime::await_start(*group_->store(), [&] {
    std::this_thread::sleep_for(kStartLook);
    runtime::pulse().beat();
    return (waited += kStartLook) < limit;
  });
}

std::optional<std::string> Job::latest_checkpoint() {
  {
    const std::lock_guard lock(stored_mutex_);
    if (latest_) return latest_;
  }
  if (!start_) {
    auto start = start_checkpoint();
    if (!start) throw_error(start.error().in("get_checkpoint()"));
    start_ = std::move(*start);
  }
  return *start_;
}

bool Job::progress_due() const noexcept {
  return session_ && environment_.rank == 0 &&
         steady_ms() >= next_progress_ms_.load(std::memory_order_relaxed);
}

void Job::progress(proto::RankProgress progress, bool last) {
  if (!session_ || environment_.rank != 0) return;
  if (!(progress.steps_per_s > 0)) {
    const std::lock_guard lock(rate_mutex_);
    progress.steps_per_s =
        rate_.at(progress.stage, progress.epoch, progress.step, runtime::StepRate::Clock::now());
  }
  if (!last && !progress_due()) return;
  next_progress_ms_.store(steady_ms() + kProgressPeriodMs, std::memory_order_relaxed);
  runtime::pulse().beat();
  progress.key = environment_.key;
  session_->send(std::move(progress));
}

}  // namespace rtrain::sdk
