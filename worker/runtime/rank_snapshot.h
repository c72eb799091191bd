// Where this rank is, as it tells whoever asks: the last step, the last collectives, the main thread's stack.
#pragma once

#include "proto/message/message.h"

#include <functional>
#include <memory>
#include <vector>

namespace rtrain::runtime {

/// Without a stack. @thread any.
[[nodiscard]] proto::RankSnapshot rank_snapshot();

/// Answers DebugRanks on a thread of its own: reading symbols takes its time, and the session's thread renews
/// the lease meanwhile. A request that comes while one is being answered gets the same answer.
class DebugAnswers {
 public:
  /// @param ready called on that thread when there is something to take; never after this is gone.
  explicit DebugAnswers(std::function<void()> ready);
  /// Does not wait: an answer under way is dropped.
  ~DebugAnswers();
  DebugAnswers(const DebugAnswers&) = delete;
  DebugAnswers& operator=(const DebugAnswers&) = delete;

  void ask(const proto::RankKey& key, std::int64_t request);
  [[nodiscard]] std::vector<proto::RankDebug> take();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace rtrain::runtime
