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

}  // namespace rtrain
