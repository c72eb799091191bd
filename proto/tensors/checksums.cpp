#include "proto/tensors/checksums.h"

#include "common/base/clip.h"
#include "common/base/crc32c.h"
#include "common/os/file.h"
#include "common/os/open_file.h"
#include "proto/json.h"
#include "proto/json_parser.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace rtrain::tensors {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "rtrain-checksums";
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kPieceBytes = 1u << 20, kListBytesMax = 64u << 20;

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

bool is_utf8(std::string_view name) {
  for (std::size_t at = 0; at < name.size();) {
    const auto bytes = proto::utf8_character_at(name, at);
    if (bytes == 0) return false;
    at += bytes;
  }
  return true;
}

/// Calls back with each regular file below the folder and its path in it; ends at the first error.
template <class Callback>
Result<Done> each_file(const std::string& folder, const Callback& callback) {
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::follow_directory_symlink, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    const auto name = entry->path().lexically_relative(folder).generic_string();
    if (auto done = callback(entry->path(), name); !done) return done;
  }
  if (error) return fail_errno("read folder " + folder, error.value());
  return ok();
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

Checksum checksum_of_text(std::string_view text) {
  Crc32c crc;
  crc.add(text);
  return {text.size(), crc.value()};
}

Result<Checksums> make_checksums(const std::string& folder, const Checksums& known) {
  Checksums made;
  const auto done = each_file(folder, [&](const fs::path& path, const std::string& name) -> Result<Done> {
    if (name == kChecksumsFile || name == kMetadataFile) return ok();
    std::error_code error;
    if (const auto found = known.files.find(name);
        found != known.files.end() && fs::file_size(path, error) == found->second.bytes && !error) {
      made.files.insert(*found);
      return ok();
    }
    auto checksum = checksum_of(path.string());
    if (!checksum) return checksum.error();
    made.files.emplace(name, *checksum);
    return ok();
  });
  if (!done) return done.error();
  return made;
}

Checksums known_below(const std::string& folder) {
  Checksums known;
  (void)each_file(folder, [&](const fs::path& path, const std::string& name) -> Result<Done> {
    if (path.filename() != kChecksumsFile) return ok();
    const auto read = read_checksums(path.parent_path().string());
    if (!read) return ok();
    const auto prefix = name.substr(0, name.size() - std::string_view(kChecksumsFile).size());
    for (const auto& [file, checksum] : read->files) known.files.emplace(prefix + file, checksum);
    return ok();
  });
  return known;
}

std::string difference_of(const Checksum& found, const Checksum& expected) {
  if (found.bytes != expected.bytes)
    return "has " + std::to_string(found.bytes) + " bytes, checksums.json says " +
           std::to_string(expected.bytes);
  if (found.crc32c == expected.crc32c) return "";
  return "was changed: CRC-32C " + crc_text(found.crc32c) + ", checksums.json says " +
         crc_text(expected.crc32c);
}

Result<Done> check_folder(const std::string& folder) {
  const auto known = read_checksums(folder);
  if (!known && known.error().code() == Errc::kNotFound) return ok();
  if (!known) return known.error();
  for (const auto& [file, expected] : known->files) {
    const auto found = checksum_of((fs::path(folder) / file).string());
    if (!found) return fail(Errc::kIo, found.error().message());
    if (*found != expected) return fail(Errc::kIo, file + " " + difference_of(*found, expected));
  }
  return ok();
}

std::string checksums_text(const Checksums& checksums) {
  proto::Json files = proto::Json::object();
  for (const auto& [name, checksum] : checksums.files)
    if (is_utf8(name)) files[name] = {{"bytes", checksum.bytes}, {"crc32c", crc_text(checksum.crc32c)}};
  const proto::Json json{
      {"format", kFormat}, {"version", kVersion}, {"algorithm", "crc32c"}, {"files", std::move(files)}};
  return proto::dump_json_pretty(json) + "\n";
}

Result<Checksums> parse_checksums(std::string_view text) {
  const auto damaged = [](const std::string& why) { return fail(Errc::kIo, why); };
  const auto json = proto::parse_json(text, {.bytes_max = kListBytesMax});
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
      return damaged("\"" + clipped(name, 200) +
                     "\": expected a file below the folder, with bytes and crc32c");
    checksum.bytes = bytes.get<std::uint64_t>();
    read.files.emplace(name, checksum);
  }
  return read;
}

Result<Done> write_checksums(const std::string& folder, const Checksums& checksums) {
  return os::write_file_atomic((fs::path(folder) / kChecksumsFile).string(), checksums_text(checksums));
}

Result<Checksums> read_checksums(const std::string& folder) {
  const auto path = (fs::path(folder) / kChecksumsFile).string();
  const auto text = os::read_regular_file(path, kListBytesMax);
  if (!text) return text.error();
  auto read = parse_checksums(*text);
  if (!read) return read.error().in(path);
  return read;
}

}  // namespace rtrain::tensors
