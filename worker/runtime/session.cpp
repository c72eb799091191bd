#include "worker/runtime/session.h"

#include "common/base/duration.h"
#include "common/os/fd.h"
#include "common/os/file.h"
#include "proto/frame/blocking.h"
#include "proto/message/outbox.h"
#include "worker/runtime/block_signals.h"
#include "worker/runtime/lease.h"
#include "worker/runtime/outbox_file.h"
#include "worker/runtime/profile_point.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/rank_snapshot.h"
#include "worker/runtime/record.h"
#include "worker/runtime/stack_sample.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>

namespace rtrain::runtime {
namespace {

using os::Fd;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kDialTimeout{10'000};
constexpr milliseconds kRedialPause{100};
constexpr milliseconds kWriteTimeout{2'000};
constexpr std::size_t kOutboxBytesMax = 64u << 20;

Result<Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(Errc::kInvalidArgument,
                "RTRAIN_AGENT_SOCKET is longer than " + std::to_string(sizeof address.sun_path - 1) +
                    " bytes: " + path,
                "give the agent a state_dir with a shorter path");
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return fail_errno("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(Errc::kUnavailable, "the agent does not answer on " + path + ": " + std::strerror(errno));
  return fd;
}

struct Connection {
  Fd fd;
  proto::Welcome welcome;
};

/// One try: connect, Hello, Welcome.
Result<Connection> dial(const Environment& environment, milliseconds timeout) {
  auto fd = connect_to(environment.agent_socket);
  if (!fd) return fd.error();
  proto::Hello hello;
  hello.role = "worker";
  hello.token = environment.secret;
  hello.rank = environment.key;
  hello.pid = ::getpid();
  if (auto sent = proto::write_frame(fd->get(), proto::encode(hello), timeout); !sent)
    return sent.error().in("hello to the agent");
  auto frame = proto::read_frame(fd->get(), proto::kHandshakeLimits, timeout);
  if (!frame) return frame.error().in("the agent's welcome");
  auto message = proto::decode(*frame);
  if (!message) return message.error().in("the agent's welcome");
  if (const auto* refused = std::get_if<proto::Refused>(&*message))
    return fail(Errc::kConflict, "the agent refused this worker: " + refused->message);
  const auto* welcome = std::get_if<proto::Welcome>(&*message);
  if (welcome == nullptr)
    return fail(Errc::kProtocol,
                "the agent answered hello with " + std::string(proto::message_name(*message)));
  return Connection{std::move(*fd), *welcome};
}

milliseconds lease_of(double seconds) { return to_milliseconds(std::max(0.05, seconds)); }

milliseconds hang_timeout_of(const proto::JobSpec& spec) {
  return to_milliseconds(std::clamp(spec.hang_timeout_s(), 0.01, 1e9));
}

/// The end of this process group. A rank that may run elsewhere by now must not touch the job's storage any
/// more.
[[noreturn]] void end_process_group(const Environment& environment, const std::string& why) {
  const std::string line = "rtrain: " + why + "; this rank ends itself\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
  (void)write_error_record(environment.rank_dir, {"lease", why, {}});
  ::kill(0, SIGKILL);
  ::_exit(128 + SIGKILL);
}

}  // namespace

struct Session::Impl {
  Impl(Environment env, Connection connection, OnYield yield, OnValidated validated, OnPins pins)
      : environment(std::move(env)),
        on_yield(std::move(yield)),
        on_validated(std::move(validated)),
        on_pins(std::move(pins)),
        socket(std::move(connection.fd)),
        lease(Clock::now(), lease_of(connection.welcome.lease_s)),
        outbox_file(environment.rank_dir),
        hang_timeout(hang_timeout_of(environment.launch.spec)),
        watch(Clock::now(), hang_timeout, environment.launch.spec.run_config.hang_timeout_s.has_value()),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        debug([this] { ring(); }) {}

  const Environment environment;
  // The thread's own:
  OnYield on_yield;
  OnValidated on_validated;
  OnPins on_pins;
  Fd socket;
  Lease lease;
  Clock::time_point next_dial{};
  OutboxFile outbox_file;
  milliseconds hang_timeout;
  HangWatch watch;
  // Shared:
  Fd wake;
  std::mutex mutex;
  std::condition_variable moved;  ///< something was written, stored, or the connection ended
  proto::Outbox outbox{kOutboxBytesMax};
  std::optional<proto::Frame> progress;  ///< the newest that was not sent
  std::int64_t in_file_through = 0;      ///< numbers of the outbox that stand in the file
  std::int64_t reported_dropped = 0;     ///< with the last report
  bool connected = true, writing = false, file_ok = true;
  bool stopping = false;
  DebugAnswers debug;  // after wake
  std::thread thread;

  void ring() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake.get(), &one, sizeof one);
  }

