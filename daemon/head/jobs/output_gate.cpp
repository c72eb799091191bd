#include "daemon/head/jobs/output_gate.h"

#include "common/base/fault.h"

namespace rtrain::head {

OutputGate::OutputGate(store::Journal& journal) : journal_(journal) {
  journal_.on_durable([this] { release(); });
}

void OutputGate::after_events(std::function<void()> tell) {
  if ((clear() && !releasing_) || fault::on(fault::Fault::kAckBeforeCommit)) return tell();
  events_.push_back({{journal_.appended().events, 0}, std::move(tell)});
}

void OutputGate::after_all(std::function<void()> tell) {
  const bool all_durable = all_.empty() && !releasing_ && journal_.durable().covers(journal_.appended());
  if (all_durable || fault::on(fault::Fault::kConfirmBeforeCommit)) return tell();
  all_.push_back({journal_.appended(), std::move(tell)});
}

bool OutputGate::clear() const {
  return events_.empty() && journal_.durable().events >= journal_.appended().events;
}

void OutputGate::release() {
  if (releasing_) return;  // something told appended an event that was durable at once
  releasing_ = true;
  for (bool more = true; more;) {
    more = false;
    for (auto* queue : {&events_, &all_})
      while (!queue->empty() && journal_.durable().covers(queue->front().mark)) {
        const auto tell = std::move(queue->front().tell);
        queue->pop_front();
        tell();
        more = true;
      }
  }
  releasing_ = false;
}

}  // namespace rtrain::head
