#include "worker/runtime/outbox.h"

#include <algorithm>

namespace rtrain::runtime {

void Outbox::push(const proto::Message& message) {
  if (std::holds_alternative<proto::RankProgress>(message)) {
    progress_ = proto::encode(message);
    return;
  }
  const auto* report = std::get_if<proto::RankReport>(&message);
  push({proto::encode(message), report != nullptr && !report->checkpoint && report->deleted_checkpoints.empty()});
}

void Outbox::push(Item item) {
  bytes_ += item.frame.json.size();
  waiting_.push_back(std::move(item));
  while (bytes_ > bytes_max_) {
    const auto first = waiting_.begin() + (in_flight_ ? 1 : 0);
    const auto oldest = std::find_if(first, waiting_.end(), [](const Item& i) { return i.may_be_dropped; });
    if (oldest == waiting_.end()) return;
    bytes_ -= oldest->frame.json.size();
    waiting_.erase(oldest);
    ++dropped_;
  }
}

const proto::Frame* Outbox::front() {
  if (waiting_.empty() && progress_) {
    waiting_.push_back({std::move(*progress_), false});
    bytes_ += waiting_.back().frame.json.size();
    progress_.reset();
  }
  if (waiting_.empty()) return nullptr;
  in_flight_ = true;
  return &waiting_.front().frame;
}

void Outbox::pop() {
  bytes_ -= waiting_.front().frame.json.size();
  waiting_.pop_front();
  in_flight_ = false;
}

}  // namespace rtrain::runtime