  void run() {
    for (;;) {
      {
        const std::lock_guard lock(mutex);
        if (stopping) return;
      }
      write_down();
      if (!socket.is_open()) redial();
      if (socket.is_open()) write_waiting();
      wait();
      look_for_hang();
      if (const auto late = profile_point().expire(Clock::now())) answer_profile(*late);
      for (auto& answer : debug.take()) {
        const std::lock_guard lock(mutex);
        outbox.push(answer);
      }
      if (lease.expired(Clock::now()))
        end_process_group(
            environment, "the lease of rank " + std::to_string(environment.rank) +
                             " has expired: its agent did not renew it, or could not because it had no head");
    }
  }

  void look_for_hang() {
    auto word = watch.look(pulse().read(), Clock::now());
    if (!word) return;
    word->key = environment.key;
    const std::lock_guard lock(mutex);
    outbox.push(*word);
  }

  void answer_profile(const ProfilePoint::Refusal& refusal) {
    const std::lock_guard lock(mutex);
    outbox.push(proto::RankProfile{environment.key, refusal.number, 0, {}, refusal.why});
  }

  void redial() {
    if (Clock::now() < next_dial) return;
    auto connection = dial(environment, std::min(kWriteTimeout, lease.length() / 4));
    if (connection) {
      socket = std::move(connection->fd);
      heard(connection->welcome);
      const std::lock_guard lock(mutex);
      connected = true;
    } else if (connection.error().code() == Errc::kConflict) {
      end_process_group(environment, connection.error().message());
    } else {
      next_dial = Clock::now() + kRedialPause;
    }
  }

  void heard(const proto::Message& message) {
    if (const auto* taken = std::get_if<proto::Taken>(&message)) {
      const std::lock_guard lock(mutex);
      outbox.taken(taken->count);
      moved.notify_all();
    }
    if (const auto* yield = std::get_if<proto::YieldAttempt>(&message); yield != nullptr && on_yield)
      std::exchange(on_yield, {})(*yield);
    if (const auto* told = std::get_if<proto::CheckpointValidated>(&message);
        told != nullptr && on_validated && told->attempt == environment.key.attempt)
      on_validated(told->checkpoint);
    if (const auto* pins = std::get_if<proto::CheckpointPins>(&message);
        pins != nullptr && on_pins && pins->attempt == environment.key.attempt)
      on_pins(pins->paths);
    if (const auto* profile = std::get_if<proto::ProfileRanks>(&message))
      if (const auto refusal = profile_point().ask(
              {profile->request, profile->steps, Clock::now() + to_milliseconds(profile->timeout_s)},
              Clock::now()))
        answer_profile(*refusal);
    if (const auto* asked = std::get_if<proto::DebugRanks>(&message))
      debug.ask(environment.key, asked->request);
    if (const auto* welcome = std::get_if<proto::Welcome>(&message))
      lease.renew(Clock::now(), lease_of(welcome->lease_s));
    if (const auto* beat = std::get_if<proto::Heartbeat>(&message))
      lease.renew(Clock::now(), beat->lease_s ? lease_of(*beat->lease_s) : lease.length());
    if (const auto* refused = std::get_if<proto::Refused>(&message))
      end_process_group(environment, "the agent refused this worker: " + refused->message);
  }

  /// What is new goes into the file, outside the lock: send() never waits for a disk.
  void write_down() {
    for (;;) {
      std::string json;
      std::int64_t number = 0;
      {
        const std::lock_guard lock(mutex);
        file_ok = outbox_file.ok();
        const auto next = outbox.first_after(in_file_through);
        if (next.frame == nullptr || !file_ok) {
          in_file_through = outbox.last_number();
          moved.notify_all();
          break;
        }
        number = next.number;
        json = next.frame->json;
      }
      outbox_file.append(json);
      const std::lock_guard lock(mutex);
      in_file_through = number;
    }
    std::string kept;
    {
      const std::lock_guard lock(mutex);
      if (!outbox_file.wants_rewrite(outbox.bytes())) return;
      for (auto item = outbox.first_after(0); item.frame != nullptr && item.number <= in_file_through;
           item = outbox.first_after(item.number))
        kept += item.frame->json + "\n";
    }
    outbox_file.rewrite(kept);
  }

