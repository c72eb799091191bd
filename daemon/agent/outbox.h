// What the agent has to tell its head, until the head has taken it in. Pure.
#pragma once

#include "proto/message/message.h"

#include <chrono>
#include <deque>
#include <optional>

namespace rtrain::agent {

/// Messages in order, sent at least once. The head answers each heartbeat after it has taken in all that came before it: an answer
/// confirms that much, and the rest is sent again on the next connection.
class Outbox {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kBytesMax = 64u << 20;
  explicit Outbox(std::size_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}

  /// To the end. Above bytes_max the oldest reports without a checkpoint go: everything else decides what becomes of a job.
  /// @return how many were dropped.
  int push(const proto::Message& message);
  /// What this connection has to send next; nullptr: nothing. Valid until the next call.
  [[nodiscard]] const proto::Frame* next() const;
  /// next() is on its way.
  void sent();
  void heartbeat_sent(Time now);
  /// @return when the answered heartbeat had been sent; nothing when none was.
  std::optional<Time> heartbeat_answered();
  /// What is not confirmed is to be sent again.
  void disconnected();

  /// Ranks whose end is not confirmed.
  [[nodiscard]] std::vector<proto::RankKey> ends() const;
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Item {
    std::int64_t number;  ///< counts from 1, never reused
    proto::Frame frame;
    std::optional<proto::RankKey> end;
    bool may_be_dropped;
  };
  struct Heartbeat { std::int64_t sent_through; Time at; };
  std::deque<Item>::const_iterator unsent() const;
  void remove(std::deque<Item>::iterator item);

  std::size_t bytes_max_, bytes_ = 0;
  std::deque<Item> items_;
  std::deque<Heartbeat> heartbeats_;  ///< of this connection, not answered yet
  std::int64_t last_number_ = 0, sent_through_ = 0;
};

}  // namespace rtrain::agent
