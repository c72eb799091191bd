// Plants the fault that RTRAIN_FAULT names, before any test runs.
#include "common/base/fault.h"

#include <cstdio>
#include <cstdlib>

namespace {

const bool planted = [] {
  const char* name = std::getenv("RTRAIN_FAULT");
  if (name == nullptr) return false;
  const auto fault = rtrain::fault::from_name(name);
  if (!fault) {
    std::fprintf(stderr, "RTRAIN_FAULT=%s: there is no such fault\n", name);
    std::_Exit(2);
  }
  rtrain::fault::plant(fault);
  return true;
}();

}  // namespace
