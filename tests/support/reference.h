// Values to compare with, computed by the torch wheel's own Python while the test runs.
#pragma once

#include "tests/support/catch.h"

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace rtrain::test {

/// Runs tests/reference/<script> with `folder` as its argument; it leaves its values there.
/// False, after a warning that says why, when there is nothing to compare with: no Python beside LibTorch, or
/// the script ended with 77 because a package is missing. Any other failure of the script fails the test.
inline bool make_reference(const std::string& script, const std::filesystem::path& folder) {
  const std::string python = RTRAIN_TORCH_PYTHON;
  if (python.empty() || !std::filesystem::exists(python)) {
    WARN("skipped: this LibTorch has no Python beside it to compute reference values");
    return false;
  }
  const auto output = folder / (script + ".log");
  const auto command = "PYTHONDONTWRITEBYTECODE=1 '" + python + "' '" + RTRAIN_SOURCE_DIR +
                       "/tests/reference/" + script + "' '" + folder.string() + "' >'" + output.string() +
                       "' 2>&1";
  const int status = std::system(command.c_str());
  std::ifstream in(output);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    WARN("skipped: " << text);
    return false;
  }
  INFO(script << " said:\n" << text);
  REQUIRE(status == 0);
  return true;
}

}  // namespace rtrain::test
