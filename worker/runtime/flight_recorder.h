// The last collectives of this process, for whoever asks while its training thread is stuck in one.
#pragma once

#include "proto/message/flight.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::runtime {

enum class FlightOperation : std::uint8_t {
  kAllReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
  kBarrier,
  kSend,
  kReceive,
};
[[nodiscard]] const char* to_string(FlightOperation operation);

/// What a rank is about to start.
struct FlightCall {
  FlightOperation operation = FlightOperation::kBarrier;
  const char* purpose = "";  ///< a literal
  const char* dtype = "";    ///< a literal
  std::span<const std::int64_t> shape{};
  std::int64_t bytes = 0;
  const char* detail = "";  ///< a literal: "sum"
  int root = -1;            ///< of a broadcast, within the group
  int peer = -1;            ///< of a message, within the group
  std::int64_t order = 0;   ///< of the job's own collectives: Pulse::next_seq(); 0: of another group
};

/// What stands in the recorder of a tensor of LibTorch. @param purpose a literal. @lifetime the tensor must
/// outlive it.
template <class Tensor>
[[nodiscard]] FlightCall flight_of(FlightOperation operation, const char* purpose, const Tensor& tensor) {
  FlightCall flight;
  flight.operation = operation;
  flight.purpose = purpose;
  flight.dtype = toString(tensor.scalar_type());
  flight.shape = {tensor.sizes().data(), tensor.sizes().size()};
  // A sparse tensor has no bytes of its own, and asking is an error.
  if (tensor.has_storage()) flight.bytes = static_cast<std::int64_t>(tensor.nbytes());
  return flight;
}

/// A ring of entries of fixed size behind one short lock: nothing is allocated for an entry.
/// (benchmarks/flight_recorder.cpp measures it.)
/// @thread any. Handlers of signals stay out.
class FlightRecorder {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kKept = 256;  ///< entries
  static constexpr std::size_t kDimensions = 6, kUnitBytes = 64;

  /// Of one entry; 0: none.
  using Ticket = std::int64_t;

  /// A group that this process joined. @param path the same on every rank of the group, and its alone.
  /// @param ranks of the job, ascending. @return its number here.
  [[nodiscard]] int add_group(std::string path, std::string name, std::vector<int> ranks);

  /// Before the call. Collectives of a group are numbered in the order of their starts, which is the same on
  /// every rank; messages by their peer and direction.
  [[nodiscard]] Ticket begin(int group, const FlightCall& call);
  /// The entry has one part more: each part is finished.
  void add_part(Ticket ticket);
  /// The host waits for it from now on.
  void wait(Ticket ticket);
  /// The device has it, and the host goes on.
  void queued(Ticket ticket);
  void finish(Ticket ticket);
  void failed(Ticket ticket);

  /// What the ranks of the group must agree on: "all_reduce(sum) of Float [4, 8]"; "" when it is gone.
  [[nodiscard]] std::string signature(Ticket ticket) const;
  /// The same of the job's collective with this FlightCall::order.
  [[nodiscard]] std::string signature_in_order(std::int64_t order) const;

  /// Groups and flights, the oldest of `at_most` flights first; an entry that is not over is there however
  /// old it is, as long as the ring has it.
  void read(proto::RankSnapshot& into, std::size_t at_most, Clock::time_point now) const;

 private:
  enum class State : std::uint8_t { kStarted, kWaiting, kQueued, kFinished, kFailed };
  struct Entry {
    Ticket number = 0;
    int group = 0;
    std::int64_t seq = 0;
    FlightOperation operation{};
    State state{};
    std::int16_t open_parts = 0;
    std::int16_t dimensions = 0;
    int peer = -1, root = -1;  ///< the peer of the job
    const char *purpose = "", *dtype = "", *detail = "";
    std::int64_t bytes = 0, order = 0;
    std::array<std::int64_t, kDimensions> shape{};
    Clock::time_point started, finished;
    std::array<char, kUnitBytes> unit{};
  };
  struct Messages {
    int peer = 0;
    FlightOperation operation{};
    std::int64_t count = 0;
  };
  struct Group {
    std::string path, name;
    std::vector<int> ranks;
    std::int64_t started = 0;
    std::vector<Messages> messages;
  };
  [[nodiscard]] Entry* find(Ticket ticket);
  [[nodiscard]] const Entry* find(Ticket ticket) const;
  [[nodiscard]] proto::Flight document(const Entry& entry, Clock::time_point now) const;
  void end(Ticket ticket, State state);
  [[nodiscard]] static std::string signature_of(const Entry& entry);

  mutable std::mutex mutex_;
  std::array<Entry, kKept> ring_{};
  Ticket last_ = 0;
  std::vector<Group> groups_;
};

/// Of this process. Never destroyed.
[[nodiscard]] FlightRecorder& flight_recorder();

/// While it lives, the collectives that this thread starts are of this unit or parameter.
class FlightUnit {
 public:
  /// @lifetime the text must outlive it.
  explicit FlightUnit(std::string_view unit) noexcept;
  ~FlightUnit();
  FlightUnit(const FlightUnit&) = delete;
  FlightUnit& operator=(const FlightUnit&) = delete;

 private:
  std::string_view before_;
};

/// While it lives, the messages that this thread starts are parts of one collective: an all-gather that is
/// made of sends and receives is an all-gather to whoever compares the ranks.
class FlightParts {
 public:
  /// @lifetime call.shape must outlive it.
  explicit FlightParts(const FlightCall& call) noexcept;
  ~FlightParts();
  FlightParts(const FlightParts&) = delete;
  FlightParts& operator=(const FlightParts&) = delete;

  /// The collective that a message of `group` is a part of; 0: the message stands for itself.
  /// @param order FlightCall::order of the message; the collective gets that of its first one.
  [[nodiscard]] static FlightRecorder::Ticket join(FlightRecorder& recorder, int group, std::int64_t order);
  /// True when the next join() starts the collective.
  [[nodiscard]] static bool is_first() noexcept;

 private:
  FlightCall call_;
  FlightRecorder* recorder_ = nullptr;
  FlightRecorder::Ticket ticket_ = 0;
  FlightParts* before_;
};

/// What the training thread waits for outside of any collective: "the next batch". They do not nest.
class FlightPlace {
 public:
  /// @param what a literal.
  explicit FlightPlace(const char* what) noexcept;
  ~FlightPlace();
  FlightPlace(const FlightPlace&) = delete;
  FlightPlace& operator=(const FlightPlace&) = delete;
  /// For whoever asks; "" none.
  static void read(proto::RankSnapshot& into, FlightRecorder::Clock::time_point now);
};

}  // namespace rtrain::runtime
