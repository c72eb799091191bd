// The frame of the cluster protocol: 12 bytes of header, a JSON text, an optional binary body.
//
//   0      4             8             12
//   +------+-------------+-------------+--------- - - -+------- - - -+
//   | RTR1 | json_bytes  | body_bytes  | JSON          | body        |
//   +------+-------------+-------------+--------- - - -+------- - - -+
//
// Both lengths are unsigned 32-bit, big-endian, and are held against the limits before a byte is allocated.
#pragma once

#include "common/base/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rtrain::proto {

/// Bumped when an older peer could misread a newer one. Sent in Hello. Who accepts a connection speaks to a
/// peer of the version before as that one did, so that a cluster is upgraded one machine at a time, the head
/// first.
///   1: a heartbeat's answer confirms what came before it
///   2: Taken confirms; YieldAttempt, RankDiagnosis, NodeHealth
///   3: ProfileRanks, RankProfile
///   4: CheckpointValidated
///   5: DebugRanks, RankDebug
///   6: CheckpointPins
inline constexpr int kProtocolVersion = 6;
inline constexpr int kProtocolVersionOldest = 1;
[[nodiscard]] constexpr bool speaks(int version) {
  return version >= kProtocolVersionOldest && version <= kProtocolVersion;
}

inline constexpr std::size_t kFrameHeaderBytes = 12;

/// Of any frame. A Launch is the largest: it holds the spec, the node's ranks, and every checkpoint that is
/// kept with its metrics.
inline constexpr std::size_t kFrameJsonBytesMax = 15u << 20;

struct FrameLimits {
  std::size_t json_bytes_max = 4u << 20;
  std::size_t body_bytes_max = 1u << 20;
};
/// In force until a peer has said who it is.
inline constexpr FrameLimits kHandshakeLimits{64u << 10, 0};
/// What an agent takes from its head, once that has welcomed it.
inline constexpr FrameLimits kFromHeadLimits{kFrameJsonBytesMax, 1u << 20};

struct Frame {
  std::string json;
  std::string body;
};

struct FrameHeader {
  std::uint32_t json_bytes = 0;
  std::uint32_t body_bytes = 0;
};

/// kProtocol: wrong magic. kLimit: a length over its limit, the message names both numbers.
[[nodiscard]] Result<FrameHeader> decode_frame_header(std::string_view bytes12, const FrameLimits& limits);
[[nodiscard]] std::array<char, kFrameHeaderBytes> encode_frame_header(const Frame& frame);
/// The whole frame as bytes.
[[nodiscard]] std::string encode_frame(const Frame& frame);

}  // namespace rtrain::proto
