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
/// What users note about a checkpoint, also later: not part of it.
inline constexpr const char* kMetadataFile = ".metadata.json";

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

/// Of the file as it is now: kNotFound, kIo. Who reads or writes one piece by piece has Crc32c for the same
/// number. One core of a Xeon does about 6 GB/s of it (CRC-32 instructions of SSE 4.2).
[[nodiscard]] Result<Checksum> checksum_of(const std::string& path);
[[nodiscard]] Checksum checksum_of_text(std::string_view text);
/// Of all files below the folder but its own checksums.json and .metadata.json, through symbolic links. What
/// `known` says of a file that has as many bytes is taken from there, and the file is not read.
[[nodiscard]] Result<Checksums> make_checksums(const std::string& folder, const Checksums& known = {});
/// What the checksums.json of the folder and of the folders below it say, as far as they can be read.
[[nodiscard]] Checksums known_below(const std::string& folder);

/// "has 12 bytes, checksums.json says 13"; "" of equal ones.
[[nodiscard]] std::string difference_of(const Checksum& found, const Checksum& expected);
/// Reads all files that the folder's checksums.json has. kIo names the first that is damaged or missing, and
/// how: "model.safetensors has 12 bytes, checksums.json says 13". ok() also of a folder without
/// checksums.json.
[[nodiscard]] Result<Done> check_folder(const std::string& folder);

/// As JSON, which holds no file whose name is not UTF-8: nothing is known of it then. The reader bounds what
/// it takes: kIo, without a path, says what is wrong.
[[nodiscard]] std::string checksums_text(const Checksums& checksums);
[[nodiscard]] Result<Checksums> parse_checksums(std::string_view text);
/// Into the folder, whole or not at all, and durable.
[[nodiscard]] Result<Done> write_checksums(const std::string& folder, const Checksums& checksums);
/// kNotFound: the folder has none. kIo: it is damaged, or newer than this program.
[[nodiscard]] Result<Checksums> read_checksums(const std::string& folder);

}  // namespace rtrain::tensors
