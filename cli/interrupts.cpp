#include "cli/interrupts.h"

#include <csignal>

namespace rtrain::cli {

Interrupts::Interrupts(boost::asio::io_context& io) : io_(io), signals_(io, SIGINT, SIGTERM, SIGHUP) {
  signals_.add(SIGPIPE);
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
