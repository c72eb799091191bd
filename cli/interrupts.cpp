#include "cli/interrupts.h"

#include "common/os/startup.h"

#include <csignal>

namespace rtrain::cli {

Interrupts::Interrupts(boost::asio::io_context& io) : io_(io), signals_(io, SIGPIPE) {
  for (const int signal : os::not_ignored({SIGINT, SIGTERM, SIGHUP})) signals_.add(signal);
  wait();
}

void Interrupts::wait() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    ++count_;
    if (signal_ == 0) signal_ = signal;
    wait();
  });
}

void Interrupts::poll() {
  if (io_.stopped()) io_.restart();
  io_.poll();
}

}  // namespace rtrain::cli
