// CRC-32C (Castagnoli), the checksum of iSCSI, ext4 and cloud storage: processors compute it at the speed of
// memory.
#pragma once

#include <cstdint>
#include <string_view>

namespace rtrain {

class Crc32c {
 public:
  void add(std::string_view bytes);
  [[nodiscard]] std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = ~std::uint32_t{0};
};

/// The checksum of bytes that are read in pieces, in any order, by one reader or by several. Each adds what
/// it reads; the states of all readers are joined, and once every byte was added once, value() is the
/// checksum. CRC is linear: what a piece adds does not depend on the others.
class Crc32cPieces {
 public:
  /// @param bytes of all pieces together.
  explicit Crc32cPieces(std::uint64_t bytes) : bytes_(bytes) {}
  /// @param crc of the piece. @param at its first byte; at + size is at most bytes.
  void add(std::uint32_t crc, std::uint64_t at, std::uint64_t size);

  /// What another reader of the same bytes joins.
  struct State {
    std::uint64_t bytes = 0;  ///< that were added
    std::uint32_t sum = 0;
  };
  [[nodiscard]] State state() const { return state_; }
  void join(State other);
  /// How many bytes were added, by all that were joined.
  [[nodiscard]] std::uint64_t added() const { return state_.bytes; }
  [[nodiscard]] std::uint32_t value() const;

 private:
  std::uint64_t bytes_;
  State state_{};
};

}  // namespace rtrain
