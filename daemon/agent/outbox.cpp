#include "daemon/agent/outbox.h"

#include <algorithm>

namespace rtrain::agent {
namespace {

std::size_t size_of(const proto::Frame& frame) { return frame.json.size() + frame.body.size(); }

}  // namespace

int Outbox::push(const proto::Message& message) {
  const auto* report = std::get_if<proto::RankReport>(&message);
  const auto* end = std::get_if<proto::RankEnded>(&message);
  items_.push_back({++last_number_, proto::encode(message), end ? std::optional(end->key) : std::nullopt, report != nullptr && !report->checkpoint});
  bytes_ += size_of(items_.back().frame);
  int dropped = 0;
  for (; bytes_ > bytes_max_; ++dropped) {
    const auto oldest = std::ranges::find_if(items_, &Item::may_be_dropped);
    if (oldest == items_.end()) break;
    remove(oldest);
  }
  return dropped;
}

const proto::Frame* Outbox::next() const {
  const auto item = unsent();
  return item == items_.end() ? nullptr : &item->frame;
}

void Outbox::sent() {
  if (const auto item = unsent(); item != items_.end()) sent_through_ = item->number;
}

void Outbox::heartbeat_sent(Time now) { heartbeats_.push_back({sent_through_, now}); }

std::optional<Outbox::Time> Outbox::heartbeat_answered() {
  if (heartbeats_.empty()) return std::nullopt;
  const auto answered = heartbeats_.front();
  heartbeats_.pop_front();
  while (!items_.empty() && items_.front().number <= answered.sent_through) remove(items_.begin());
  return answered.at;
}

void Outbox::disconnected() {
  heartbeats_.clear();
  sent_through_ = 0;
}

std::vector<proto::RankKey> Outbox::ends() const {
  std::vector<proto::RankKey> keys;
  for (const auto& item : items_)
    if (item.end) keys.push_back(*item.end);
  return keys;
}

std::deque<Outbox::Item>::const_iterator Outbox::unsent() const { return std::ranges::upper_bound(items_, sent_through_, {}, &Item::number); }

void Outbox::remove(std::deque<Item>::iterator item) {
  bytes_ -= size_of(item->frame);
  items_.erase(item);
}

}  // namespace rtrain::agent
