// Whether the files of a checkpoint are those of its checksums.json, beside the SDK's own headers.
#pragma once

#include "common/base/crc32c.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace rtrain::test {

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// True if these bytes are what an entry of checksums.json says.
inline bool fits(const std::string& bytes, const nlohmann::json& sum) {
  Crc32c crc;
  crc.add(bytes);
  char text[9];
  std::snprintf(text, sizeof text, "%08x", static_cast<unsigned>(crc.value()));
  return sum.at("bytes") == bytes.size() && sum.at("crc32c") == text;
}

/// The "files" of checksums.json; null: there is none.
inline nlohmann::json checksums_of(const std::filesystem::path& folder) {
  const auto text = text_of(folder / "checksums.json");
  return text.empty() ? nlohmann::json() : nlohmann::json::parse(text).at("files");
}

/// True if there is a checksums.json, and all its files are whole.
inline bool is_whole(const std::filesystem::path& folder) {
  const auto files = checksums_of(folder);
  if (!files.is_object() || files.empty()) return false;
  for (const auto& item : files.items())
    if (!fits(text_of(folder / item.key()), item.value())) return false;
  return true;
}

}  // namespace rtrain::test
