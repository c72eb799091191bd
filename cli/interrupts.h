// Ctrl-C and its kin, noticed while an io_context runs.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

namespace rtrain::cli {

/// From construction on SIGINT, SIGTERM, SIGHUP and SIGPIPE no longer end the process: they are counted. The
/// first three stay ignored where they were at the start (nohup). Handlers, not SIG_IGN: a program that this
/// process starts gets the defaults back.
class Interrupts {
 public:
  explicit Interrupts(boost::asio::io_context& io);
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  [[nodiscard]] int count() const { return count_; }
  /// The first signal that came; 0 none.
  [[nodiscard]] int signal() const { return signal_; }
  /// Looks for signals that came while nobody ran the io_context.
  void poll();

 private:
  void wait();
  boost::asio::io_context& io_;
  boost::asio::signal_set signals_;
  int count_ = 0, signal_ = 0;
};

}  // namespace rtrain::cli
