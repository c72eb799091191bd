#include "daemon/head/clock.h"

#include "common/os/file.h"

namespace rtrain::head {

Clock Clock::real() { return {&std::chrono::steady_clock::now, &os::unix_ms_now}; }

}  // namespace rtrain::head
