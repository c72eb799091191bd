// What a rank leaves when a signal of its own making ends it: the place, the stack as bare addresses, and the
// map to read them by. Its supervisor makes words of them (worker/supervision/crash_report.h), in a process
// that is whole.
#pragma once

#include <string>

namespace rtrain::runtime {

/// From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write <rank_dir>/crash before they end the process
/// as they would have: the same signal, the same core dump. Only what is safe in a handler is done there, on
/// a stack of its own for this thread (a stack that overflowed is told of, too; another thread's is not). A
/// signal that somebody has handled already stays theirs; children that the rank forks are left alone. What
/// hangs for 10 s is given up.
/// @thread once, the training thread.
void install_crash_handler(const std::string& rank_dir);
/// The training library as it is on the disk now, to be told apart from what lies there at the crash.
void note_training_library(const std::string& path);

}  // namespace rtrain::runtime
