// Nothing is told before it is durable: what the head wants to say waits here until the journal holds what
// led to it.
#pragma once

#include "daemon/store/journal.h"

#include <deque>
#include <functional>

namespace rtrain::head {

/// @thread the head's.
class OutputGate {
 public:
  /// Takes the journal's callback.
  explicit OutputGate(store::Journal& journal);
  ~OutputGate() { journal_.on_durable({}); }
  OutputGate(const OutputGate&) = delete;
  OutputGate& operator=(const OutputGate&) = delete;

  /// Runs `tell` when every event appended so far is durable: at once where it is, else later, in order.
  void after_events(std::function<void()> tell);
  /// The same for events and metric points.
  void after_all(std::function<void()> tell);
  /// True when nothing waits and every event is durable.
  [[nodiscard]] bool clear() const;

 private:
  struct Waiting {
    store::Mark mark;
    std::function<void()> tell;
  };
  void release();

  store::Journal& journal_;
  std::deque<Waiting> events_, all_;  ///< by mark, oldest first
  bool releasing_ = false;
};

}  // namespace rtrain::head
