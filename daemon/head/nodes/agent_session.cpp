#include "daemon/head/nodes/agent_session.h"

#include "common/base/duration.h"
#include "common/log/delivery.h"
#include "common/os/file.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

/// Numbers of no other session and of no earlier head: an agent may answer late, on the connection that came
/// after.
std::int64_t next_request() {
  static std::int64_t next = os::unix_ms_now() * 1000;
  return next++;
}

}  // namespace

AgentSession::AgentSession(std::shared_ptr<net::FrameStream> stream, Peer peer, SessionRules rules,
                           Callbacks callbacks)
    : stream_(std::move(stream)),
      peer_(std::move(peer)),
      rules_(std::move(rules)),
      callbacks_(std::move(callbacks)) {}

bool AgentSession::send(const proto::Message& message) {
  const auto* yield = std::get_if<proto::YieldAttempt>(&message);
  // An agent of version 1 cannot ask its workers: they are stopped, with the same grace.
  if (yield != nullptr && version_ == 1)
    return proto::send(*stream_,
                       proto::StopAttempt{yield->job, yield->attempt, yield->grace_s, yield->reason});
  return proto::send(*stream_, message);
}

void AgentSession::answer_heartbeat() {
  if (version_ > 1) {
    send(proto::Heartbeat{});
    return;
  }
  // It takes the answer for what Taken says now.
  callbacks_.when_stored([weak = weak_from_this()] {
    if (const auto self = weak.lock(); self && self->open_) self->send(proto::Heartbeat{});
  });
}

void AgentSession::close() { stream_->close(); }

void AgentSession::confirm() {
  confirming_ = true;
  callbacks_.when_stored([weak = weak_from_this(), count = taken_] {
    const auto self = weak.lock();
    if (!self) return;
    self->confirming_ = false;
    if (!self->open_) return;
    self->send(proto::Taken{count});
    if (self->taken_ > count) self->confirm();
  });
}

asio::awaitable<Result<proto::Hello>> AgentSession::async_handshake() {
  auto first = co_await proto::async_read_message(stream_, 10s);
  if (!first) co_return first.error().in("handshake");
  auto* hello = std::get_if<proto::Hello>(&*first);
  if (hello == nullptr)
    co_return fail(Errc::kProtocol,
                   "handshake: expected hello, got " + std::string(proto::message_name(*first)));
  if (!proto::speaks(hello->protocol_version))
    co_return fail(Errc::kConflict,
                   "the peer speaks protocol version " + std::to_string(hello->protocol_version) +
                       ", this head version " + std::to_string(proto::kProtocolVersion) + " and down to " +
                       std::to_string(proto::kProtocolVersionOldest),
                   "upgrade the head first, then the agents");
  if (!rules_.admission.admits(peer_.user, hello->token))
    co_return fail(Errc::kUnauthenticated, "wrong or missing token",
                   "name the head's token file in the agent's token_file");
  if (hello->role != "agent" || !hello->node || hello->node->name.empty())
    co_return fail(Errc::kProtocol,
                   "handshake: role \"" + hello->role + "\" without a node cannot connect here");
  co_return std::move(*hello);
}

asio::awaitable<void> AgentSession::async_run(std::shared_ptr<AgentSession> self) {
  auto hello = co_await self->async_handshake();
  if (hello) {
    self->node_ = hello->node->name;
    self->version_ = hello->protocol_version;
    if (auto joined = self->callbacks_.join(self, *hello); !joined) hello = joined.error();
  }
  if (!hello) {
    const auto& error = hello.error();
    static log::RateLimited refused(log::Level::kWarn, "more agents are refused");
    refused.write("agent refused",
                  {{"peer", self->peer_.address}, {"node", self->node_}, {"cause", error.message()}});
    self->send(proto::Refused{std::string(to_string(error.code())), error.message()});
    co_await self->stream_->async_flush(1s);
    self->close();
    co_return;
  }
  proto::accept_peer(*self->stream_);
  self->open_ = true;
  self->send(proto::Welcome{self->rules_.lease_s, self->rules_.heartbeat_s});
  self->callbacks_.joined(self, *hello);
  std::string cause;
  while (true) {
    auto message = co_await proto::async_read_message(self->stream_);
    if (!message) {
      cause = message.error().message();
      break;
    }
    if (auto* data = std::get_if<proto::LogData>(&*message)) {
      if (const auto question = self->questions_.find(data->request); question != self->questions_.end()) {
        question->second->data = std::move(*data);
        question->second->arrived.cancel();
      }
      self->callbacks_.message(*self, proto::Heartbeat{});
      continue;
    }
    // A heartbeat is answered, and never unasked: an agent that is not heard must not think it is.
    const bool beat = std::holds_alternative<proto::Heartbeat>(*message);
    const bool counts = !beat && !std::holds_alternative<proto::RankProgress>(*message);
    self->callbacks_.message(*self, std::move(*message));
    if (beat) self->answer_heartbeat();
    if (!counts || self->version_ == 1) continue;
    ++self->taken_;
    if (!self->confirming_) self->confirm();
  }
  log::info("agent disconnected", {{"node", self->node_}, {"peer", self->peer_.address}, {"cause", cause}});
  self->open_ = false;
  self->close();
  for (auto& [request, question] : self->questions_) question->arrived.cancel();
  self->callbacks_.left(*self);
}

asio::awaitable<Result<proto::LogData>> AgentSession::async_ask(std::shared_ptr<AgentSession> self,
                                                                proto::LogRead read) {
  const auto executor = co_await asio::this_coro::executor;
  auto answer = std::make_shared<Answer>(executor);
  answer->arrived.expires_after(to_milliseconds(read.wait_s) + 10s);
  read.request = next_request();
  const auto request = read.request;
  const bool sent = self->open_ && self->send(proto::Message(read));
  if (!sent) co_return fail(Errc::kUnavailable, "the agent of node " + self->node_ + " is not connected");
  self->questions_[request] = answer;
  co_await answer->arrived.async_wait(asio::as_tuple(asio::use_awaitable));
  self->questions_.erase(request);
  if (answer->data) co_return std::move(*answer->data);
  if (!self->open_) co_return fail(Errc::kUnavailable, "the agent of node " + self->node_ + " went away");
  co_return fail(Errc::kTimeout, "the agent of node " + self->node_ + " did not answer");
}

}  // namespace rtrain::head
