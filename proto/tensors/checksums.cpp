#include "proto/tensors/checksums.h"

#include "common/base/crc32c.h"
#include "common/os/file.h"
#include "common/os/open_file.h"
#include "proto/json.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace rtrain::tensors {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "rtrain-checksums";
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kPieceBytes = 1u << 20;

bool read_crc(const proto::Json& value, std::uint32_t& crc) {
  const auto* text = value.get_ptr<const std::string*>();
  if (text == nullptr || text->size() != 8) return false;
  const auto [end, error] = std::from_chars(text->data(), text->data() + 8, crc, 16);
  return error == std::errc{} && end == text->data() + 8;
}

/// A path that stays below its folder.
bool is_inside(const std::string& name) {
  const fs::path path(name);
  return !name.empty() && path.is_relative() && std::ranges::find(path, fs::path("..")) == path.end();
}

}  // namespace

std::string crc_text(std::uint32_t crc) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[crc >> shift & 15];
  return text;
}

Result<Checksum> checksum_of(const std::string& path) {
  const auto file = os::OpenFile::open(path);
  if (!file) return file.error();
  Crc32c crc;
  std::string piece;
  for (std::uint64_t at = 0; at < (*file)->size(); at += piece.size()) {
    piece.resize(std::min<std::uint64_t>(kPieceBytes, (*file)->size() - at));
    if (auto done = (*file)->read(at, piece); !done) return done.error();
    crc.add(piece);
  }
  return Checksum{(*file)->size(), crc.value()};
}

Result<Checksums> make_checksums(const std::string& folder) {
  Checksums made;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    const auto name = entry->path().lexically_relative(folder).generic_string();
    if (!entry->is_regular_file(ignored) || name == kChecksumsFile) continue;
    auto checksum = checksum_of(entry->path().string());
    if (!checksum) return checksum.error();
    made.files.emplace(name, *checksum);
  }
  if (error) return fail_errno("read folder " + folder, error.value());
  return made;
}

Result<Done> write_checksums(const std::string& folder, const Checksums& checksums) {
  proto::Json files = proto::Json::object();
  for (const auto& [name, checksum] : checksums.files)
    files[name] = {{"bytes", checksum.bytes}, {"crc32c", crc_text(checksum.crc32c)}};
  const proto::Json json{
      {"format", kFormat}, {"version", kVersion}, {"algorithm", "crc32c"}, {"files", std::move(files)}};
  return os::write_file_atomic((fs::path(folder) / kChecksumsFile).string(),
                               proto::dump_json_pretty(json) + "\n");
}

Result<Checksums> read_checksums(const std::string& folder) {
  const auto path = (fs::path(folder) / kChecksumsFile).string();
  const auto text = os::read_file(path);
  if (!text) return text.error();
  const auto damaged = [&](const std::string& why) { return fail(Errc::kIo, path + ": " + why); };
  const auto json = proto::parse_json(*text, {.bytes_max = 64u << 20});
  if (!json) return damaged(json.error().message());
  if (!json->is_object() || json->value("format", proto::Json()) != kFormat)
    return damaged("has another format");
  if (json->value("version", proto::Json()) != kVersion ||
      json->value("algorithm", proto::Json()) != "crc32c")
    return damaged("is of a version or an algorithm that this program does not know");
  Checksums read;
  const auto files = json->find("files");
  if (files == json->end() || !files->is_object()) return damaged("has no \"files\"");
  for (const auto& [name, entry] : files->items()) {
    Checksum checksum;
    const auto bytes = entry.is_object() ? entry.value("bytes", proto::Json()) : proto::Json();
    if (!is_inside(name) || !bytes.is_number_unsigned() ||
        !read_crc(entry.value("crc32c", proto::Json()), checksum.crc32c))
      return damaged("\"" + name + "\": expected a file below the folder, with bytes and crc32c");
    checksum.bytes = bytes.get<std::uint64_t>();
    read.files.emplace(name, checksum);
  }
  return read;
}

}  // namespace rtrain::tensors
