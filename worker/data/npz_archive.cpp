// .npz: a zip archive of .npy files. https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
#include <rtrain/data/array_files.h>

#include "worker/data/file_bytes.h"
#include "worker/data/npy_array.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::data {
namespace {

[[noreturn]] void not_whole(const std::string& why) {
  throw std::runtime_error("not a whole .npz archive: " + why);
}

class Archive {
 public:
  explicit Archive(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  struct Member {
    std::string name;
    std::uint64_t header = 0, packed = 0, size = 0;
    std::uint32_t crc = 0;
    std::uint64_t method = 0;
  };

  [[nodiscard]] std::vector<Member> members() const {
    auto [at, count] = directory();
    std::vector<Member> members;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (number(at, 4) != 0x02014b50) not_whole("its directory has no entry " + std::to_string(i));
      Member member;
      if ((number(at + 8, 2) & 1) != 0) not_whole("it is encrypted");
      member.method = number(at + 10, 2);
      member.crc = static_cast<std::uint32_t>(number(at + 16, 4));
      member.packed = number(at + 20, 4);
      member.size = number(at + 24, 4);
      const auto name = number(at + 28, 2), extra = number(at + 30, 2), comment = number(at + 32, 2);
      member.header = number(at + 42, 4);
      const auto text = part(at + 46, name);
      member.name.assign(text.begin(), text.end());
      read_zip64(at + 46 + name, extra, member);
      members.push_back(std::move(member));
      at += 46 + name + extra + comment;
    }
    return members;
  }

  [[nodiscard]] std::vector<std::uint8_t> content(const Member& member) const {
    const auto at = member.header;
    if (number(at, 4) != 0x04034b50) not_whole("there is no " + member.name + " where its directory says");
    const auto packed = part(at + 30 + number(at + 26, 2) + number(at + 28, 2), member.packed);
    std::vector<std::uint8_t> bytes;
    constexpr std::uint64_t kRatioMax = 1100;  // deflate cannot do better than 1032
    if (member.size / kRatioMax > packed.size()) not_whole(member.name + " claims too many bytes");
    if (member.method == 0) {
      bytes.assign(packed.begin(), packed.end());
    } else if (member.method == 8) {
      bytes = inflated(packed, member);
    } else {
      not_whole(member.name + " is compressed with method " + std::to_string(member.method) +
                "; read are stored and deflated members");
    }
    if (bytes.size() != member.size) not_whole(member.name + " has another size than its directory says");
    if (crc32_z(0, bytes.data(), bytes.size()) != member.crc)
      not_whole("the checksum of " + member.name + " is wrong");
    return bytes;
  }

 private:
  [[nodiscard]] std::span<const std::uint8_t> part(std::uint64_t at, std::uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) not_whole("it ends too early");
    return bytes_.subspan(at, size);
  }
  [[nodiscard]] std::uint64_t number(std::uint64_t at, std::uint64_t size) const {
    std::uint64_t value = 0;
    const auto bytes = part(at, size);
    for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
    return value;
  }

  /// Where it begins, and its number of entries.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> directory() const {
    constexpr std::uint64_t kEnd = 22, kCommentMax = 65535;
    if (bytes_.size() < kEnd) not_whole("it is too short");
    const auto last = bytes_.size() - kEnd;
    for (auto at = last;; --at) {
      if (number(at, 4) == 0x06054b50) {
        auto count = number(at + 10, 2), begin = number(at + 16, 4);
        if ((count == 0xffff || begin == 0xffffffff) && at >= 20 && number(at - 20, 4) == 0x07064b50) {
          const auto end64 = number(at - 12, 8);
          if (number(end64, 4) != 0x06064b50) not_whole("it has no directory");
          count = number(end64 + 32, 8);
          begin = number(end64 + 48, 8);
        }
        return {begin, count};
      }
      if (at == 0 || last - at >= kCommentMax) break;
    }
    not_whole("it has no directory");
  }

  void read_zip64(std::uint64_t at, std::uint64_t bytes, Member& member) const {
    constexpr std::uint64_t kElsewhere = 0xffffffff;
    const auto end = at + bytes;
    while (at + 4 <= end) {
      const auto kind = number(at, 2), size = number(at + 2, 2);
      if (kind == 1) {
        auto field = at + 4;
        for (auto* const value : {&member.size, &member.packed, &member.header}) {
          if (*value != kElsewhere) continue;
          *value = number(field, 8);
          field += 8;
        }
      }
      at += 4 + size;
    }
  }

  static std::vector<std::uint8_t> inflated(std::span<const std::uint8_t> packed, const Member& member) {
    std::vector<std::uint8_t> bytes(member.size);
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::runtime_error("zlib does not start");
    constexpr std::size_t kAtOnce = std::numeric_limits<unsigned>::max();
    std::size_t read = 0, made = 0;
    int code = Z_OK;
    while (code == Z_OK) {
      const auto in = std::min(packed.size() - read, kAtOnce), out = std::min(bytes.size() - made, kAtOnce);
      stream.next_in = const_cast<std::uint8_t*>(packed.data()) + read;
      stream.avail_in = static_cast<unsigned>(in);
      stream.next_out = bytes.data() + made;
      stream.avail_out = static_cast<unsigned>(out);
      code = inflate(&stream, Z_NO_FLUSH);
      read += in - stream.avail_in;
      made += out - stream.avail_out;
    }
    inflateEnd(&stream);
    if (code != Z_STREAM_END) not_whole("the data of " + member.name + " is damaged");
    bytes.resize(made);
    return bytes;
  }

  std::span<const std::uint8_t> bytes_;
};

}  // namespace

std::map<std::string, torch::Tensor> load_npz(const std::filesystem::path& path) {
  const MappedFile file(path);
  try {
    const Archive archive(file.bytes());
    std::map<std::string, torch::Tensor> arrays;
    for (const auto& member : archive.members()) {
      constexpr std::string_view kEnding = ".npy";
      if (!member.name.ends_with(kEnding)) continue;
      try {
        arrays.emplace(member.name.substr(0, member.name.size() - kEnding.size()),
                       npy_array(archive.content(member)));
      } catch (const std::runtime_error& error) {
        throw std::runtime_error(member.name + ": " + error.what());
      }
    }
    return arrays;
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

}  // namespace rtrain::data
