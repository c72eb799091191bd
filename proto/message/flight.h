// What a rank says of its collectives when it is asked, or when it fails: `rtrain debug` compares the ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::proto {

/// A group of ranks that a process is in.
struct FlightGroup {
  std::string path;  ///< "0": the job; "0/2": the third group that was made of it. The same on all ranks
  std::string name;  ///< "job", "shard"
  std::vector<int> ranks;    ///< of the job, ascending
  std::int64_t started = 0;  ///< collectives that this rank has started in it
};

/// A collective, or a message to one other rank.
struct Flight {
  std::string group;      ///< FlightGroup::path
  std::int64_t seq = 0;   ///< from 1: of the group's collectives; of the messages to or from this peer
  std::string operation;  ///< all_reduce | broadcast | all_gather | reduce_scatter | barrier | send | recv
  std::string purpose;    ///< "gather of parameters"; "": the caller gave none
  std::string unit;       ///< of a sharded model, or a parameter; "": none
  std::string dtype;      ///< "Float"; "": it has no tensor
  std::vector<std::int64_t> shape;  ///< of the input; of many tensors: the first one's
  std::int64_t bytes = 0;
  std::string detail;       ///< "sum", "root 0"; "": nothing that the ranks must agree on
  std::optional<int> peer;  ///< of a message: the other rank of the job
  /// started: under way; waiting: the host waits for it; queued: the device has it and the host went on;
  /// finished; failed
  std::string state = "started";
  double age_s = 0;   ///< since it was started
  double took_s = 0;  ///< until it was finished; 0 while it is not
};

/// Where a rank is.
struct RankSnapshot {
  std::string stage;                 ///< as in RankProgress; "" before the first step
  std::int64_t epoch = 0, step = 0;  ///< the last step that was finished
  double idle_s = 0;                 ///< since it, or since the last other sign of life
  std::string place;   ///< what it waits for outside collectives: "the next batch"; "": nothing known
  double place_s = 0;  ///< for so long
  std::vector<FlightGroup> groups;
  std::vector<Flight> flights;     ///< oldest first
  std::vector<std::string> stack;  ///< of the main thread, innermost first
  std::string stack_error;         ///< why there is none
};

/// What a snapshot has at most after bound(): together less than a frame takes (FrameLimits).
struct SnapshotBounds {
  static constexpr std::size_t kFlights = 256, kGroups = 64, kFrames = 64, kDimensions = 8;
  static constexpr std::size_t kRanks = 1 << 16;  ///< of all groups together
  static constexpr std::size_t kTextBytes = 512;  ///< of each text, "..." not counted
};
/// A rank's library is the user's: a snapshot that an agent passes on, or a head keeps, is cut to the bounds.
/// The last flights and the first of everything else stay. Texts lose control characters, numbers of seconds
/// that can be none are 0, and the ranks of a group ascend.
void bound(RankSnapshot& snapshot);

}  // namespace rtrain::proto
