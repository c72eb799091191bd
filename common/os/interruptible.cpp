#include "common/os/interruptible.h"

#include "common/os/startup.h"

#include <array>
#include <atomic>
#include <csignal>

namespace rtrain::os {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

std::atomic<int> came{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a signal handler writes it
std::array<struct sigaction, kSignals.size()> replaced;

extern "C" void note_signal(int signal) {
  int none = 0;
  came.compare_exchange_strong(none, signal);
}

}  // namespace

Interruptible::Interruptible() {
  came = 0;
  struct sigaction action {};
  action.sa_handler = note_signal;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    const bool ignored = not_ignored({kSignals[i]}).empty();
    ::sigaction(kSignals[i], ignored ? nullptr : &action, &replaced[i]);
  }
}

Interruptible::~Interruptible() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &replaced[i], nullptr);
  came = 0;
}

int Interruptible::signal() noexcept { return came.load(std::memory_order_relaxed); }

}  // namespace rtrain::os
