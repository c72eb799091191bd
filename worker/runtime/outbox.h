// What waits to be sent to the agent, within a bound. Pure.
#pragma once

#include "proto/message/message.h"

#include <cstddef>
#include <deque>
#include <optional>

namespace rtrain::runtime {

class Outbox {
 public:
  explicit Outbox(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Progress replaces progress that still waits. Over the bound the oldest reports without a checkpoint go.
  void push(const proto::Message& message);
  /// The next frame to write; it stays here until pop(), so that a broken connection loses nothing. Null: nothing waits.
  [[nodiscard]] const proto::Frame* front();
  void pop();
  [[nodiscard]] bool empty() const { return waiting_.empty() && !progress_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t dropped() const { return dropped_; }

 private:
  struct Item { proto::Frame frame; bool may_be_dropped = false; };
  void push(Item item);
  std::size_t bytes_max_, bytes_ = 0, dropped_ = 0;
  std::deque<Item> waiting_;
  std::optional<proto::Frame> progress_;
  bool in_flight_ = false;  // the front was handed out: it is not dropped any more
};

}  // namespace rtrain::runtime
