// One supervisor (zygote or keeper): its process, its connection, and what waits for it.
#pragma once

#include "common/async/gate.h"
#include "common/os/process.h"
#include "proto/frame/wire.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <deque>
#include <functional>

namespace rtrain::agent {

/// @thread the agent's.
class SupervisorProcess {
 public:
  struct Options {
    std::string role;  ///< zygote | keeper
    std::string program;
    std::string socket;            ///< of the agent
    std::string secret;            ///< told to the process in RTRAIN_SECRET, shown again in its Hello
    bool ends_with_agent = false;  ///< it and its ranks end as soon as this process does, however that ends
  };
  struct Callbacks {
    std::function<void(const os::ProcessIdentity&)> started;  ///< a new process; nothing was sent to it yet
    /// the process is gone without having been asked
    std::function<void()> died;
  };
  SupervisorProcess(net::asio::any_io_executor executor, Options options, Callbacks callbacks);

  /// Starts the process unless it runs. kNotFound, kIo name the program.
  [[nodiscard]] Result<Done> start();
  /// Takes up the process that an earlier agent started, if it still runs; it dials within 200 ms. False: it
  /// does not run.
  [[nodiscard]] bool adopt(const os::ProcessIdentity& process);
  /// Its Hello arrived.
  void attach(std::shared_ptr<net::FrameStream> stream, const proto::Hello& hello, double lease_s);
  void detach(const net::FrameStream& stream);
  /// Whatever connection there was is not used any more: messages wait for attach().
  void await_hello() { stream_.reset(); }
  /// Queued until the process has said Hello.
  void send(proto::Message message);
  /// One that was started or taken up and does not dial is killed after 60 s. To call a few times a second.
  void tick();
  /// So many processes in a row may end before they have spoken; then what waits for them is given up.
  /// Another start is tried later.
  static constexpr int kSilentDeathsMax = 3;
  /// Before the next start: 1 s, 1 s, 2 s, 4 s, ... 60 s.
  [[nodiscard]] std::chrono::seconds restart_pause() const { return restart_pause(silent_deaths_); }
  [[nodiscard]] static std::chrono::seconds restart_pause(int silent_deaths);
  /// A sentence, when so many have ended; else "".
  [[nodiscard]] std::string why_unusable() const;
  /// Its lease, from now.
  void heartbeat(double lease_s);
  /// Takes back a rank that still waits to be spawned.
  [[nodiscard]] bool withdraw(const proto::RankKey& key);
  /// True for a rank that waits for the process to say Hello; one that was sent is not here any more.
  [[nodiscard]] bool holds(const proto::RankKey& key) const;
  /// SIGTERM, after 3 s SIGKILL; returns when the process is gone.
  net::asio::awaitable<void> async_stop();

  [[nodiscard]] bool connected() const { return stream_ != nullptr; }
  [[nodiscard]] bool running() const { return pid_ > 0; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& torch_version() const { return torch_version_; }
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  void watch(int pidfd, pid_t pid);
  void signal(int number);
  net::asio::awaitable<void> async_watch();

  net::asio::any_io_executor executor_;
  Options options_;
  Callbacks callbacks_;
  async::Gate gate_;
  net::asio::posix::stream_descriptor pidfd_;
  pid_t pid_ = 0;
  std::shared_ptr<net::FrameStream> stream_;
  std::deque<proto::Message> waiting_;
  std::string torch_version_;
  std::chrono::steady_clock::time_point since_;  ///< it was started or taken up
  bool spoke_ = false;                           ///< since then
  int silent_deaths_ = 0;                        ///< in a row
  std::string last_end_;
  bool stopping_ = false;
};

}  // namespace rtrain::agent
