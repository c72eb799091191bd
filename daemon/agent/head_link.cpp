#include "daemon/agent/head_link.h"

#include "common/base/duration.h"
#include "common/log/log.h"
#include "daemon/agent/rank_lease.h"

#include <random>

namespace rtrain::agent {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::size_t kAheadMax = 4u << 20;  // in the connection's queue; the rest waits in the outbox

}  // namespace

asio::awaitable<void> HeadLink::async_run() {
  std::mt19937_64 random{std::random_device{}()};
  int failures = 0;
  while (!stopping_) {
    auto ended = co_await async_connect_once();
    if (stopping_) break;
    if (ended)
      failures = 0;
    else if (failures++ == 0 || failures % 30 == 0)
      log::warn("no connection to the head", {{"head", to_string(head_)},
                                              {"cause", ended.error().message()},
                                              {"tries", std::to_string(failures)}});
    const double uniform = std::uniform_real_distribution<double>(0, 1)(random);
    auto pause = async::backoff(failures, 100ms, 2000ms, uniform);
    const auto until = std::chrono::steady_clock::now() + pause;
    while (!stopping_ && std::chrono::steady_clock::now() < until)
      co_await async::async_sleep(std::min<std::chrono::milliseconds>(pause, 50ms));
  }
}

/// Ok: there was a connection and it ended.
asio::awaitable<Result<Done>> HeadLink::async_connect_once() {
  auto socket = co_await net::async_connect(head_, 5000ms);
  if (!socket) co_return socket.error();
  if (stopping_) co_return ok();
  if (auto trusted = callbacks_.trusts(*socket); !trusted) co_return trusted.error();
  const std::string local = net::local_address(*socket);
  auto stream = proto::make_stream(std::move(*socket));
  dialling_ = stream;
  const auto greeted = std::chrono::steady_clock::now();
  proto::send(*stream, callbacks_.hello(local));
  auto answer = co_await proto::async_read_message(stream, 10s);
  dialling_.reset();
  if (!answer) co_return answer.error();
  if (const auto* refused = std::get_if<proto::Refused>(&*answer))
    co_return fail(errc_from_string(refused->code), "the head refused this agent: " + refused->message);
  const auto* welcome = std::get_if<proto::Welcome>(&*answer);
  if (welcome == nullptr)
    co_return fail(Errc::kProtocol, "the head answered with " + std::string(proto::message_name(*answer)));
  proto::accept_peer(*stream, proto::kFromHeadLimits);
  lease_ = to_milliseconds(welcome->lease_s);
  heartbeat_ = to_milliseconds(welcome->heartbeat_s);
  grant(greeted);
  stream_ = stream;
  log::info("connected to the head", {{"head", to_string(head_)}, {"address", local}});
  callbacks_.connected();
  pump();
  while (true) {
    auto message = co_await proto::async_read_message(stream);
    if (!message) {
      if (!stopping_) log::warn("the connection to the head ended", {{"cause", message.error().message()}});
      break;
    }
    if (const auto* taken = std::get_if<proto::Taken>(&*message)) {
      outbox_.taken(taken->count);
      callbacks_.settled(outbox_.settled());
    } else if (!std::holds_alternative<proto::Heartbeat>(*message)) {
      callbacks_.message(std::move(*message));
    } else if (!beats_.empty()) {
      grant(beats_.front());
      beats_.pop_front();
    }
  }
  stream->close();
  stream_.reset();
  beats_.clear();
  outbox_.disconnected();
  co_return ok();
}

std::int64_t HeadLink::send(const proto::Message& message) {
  if (std::holds_alternative<proto::RankProgress>(message) ||
      std::holds_alternative<proto::LogData>(message)) {
    if (stream_) proto::send(*stream_, message);
    return 0;
  }
  const auto dropped_before = outbox_.dropped();
  const auto number = outbox_.push(message);
  if (outbox_.dropped() > dropped_before)
    log::warn("the head is away too long: reports are dropped",
              {{"reports", std::to_string(outbox_.dropped())}});
  pump();
  return number;
}

void HeadLink::grant(std::chrono::steady_clock::time_point from) {
  granted_ = from;
  lease_held_ = true;
  callbacks_.granted({from, lease_});
}

void HeadLink::resume(const std::optional<LeaseFile::Grant>& grant) {
  if (grant) {
    granted_ = grant->from;
    lease_ = grant->length;
  }
  lease_held_ = true;  // without one tick() sees at once that it is over
}

/// As much as the connection takes without piling up.
void HeadLink::pump() {
  while (stream_ && stream_->queued_bytes() < kAheadMax) {
    const auto* frame = outbox_.next();
    if (frame == nullptr || !stream_->send({frame->json, frame->body})) return;
    outbox_.sent();
  }
}

void HeadLink::tick() {
  const auto now = std::chrono::steady_clock::now();
  pump();
  if (stream_ && now >= next_heartbeat_ && proto::send(*stream_, proto::Heartbeat{})) {
    beats_.push_back(now);
    next_heartbeat_ = now + heartbeat_;
  }
  // A connection on which no answer comes may be a machine that is gone: dialled again while there is time.
  if (stream_ && now - granted_ >= std::max(lease_ / 3, 3 * heartbeat_)) stream_->close();
  if (!lease_held_ || now - granted_ < lease_) return;
  lease_held_ = false;
  log::warn("the lease from the head ran out");
  callbacks_.lease_lost();
}

std::chrono::milliseconds HeadLink::rank_lease(std::chrono::milliseconds longest) const {
  if (!lease_held_) return longest;
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now());
  return agent::rank_lease(now, std::chrono::floor<std::chrono::milliseconds>(granted_), lease_, heartbeat_,
                           longest);
}

asio::awaitable<void> HeadLink::async_flush() {
  const auto until = std::chrono::steady_clock::now() + 1s;
  while (stream_ && outbox_.bytes() > 0 && std::chrono::steady_clock::now() < until) {
    pump();
    co_await async::async_sleep(2ms);
  }
}

bool HeadLink::is_behind() const { return stream_ && stream_->queued_bytes() >= kAheadMax; }

void HeadLink::stop() {
  stopping_ = true;
  if (stream_) stream_->close();
  if (dialling_) dialling_->close();
}

}  // namespace rtrain::agent
