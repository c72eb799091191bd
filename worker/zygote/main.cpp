// rtrain-worker: LibTorch loaded once, a ready worker forked for each rank.
#include "worker/sdk/rank_main.h"
#include "worker/supervision/supervisor.h"

#include <filesystem>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr const char* kUsage =
    "usage: rtrain-worker --zygote --socket PATH   serve the agent that listens on PATH (the agent starts this itself)\n"
    "       rtrain-worker --version\n";

/// A fork copies one thread: others would leave their locks held in every rank.
std::size_t thread_count() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

int serve(const std::string& socket) {
  rtrain::sdk::warm_up();
  if (const auto threads = thread_count(); threads != 1) {
    std::cerr << "rtrain-worker: " << threads << " threads run after LibTorch was loaded; ranks can only be forked from one\n";
    return 1;
  }
  return rtrain::supervision::supervise(
      {.role = "zygote", .socket = socket, .torch_version = rtrain::sdk::torch_version()},
      [](const rtrain::proto::SpawnRank& spawn) -> int { rtrain::sdk::run_rank_of_library(spawn.train_func->library, spawn.train_func->name); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "--version") {
    std::cout << "rtrain-worker " RTRAIN_VERSION " (LibTorch " << rtrain::sdk::torch_version() << ")\n";
    return 0;
  }
  if (arguments.size() == 3 && arguments[0] == "--zygote" && arguments[1] == "--socket") return serve(arguments[2]);
  std::cerr << kUsage;
  return 2;
}
