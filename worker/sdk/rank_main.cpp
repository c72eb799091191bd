#include "worker/sdk/rank_main.h"

#include <rtrain/context.h>

#include "common/os/file.h"
#include "worker/run/seed.h"
#include "worker/runtime/crash_handler.h"
#include "worker/runtime/payload.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/record.h"
#include "worker/runtime/yield_point.h"
#include "worker/sdk/job.h"
#include "worker/sdk/join.h"
#include "worker/sdk/rank_end.h"
#include "worker/sdk/rank_failure.h"
#include "worker/sdk/train_library.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/cuda.h>
#include <torch/torch.h>

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <thread>

namespace rtrain::sdk {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFlushAfterSuccess{10'000};

/// Ends the process with `kind` when `step` throws.
template <class Step>
auto guarded(const runtime::Environment& environment, const char* kind, Step step) -> decltype(step()) {
  try {
    return step();
  } catch (const LoadError& error) {
    end_with_error(environment, "load", error.what());
  } catch (...) {
    const auto failure = rank_failure(std::current_exception(), kind);
    end_with_error(environment, failure.kind.c_str(), failure.message);
  }
}

/// exit() inside the training function. Runs first of all exit handlers, and ends the process: destructors of
/// a loaded library beside running threads would only add a crash to it.
pid_t rank_pid = 0;
void on_early_exit(int status, void* environment) {
  if (::getpid() != rank_pid) return;  // a child that the function forked
  flush_output();
  const auto& rank = *static_cast<const runtime::Environment*>(environment);
  (void)runtime::write_error_record(
      rank.rank_dir,
      {"exit", "exit(" + std::to_string(status) + ") was called before the training function returned", {}});
  if (auto* session = Job::current().session()) (void)session->flush(kFlushAfterFailure);
  ::_exit(status);
}

void set_up_process() {
  // the log is a file: whole lines at once, also those before a crash
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  // a peer that is gone is an error of that collective, as under Python
  std::signal(SIGPIPE, SIG_IGN);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  watch_default_generator();
  // The zygote's OpenMP has read its own environment long ago.
  if (const char* threads = std::getenv("OMP_NUM_THREADS"); threads != nullptr && std::atoi(threads) > 0)
    torch::set_num_threads(std::atoi(threads));
}

}  // namespace

void run_rank(const std::function<TrainFunction()>& find) {
  set_up_process();
  rank_pid = ::getpid();
  Job* job = nullptr;
  try {
    job = &Job::current();
  } catch (const std::exception& error) {
    runtime::Environment nowhere;
    if (const char* rank_dir = std::getenv("RTRAIN_RANK_DIR")) nowhere.rank_dir = rank_dir;
    std::fprintf(stderr, "rtrain: %s\n", error.what());
    (void)runtime::write_error_record(nowhere.rank_dir, {"spawn", error.what(), {}});
    ::_exit(1);
  }
  const auto& environment = job->environment();
  runtime::install_crash_handler(environment.rank_dir);
  install_terminate_handler(
      [&environment](const std::exception_ptr& failure) { end_from_any_thread(environment, failure); });
  name_dump_files(environment);
  job->will_join();
  runtime::pulse().watch(false);
  guarded(environment, "spawn", [&] { job->connect(); });
  if (environment.rank == 0)
    guarded(environment, "exception", [&] {
      if (auto prepared = job->prepare_run_dir(); !prepared)
        throw std::runtime_error("the run's folder: " + prepared.error().message());
    });
  runtime::pulse().load(true);
  const auto function = guarded(environment, "load", find);
  runtime::pulse().load(false);
  guarded(environment, "exception", [&] { take_device(environment); });
  guarded(environment, "timeout", [&] { join_process_group(environment); });

  // The agent says so itself for programs that it started by exec.
  if (environment.launch.spec.train_func) job->session()->send(proto::RankRunning{environment.key});
  ::on_exit(on_early_exit, const_cast<runtime::Environment*>(&environment));
  runtime::pulse().watch(true);
  const Config config(environment.launch.spec.train_loop_config);
  const auto return_value = guarded(environment, "exception", [&] {
    nlohmann::json value;
    try {
      value = function(config);
    } catch (const Yielded&) {
      // It has made way: what it would have returned is up to the next attempt.
    }
    // peers may wait for our kernels
    if (get_device().is_cuda()) torch::cuda::synchronize(get_device().index());
    if (const auto fits = runtime::check_payload(
            value, "the value that the training function returned", runtime::kReturnValueBytesMax,
            "write it into a file below get_context().get_trial_dir() and return its path");
        !fits)
      throw std::runtime_error(fits.error().message() + "; " + fits.error().hint());
    return value;
  });

  runtime::pulse().watch(false);
  flush_output();
  if (const auto unread = unread_keys(config);
      environment.rank == 0 && !runtime::yield_point().stopped() && !unread.empty())
    std::fprintf(stderr, "rtrain: warning: %s\n", unread.c_str());
  guarded(environment, "exception", [&] {
    if (auto finished = job->finish(); !finished) throw std::runtime_error(finished.error().message());
    if (auto written = runtime::write_outcome_record(environment.rank_dir, return_value,
                                                     runtime::yield_point().stopped());
        !written)
      throw std::runtime_error(written.error().message());
    if (auto flushed = job->session()->flush(kFlushAfterSuccess); !flushed)
      throw std::runtime_error(flushed.error().message());
  });
  job->leave();
  flush_output();
  ::_exit(0);  // nothing is left to do, and destructors beside running threads could only go wrong
}

void run_rank_of_library(const std::string& library, const std::string& name) {
  run_rank([&] { return load_train_function(library, name); });
}

std::string unread_keys(const Config& config) {
  std::string list;
  for (const auto& [path, nearest] : config.unread()) {
    if (path == "array_index") continue;
    list += (list.empty() ? "" : ", ") + path +
            (nearest.empty() ? "" : " (nearest key that was read: " + nearest + ")");
  }
  return list.empty() ? "" : "train_loop_config: never read: " + list;
}

void warm_up() {
  // One thread: OpenMP must not make its pool before the fork. Forward only: backward would start the threads
  // of autograd.
  const int threads = torch::get_num_threads();
  torch::set_num_threads(1);
  {
    namespace nn = torch::nn;
    const torch::NoGradGuard no_grad;
    const auto images = torch::rand({4, 1, 8, 8});
    const auto features = nn::Conv2d(nn::Conv2dOptions(1, 4, 3))(images).relu().flatten(1);
    const auto logits = nn::Linear(features.size(1), 10)(features);
    (void)nn::functional::cross_entropy(logits, torch::zeros({4}, torch::kLong)).item<float>();
  }
  torch::set_num_threads(threads);
}

std::string torch_version() { return TORCH_VERSION; }

}  // namespace rtrain::sdk
