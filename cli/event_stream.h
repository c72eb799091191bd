// The server-sent events of one job, read without a thread: the caller runs the loop.
#pragma once

#include "cli/client.h"
#include "cli/sse.h"

#include <chrono>
#include <memory>

namespace rtrain::cli {

/// What a follower reads.
class EventSource {
 public:
  virtual ~EventSource() = default;
  /// Waits for events until `deadline`, or until any handler of the program's loop ran. Empty: none yet.
  /// kUnavailable: the stream ended.
  [[nodiscard]] virtual Result<std::vector<SseEvent>> read(
      std::chrono::steady_clock::time_point deadline) = 0;
};

class EventStream final : public EventSource {
 public:
  /// Opens GET `target`, from after the event `last_id` of an earlier stream ("": from the begin). `io` must
  /// outlive the stream; its other handlers (signals) run while the stream is read.
  [[nodiscard]] static Result<EventStream> open(boost::asio::io_context& io, const Client& client,
                                                const std::string& target, const std::string& last_id = {});
  EventStream(EventStream&&) noexcept = default;
  EventStream& operator=(EventStream&&) noexcept;
  ~EventStream() override;
  [[nodiscard]] Result<std::vector<SseEvent>> read(std::chrono::steady_clock::time_point deadline) override;

 private:
  struct State;
  explicit EventStream(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace rtrain::cli