  /// Writes outside the lock: send() never waits for the agent.
  void write_waiting() {
    for (;;) {
      proto::Frame frame;
      bool kept = true;
      {
        const std::lock_guard lock(mutex);
        if (const auto* next = outbox.next()) {
          frame = *next;
          outbox.sent();  // if it does not arrive, the next connection brings it
        } else if (progress) {
          frame = *progress;
          kept = false;
        } else {
          moved.notify_all();
          return;
        }
        writing = true;
      }
      const bool written =
          proto::write_frame(socket.get(), frame, std::min(kWriteTimeout, lease.length() / 2)).has_value();
      const std::lock_guard lock(mutex);
      writing = false;
      if (!written) return lose_connection();
      if (!kept && progress && progress->json == frame.json) progress.reset();
    }
  }

  /// With the lock held.
  void lose_connection() {
    socket.reset();
    next_dial = Clock::now() + kRedialPause;
    connected = false;
    outbox.disconnected();
    moved.notify_all();
  }

  /// Until something arrives, something is to be sent, or it is time to look at the lease.
  void wait() {
    pollfd watched[] = {{wake.get(), POLLIN, 0}, {socket.get(), POLLIN, 0}};
    const auto pause = socket.is_open()
                           ? std::clamp<milliseconds>(std::min(lease.length() / 10, hang_timeout / 8),
                                                      milliseconds(10), milliseconds(500))
                           : kRedialPause / 2;
    if (::poll(watched, socket.is_open() ? 2 : 1, static_cast<int>(pause.count())) <= 0) return;
    std::uint64_t rings = 0;
    [[maybe_unused]] const auto got = ::read(wake.get(), &rings, sizeof rings);
    if (!socket.is_open() || (watched[1].revents & (POLLIN | POLLHUP | POLLERR)) == 0) return;
    auto frame = proto::read_frame(socket.get(), {}, std::min(kWriteTimeout, lease.length() / 4));
    auto message = frame ? proto::decode(*frame) : Result<proto::Message>(frame.error());
    if (message) return heard(*message);
    const std::lock_guard lock(mutex);
    lose_connection();
  }
};

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Session>> Session::open(const Environment& environment, OnYield on_yield,
                                               OnValidated on_validated, OnPins on_pins) {
  const auto deadline = Clock::now() + kDialTimeout;
  auto connection = dial(environment, kDialTimeout);
  while (!connection && connection.error().code() == Errc::kUnavailable && Clock::now() < deadline) {
    ::poll(nullptr, 0, 10);
    connection = dial(environment, std::chrono::ceil<milliseconds>(deadline - Clock::now()));
  }
  if (!connection) return connection.error();
  auto impl = std::make_unique<Impl>(environment, std::move(*connection), std::move(on_yield),
                                     std::move(on_validated), std::move(on_pins));
  if (!impl->wake.is_open()) return fail_errno("eventfd", errno);
  install_stack_sampler();
  impl->thread = std::thread([raw = impl.get()] {
    block_signals();
    raw->run();
  });
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

Session::~Session() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->ring();
  impl_->thread.join();
}

void Session::send(proto::Message message) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (auto* report = std::get_if<proto::RankReport>(&message)) {
      report->dropped = impl_->outbox.dropped();
      if (report->dropped > 0 && impl_->reported_dropped == 0)
        std::fprintf(
            stderr,
            "rtrain: reports arrive faster than the agent accepts them: the oldest without a checkpoint "
            "are dropped\n");
      impl_->reported_dropped = report->dropped;
    }
    if (std::holds_alternative<proto::RankProgress>(message))
      impl_->progress = proto::encode(message);
    else
      impl_->outbox.push(message);
  }
  impl_->ring();
}

Result<Done> Session::flush(milliseconds timeout) {
  std::unique_lock lock(impl_->mutex);
  const auto in_file = [&] {
    return impl_->file_ok && impl_->in_file_through >= impl_->outbox.last_number();
  };
  const auto written = [&] {
    return impl_->connected && !impl_->writing && impl_->outbox.next() == nullptr && !impl_->progress;
  };
  if (impl_->moved.wait_for(lock, timeout, [&] { return written() || (in_file() && !impl_->connected); }) ||
      in_file())
    return ok();
  return fail(Errc::kTimeout,
              "the agent did not acknowledge all reports within " + std::to_string(timeout.count()) + " ms");
}

bool Session::wait_stored(milliseconds timeout) {
  std::unique_lock lock(impl_->mutex);
  return impl_->moved.wait_for(lock, timeout,
                               [&] { return impl_->outbox.settled() == impl_->outbox.last_number(); });
}

}  // namespace rtrain::runtime
