// Threads that get no signals.
#pragma once

#include <csignal>

namespace rtrain::runtime {

/// To call first in a thread of rtrain's own: signals are for the training thread.
inline void block_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace rtrain::runtime
