// The records of a zip archive (APPNOTE.TXT 6.3), as far as stored members need them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rtrain::tensors::zip {

inline constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50,
                               kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
inline constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                             kLocator64Bytes = 20;
inline constexpr std::uint16_t kExtra64 = 0x0001;       ///< sizes and offset in 64 bits
inline constexpr std::uint16_t kExtraPadding = 0x4246;  ///< "FB": what torch.save fills gaps with
inline constexpr std::uint32_t kFull32 = 0xFFFFFFFF;    ///< the value stands in kExtra64
inline constexpr std::uint16_t kFull16 = 0xFFFF;
inline constexpr std::uint16_t kEncrypted = 1;  ///< a flag

}  // namespace rtrain::tensors::zip
