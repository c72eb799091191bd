#include "daemon/agent/head_link.h"

#include "common/log/log.h"

#include <algorithm>
#include <random>

namespace rtrain::agent {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::size_t kWaitingMax = 100'000;

std::chrono::milliseconds milliseconds(double seconds) { return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)); }

bool may_be_dropped(const proto::Message& message) {
  const auto* report = std::get_if<proto::RankReport>(&message);
  return report != nullptr && !report->checkpoint;
}

}  // namespace

asio::awaitable<void> HeadLink::async_run() {
  std::mt19937_64 random{std::random_device{}()};
  int failures = 0;
  while (!stopping_) {
    auto ended = co_await async_connect_once();
    if (stopping_) break;
    if (ended) failures = 0;
    else if (failures++ == 0 || failures % 30 == 0) log::warn("no connection to the head", {{"head", to_string(head_)}, {"cause", ended.error().message()}, {"tries", std::to_string(failures)}});
    const double uniform = std::uniform_real_distribution<double>(0, 1)(random);
    auto pause = async::backoff(failures, 100ms, 2000ms, uniform);
    const auto until = std::chrono::steady_clock::now() + pause;
    while (!stopping_ && std::chrono::steady_clock::now() < until) co_await async::async_sleep(std::min<std::chrono::milliseconds>(pause, 50ms));
  }
}

/// Ok: there was a connection and it ended.
asio::awaitable<Result<Done>> HeadLink::async_connect_once() {
  auto socket = co_await net::async_connect(head_, 5000ms);
  if (!socket) co_return socket.error();
  if (stopping_) co_return ok();
  const std::string local = net::local_address(*socket);
  auto stream = proto::make_stream(std::move(*socket));
  dialling_ = stream;
  proto::send(*stream, callbacks_.hello(local));
  auto answer = co_await proto::async_read_message(stream, 10s);
  dialling_.reset();
  if (!answer) co_return answer.error();
  if (const auto* refused = std::get_if<proto::Refused>(&*answer)) co_return fail(errc_from_string(refused->code), "the head refused this agent: " + refused->message);
  const auto* welcome = std::get_if<proto::Welcome>(&*answer);
  if (welcome == nullptr) co_return fail(Errc::kProtocol, "the head answered with " + std::string(proto::message_name(*answer)));
  proto::accept_peer(*stream);
  lease_ = milliseconds(welcome->lease_s);
  heartbeat_ = milliseconds(welcome->heartbeat_s);
  heard_ = std::chrono::steady_clock::now();
  lease_held_ = true;
  stream_ = stream;
  log::info("connected to the head", {{"head", to_string(head_)}, {"address", local}});
  drain();
  while (true) {
    auto message = co_await proto::async_read_message(stream);
    if (!message) {
      if (!stopping_) log::warn("the connection to the head ended", {{"cause", message.error().message()}});
      break;
    }
    heard_ = std::chrono::steady_clock::now();
    lease_held_ = true;
    if (!std::holds_alternative<proto::Heartbeat>(*message)) callbacks_.message(std::move(*message));
  }
  stream->close();
  stream_.reset();
  co_return ok();
}

void HeadLink::send(proto::Message message) {
  if (stream_ && waiting_.empty() && proto::send(*stream_, message)) return;
  if (std::holds_alternative<proto::RankProgress>(message) || std::holds_alternative<proto::LogData>(message)) return;
  waiting_.push_back(std::move(message));
  if (waiting_.size() <= kWaitingMax) return;
  if (const auto oldest = std::ranges::find_if(waiting_, may_be_dropped); oldest != waiting_.end()) {
    log::warn("the head is away too long: a report is dropped");
    waiting_.erase(oldest);
  }
}

void HeadLink::drain() {
  while (stream_ && !waiting_.empty() && proto::send(*stream_, waiting_.front())) waiting_.pop_front();
}

void HeadLink::tick() {
  const auto now = std::chrono::steady_clock::now();
  if (stream_ && now >= next_heartbeat_) {
    proto::send(*stream_, proto::Heartbeat{});
    next_heartbeat_ = now + heartbeat_;
  }
  if (!lease_held_ || now - heard_ < lease_) return;
  lease_held_ = false;
  log::warn("the lease from the head ran out");
  if (stream_) stream_->close();  // half-open: dial again
  callbacks_.lease_lost();
}

asio::awaitable<void> HeadLink::async_flush() {
  const auto stream = stream_;
  if (stream) co_await stream->async_flush(1s);
}

void HeadLink::stop() {
  stopping_ = true;
  if (stream_) stream_->close();
  if (dialling_) dialling_->close();
}

std::vector<proto::RankKey> HeadLink::unsent_ends() const {
  std::vector<proto::RankKey> keys;
  for (const auto& message : waiting_)
    if (const auto* end = std::get_if<proto::RankEnded>(&message)) keys.push_back(end->key);
  return keys;
}

}  // namespace rtrain::agent
