// rtrain-worker: LibTorch loaded once, a ready worker forked for each rank.
#include "proto/record/rank_files.h"
#include "worker/sdk/probe.h"
#include "worker/sdk/rank_main.h"
#include "worker/supervision/device_links.h"
#include "worker/supervision/load_time.h"
#include "worker/supervision/start_error.h"
#include "worker/supervision/supervisor.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

using namespace rtrain;

constexpr const char* kUsage =
    "usage: rtrain-worker --zygote --socket PATH   serve the agent that listens on PATH (the agent starts "
    "this itself)\n"
    "       rtrain-worker --rank LIBRARY NAME         run a rank in the environment that the zygote made for "
    "it\n"
    "       rtrain-worker --probe                     what rtrain doctor wants to know, one JSON line each\n"
    "       rtrain-worker --version\n";

/// A fork copies one thread: others would leave their locks held in every rank.
std::size_t thread_count() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

supervision::VariableMap environment() {
  supervision::VariableMap variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (const std::string text = *variable; text.find('=') != std::string::npos)
      variables[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  return variables;
}

/// Loads this program anew in the rank's process, for what is read at load. Comes back only when it cannot.
int load_anew(const proto::SpawnRank& spawn, const std::string& library_path) {
  if (!library_path.empty()) ::setenv("LD_LIBRARY_PATH", library_path.c_str(), 1);
  std::vector<std::string> words{"rtrain-worker", "--rank", spawn.train_func->library,
                                 spawn.train_func->name};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv("/proc/self/exe", argv.data());
  const auto error = supervision::explain_exec(errno, spawn, "rtrain-worker with the variables of the job");
  std::cerr << error.message << std::endl;
  if (auto written = proto::write_error(spawn.rank_dir, {error.kind, error.message, {}}); !written)
    std::cerr << written.error().message() << std::endl;
  return 127;
}

int serve(const std::string& socket) {
  const auto loaded = environment();
  rtrain::sdk::warm_up();
  if (const auto threads = thread_count(); threads != 1) {
    std::cerr << "rtrain-worker: " << threads
              << " threads run after LibTorch was loaded; ranks can only be forked from one\n";
    return 1;
  }
  if (const auto files = supervision::open_gpu_files(); !files.empty()) {
    std::cerr << "rtrain-worker: " << files.front()
              << " is open after LibTorch was loaded: something has started CUDA, which cannot work in ranks "
                 "forked from this process (look for LD_PRELOAD and for variables of CUDA in the agent's "
                 "environment)\n";
    return 1;
  }
  return rtrain::supervision::supervise(
      {.role = "zygote", .socket = socket, .torch_version = rtrain::sdk::torch_version()},
      [&loaded](const proto::SpawnRank& spawn) -> int {
        if (!supervision::read_too_early(spawn.env, loaded).empty())
          return load_anew(spawn, supervision::library_path(spawn.env, loaded));
        sdk::run_rank_of_library(spawn.train_func->library, spawn.train_func->name);
      });
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "--version") {
    std::cout << "rtrain-worker " RTRAIN_VERSION " (LibTorch " << rtrain::sdk::torch_version() << ")\n";
    return 0;
  }
  if (arguments.size() == 3 && arguments[0] == "--zygote" && arguments[1] == "--socket")
    return serve(arguments[2]);
  if (arguments.size() == 3 && arguments[0] == "--rank") sdk::run_rank_of_library(arguments[1], arguments[2]);
  if (arguments.size() == 1 && arguments[0] == "--probe") {
    rtrain::sdk::probe([](const std::string& line) { std::cout << line << std::endl; });
    std::_Exit(0);  // what a driver has to tidy up is not waited for
  }
  std::cerr << kUsage;
  return 2;
}
