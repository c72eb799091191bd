// rtrain-keeper: the supervisor of `command` jobs. Each rank is an exec of the user's program.
#include "common/log/log.h"
#include "common/os/elf.h"
#include "common/os/file.h"
#include "proto/record/rank_files.h"
#include "worker/supervision/start_error.h"
#include "worker/supervision/supervisor.h"

#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

namespace {

using namespace rtrain;

/// A program that writes nothing there may run where the storage cannot be reached: it is told, not ended.
void make_run_dir() {
  const char* dir = std::getenv("RTRAIN_RUN_DIR");
  if (dir == nullptr) return;
  if (const auto made = os::make_dirs(dir); !made)
    std::cerr << "rtrain: RTRAIN_RUN_DIR cannot be made: " << made.error().message() << std::endl;
}

/// Becomes the program. Comes back only when it cannot.
int exec_program(const proto::SpawnRank& spawn) {
  make_run_dir();
  std::vector<char*> argv;
  for (const auto& argument : spawn.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const char* path = std::getenv("PATH");  // of the rank's own environment, as execvp() searches it
  const auto found = supervision::find_program(spawn.argv[0], path != nullptr ? path : "/bin:/usr/bin");
  const auto& program = found.empty() ? spawn.argv[0] : found;
  // A text without #! is given to the shell by execvp(); a program for another machine must not be.
  if (!found.empty()) ::execv(found.c_str(), argv.data());
  int why = errno;
  if (found.empty() || (why == ENOEXEC && !os::read_elf(found))) {
    ::execvp(argv[0], argv.data());
    why = errno;
  }
  const auto error = supervision::explain_exec(why, spawn, program);
  std::cerr << error.message << std::endl;
  if (auto written = proto::write_error(spawn.rank_dir, {error.kind, error.message, {}}); !written)
    std::cerr << written.error().message() << std::endl;
  return 127;
}

/// For the bundle's with-torch, before it starts a program with LibTorch: the dynamic loader ends a program
/// with SIGBUS, without a word, where a library is cut off.
int check_libraries(const std::vector<std::string>& files) {
  for (const auto& file : files)
    if (const auto damage = os::why_damaged(file); !damage.empty()) {
      std::cout << damage << std::endl;
      return 1;
    }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::cout << "rtrain-keeper " << RTRAIN_VERSION << "\n";
    return 0;
  }
  if (argc >= 2 && std::string_view(argv[1]) == "--check-libraries")
    return check_libraries({argv + 2, argv + argc});
  if (argc != 3 || std::string_view(argv[1]) != "--socket") {
    std::cerr
        << "usage: rtrain-keeper --socket PATH             supervise the ranks of command jobs (the agent "
           "starts this itself)\n"
           "       rtrain-keeper --check-libraries FILE...  print the first shared library that is not "
           "whole, "
           "and exit with status 1\n"
           "       rtrain-keeper --version\n";
    return 2;
  }
  log::init("keeper", log::Level::kInfo);
  return supervision::supervise({"keeper", argv[2], "", true}, exec_program);
}
