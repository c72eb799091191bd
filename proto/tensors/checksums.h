// checksums.json of a checkpoint's folder: what its files have to be, so that damage is seen before it is
// trained on.
//
//   {"format": "rtrain-checksums", "version": 1, "algorithm": "crc32c",
//    "files": {"model.safetensors": {"bytes": 1234, "crc32c": "8a9136aa"}}}
//
// CRC-32C finds what disks and networks do by accident. It keeps out nobody who changes a file on purpose.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace rtrain::tensors {

inline constexpr const char* kChecksumsFile = "checksums.json";

struct Checksum {
  std::uint64_t bytes = 0;
  std::uint32_t crc32c = 0;
  friend bool operator==(const Checksum&, const Checksum&) = default;
};

struct Checksums {
  std::map<std::string, Checksum> files;  ///< by path below the folder
};

/// "8a9136aa"
[[nodiscard]] std::string crc_text(std::uint32_t crc);

/// Of the file as it is now. Who writes one piece by piece has Crc32c for the same number.
[[nodiscard]] Result<Checksum> checksum_of(const std::string& path);
/// Of all files below the folder but checksums.json.
[[nodiscard]] Result<Checksums> make_checksums(const std::string& folder);
/// Into the folder, whole or not at all.
[[nodiscard]] Result<Done> write_checksums(const std::string& folder, const Checksums& checksums);
/// kNotFound: the folder has none. kIo: it is damaged, or newer than this program.
[[nodiscard]] Result<Checksums> read_checksums(const std::string& folder);

}  // namespace rtrain::tensors
