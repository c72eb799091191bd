// Training functions that crash, bring what cannot be taken, and leave each other alone. Loaded by the
// workers of worker_faults.py.
#include <rtrain/rtrain.h>

#include <c10/util/Exception.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using rtrain::Config;

int rank() { return rtrain::get_context().get_world_rank(); }

rtrain::Checkpoint folder_of(const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / ("rank-" + std::to_string(rank()))) << "x";
  return rtrain::Checkpoint(folder);
}

[[gnu::noinline]] void innermost_of_the_user(volatile int* place) { *place = 1; }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"  // on purpose
[[gnu::noinline]] int without_end(volatile int* counter) {
  volatile char room[4096];
  room[0] = static_cast<char>(*counter);
  *counter = *counter + 1;
  return without_end(counter) + room[0];
}
#pragma GCC diagnostic pop

/// As a destructor that throws.
void throw_late() {
  throw c10::AcceleratorError({"free", "CachingHostAllocator.cpp", 1}, 710,
                              "CUDA error: device-side assert triggered");
}

void crash(const Config& config) {
  const auto how = config.at<std::string>("how");
  std::cout << "now: " << how << std::endl;
  if (how == "segv") innermost_of_the_user(reinterpret_cast<volatile int*>(16));
  if (how == "stack") {
    int counter = 0;
    (void)without_end(&counter);
  }
  if (how == "abort") std::abort();
  if (how == "terminate") std::thread([] { throw std::runtime_error("in another thread"); }).join();
  // As c10d's watchdog: it quotes the error that it met, stack and all, and throws out of its thread.
  const auto thread_throws = [](const std::string& text) {
    std::thread([text] {
      C10_THROW_ERROR(
          DistBackendError,
          "[PG ID 0 PG GUID 0 Rank 0] Process group watchdog thread terminated with exception: " + text);
    }).join();
  };
  const std::string stack =
      "\nException raised from checkTimeout at ProcessGroupNCCL.cpp:760 (most recent call first):\nframe #0: "
      "...";
  if (how == "watchdog_timeout")
    thread_throws("[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)" + stack);
  if (how == "watchdog_assert") thread_throws("CUDA error: device-side assert triggered" + stack);
  if (how == "watchdog_ecc") thread_throws("CUDA error: uncorrectable ECC error encountered" + stack);
  if (how == "freed_late") []() noexcept { throw_late(); }();
  if (how == "ecc")
    throw c10::AcceleratorError({"launch", "CUDAException.cpp", 1}, 214,
                                "CUDA error: a text of a newer driver");
  if (how == "overwritten") {  // as a build that writes over the library of a running rank
    const auto own = config.at<std::string>("library");
    std::ofstream(own, std::ios::app) << "more";
    innermost_of_the_user(reinterpret_cast<volatile int*>(16));
  }
}

nlohmann::json give_back(const Config& config) { return std::string(config.at<std::size_t>("bytes"), 'x'); }
void throw_much(const Config& config) {
  throw std::runtime_error("the cause; " + std::string(config.at<std::size_t>("bytes"), 'x'));
}

/// What is refused is told and costs nothing more; what follows is stored.
nlohmann::json report_too_much(const Config&) {
  auto refused = nlohmann::json::array();
  const auto attempt = [&](const nlohmann::json& metrics,
                           const std::optional<rtrain::Checkpoint>& checkpoint) {
    try {
      rtrain::report(metrics, checkpoint);
      refused.push_back("");
    } catch (const std::invalid_argument& error) {
      refused.push_back(error.what());
    }
  };
  const auto run = rtrain::get_context().get_trial_dir();
  attempt({{"text", std::string(5u << 20, 'x')}}, std::nullopt);
  attempt({{"i", 0}}, rtrain::Checkpoint(run));
  attempt({{"i", 0}}, rtrain::Checkpoint(run.parent_path()));
  attempt({{"i", 1}}, folder_of(run / "mine"));
  attempt({{"i", 2}}, rtrain::get_checkpoint());
  rtrain::report({{"i", 3}});
  return refused;
}

/// Rank 0 returns; the others bring a checkpoint that it never brings.
void leave_the_others(const Config&) {
  if (rank() != 0) rtrain::report({{"i", 1}}, folder_of(rtrain::get_context().get_trial_dir() / "mine"));
}

nlohmann::json environment(const Config& config) {
  auto found = nlohmann::json::object();
  for (const auto& name : config.at<std::vector<std::string>>("names"))
    found[name] = std::getenv(name.c_str()) != nullptr ? std::getenv(name.c_str()) : "";
  std::ifstream maps("/proc/self/maps");
  const std::string text{std::istreambuf_iterator<char>(maps), {}};
  found["preloaded"] = text.find(config.value("preload", std::string("nothing"))) != std::string::npos;
  return found;
}

}  // namespace

RTRAIN_TRAIN_FUNCTION(crash);
RTRAIN_TRAIN_FUNCTION(give_back);
RTRAIN_TRAIN_FUNCTION(throw_much);
RTRAIN_TRAIN_FUNCTION(report_too_much);
RTRAIN_TRAIN_FUNCTION(leave_the_others);
RTRAIN_TRAIN_FUNCTION(environment);
