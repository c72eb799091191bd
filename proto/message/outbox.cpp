#include "proto/message/outbox.h"

#include "common/base/fault.h"

#include <algorithm>

namespace rtrain::proto {
namespace {

std::size_t size_of(const Frame& frame) { return frame.json.size() + frame.body.size(); }

}  // namespace

std::int64_t Outbox::push(const Message& message) {
  const auto* report = std::get_if<RankReport>(&message);
  const auto* end = std::get_if<RankEnded>(&message);
  items_.push_back({++last_number_, encode(message), end ? std::optional(end->key) : std::nullopt,
                    report != nullptr && !report->checkpoint && report->deleted_checkpoints.empty()});
  bytes_ += size_of(items_.back().frame);
  for (; bytes_ > bytes_max_; ++dropped_) {
    const auto oldest = std::ranges::find_if(items_, &Item::may_be_dropped);
    if (oldest == items_.end()) break;
    remove(oldest);
  }
  return last_number_;
}

const Frame* Outbox::next() const {
  const auto item = after(sent_through_);
  return item == items_.end() ? nullptr : &item->frame;
}

void Outbox::sent() {
  const auto item = after(sent_through_);
  if (item == items_.end()) return;
  sent_through_ = item->number;
  in_flight_.push_back(item->number);
}

void Outbox::taken(std::int64_t count) {
  for (; taken_ < count && !in_flight_.empty(); ++taken_, in_flight_.pop_front())
    if (!items_.empty() && items_.front().number == in_flight_.front()) remove(items_.begin());
}

void Outbox::disconnected() {
  if (fault::on(fault::Fault::kOutboxForgets))
    while (!items_.empty() && items_.front().number <= sent_through_) remove(items_.begin());
  in_flight_.clear();
  sent_through_ = taken_ = 0;
}

std::vector<RankKey> Outbox::ends() const {
  std::vector<RankKey> keys;
  for (const auto& item : items_)
    if (item.end) keys.push_back(*item.end);
  return keys;
}

Outbox::Kept Outbox::first_after(std::int64_t number) const {
  const auto item = after(number);
  return item == items_.end() ? Kept{} : Kept{item->number, &item->frame};
}

std::deque<Outbox::Item>::const_iterator Outbox::after(std::int64_t number) const {
  return std::ranges::upper_bound(items_, number, {}, &Item::number);
}

void Outbox::remove(std::deque<Item>::iterator item) {
  bytes_ -= size_of(item->frame);
  items_.erase(item);
}

}  // namespace rtrain::proto
