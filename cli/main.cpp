#include "cli/verb.h"
#include "common/os/startup.h"

#include <cstdlib>

int main(int argc, char** argv) {
  rtrain::os::settle_process();
  const std::vector<std::string> args(argv + 1, argv + argc);
  return rtrain::cli::run_program(args, [](const char* name) { return std::getenv(name); });
}
