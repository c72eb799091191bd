// The stack of the process's main thread, taken from another thread while it runs or hangs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::runtime {

/// Takes the real-time signal SIGRTMAX - 6 for samples, unless somebody handles it already: its handler only
/// unwinds, into memory that was made before. @thread the main thread, once; later calls do nothing.
void install_stack_sampler();

struct StackSample {
  std::vector<std::uintptr_t> frames;  ///< innermost first, the handler's own left out
  std::string error;                   ///< why there are none
};
/// Interrupts the main thread for as long as it takes to unwind. A system call that it waits in begins anew
/// (SA_RESTART), or returns EINTR where the kernel begins none anew: poll(), nanosleep().
/// @param limit a thread that does not take the signal in time (it waits for a device or a file server) gives
/// an error. @thread any other than the main thread; one at a time.
[[nodiscard]] StackSample sample_main_thread(std::chrono::milliseconds limit);

/// "gloo::transport::tcp::UnboundBuffer::waitRecv(int*) (libtorch_cpu.so + 0x12f4)", a line a frame. Reads
/// the symbols from the files, and not by the dynamic loader, whose lock the main thread may hold. @thread
/// any.
[[nodiscard]] std::vector<std::string> stack_words(const std::vector<std::uintptr_t>& frames);

}  // namespace rtrain::runtime
