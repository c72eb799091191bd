// What an agent has to tell its head, or a worker its agent, until the peer has said that it is stored
// (Taken). Pure.
#pragma once

#include "proto/message/message.h"

#include <deque>
#include <optional>

namespace rtrain::proto {

/// Messages in order, sent at least once: what the peer has not confirmed is sent again on the next
/// connection.
class Outbox {
 public:
  static constexpr std::size_t kBytesMax = 64u << 20;
  explicit Outbox(std::size_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}

  /// To the end. Above bytes_max the oldest reports that neither name nor remove a checkpoint go: everything
  /// else decides what becomes of a job.
  /// @return the message's number: they count from 1 and are never reused.
  std::int64_t push(const Message& message);
  /// What this connection has to send next; nullptr: nothing. Valid until the next call.
  [[nodiscard]] const Frame* next() const;
  /// next() is on its way.
  void sent();
  /// The peer confirms the first `count` messages of this connection.
  void taken(std::int64_t count);
  /// What is not confirmed is to be sent again.
  void disconnected();

  /// Nothing up to this number needs to be kept by anybody any more: it is stored, or was dropped.
  [[nodiscard]] std::int64_t settled() const {
    return items_.empty() ? last_number_ : items_.front().number - 1;
  }
  [[nodiscard]] std::int64_t last_number() const { return last_number_; }
  /// Of what is kept, the first with a number above this one.
  /// frame: nullptr none; valid until the next call
  struct Kept {
    std::int64_t number = 0;
    const Frame* frame = nullptr;
  };
  [[nodiscard]] Kept first_after(std::int64_t number) const;
  /// Ranks whose end (RankEnded) is not confirmed.
  [[nodiscard]] std::vector<RankKey> ends() const;
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::int64_t dropped() const { return dropped_; }  ///< reports, since the start

 private:
  struct Item {
    std::int64_t number;
    Frame frame;
    std::optional<RankKey> end;
    bool may_be_dropped;
  };
  std::deque<Item>::const_iterator after(std::int64_t number) const;
  void remove(std::deque<Item>::iterator item);

  std::size_t bytes_max_, bytes_ = 0;
  std::deque<Item> items_;
  /// numbers sent on this connection and not confirmed, also those dropped since
  std::deque<std::int64_t> in_flight_;
  std::int64_t last_number_ = 0, sent_through_ = 0, taken_ = 0, dropped_ = 0;
};

}  // namespace rtrain::proto
