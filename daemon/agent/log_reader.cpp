#include "daemon/agent/log_reader.h"

#include "daemon/agent/log_bound.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::agent {
namespace {

constexpr std::int64_t kChunkMax = 1 << 20;  // a frame's body
constexpr std::int64_t kLinesMax = 1'000'000'000;
constexpr std::int64_t kTailMax = 16 << 20;  // how far back the last lines are looked for

/// Where the last `lines` lines begin, not before `first`.
std::int64_t tail_offset(int fd, std::int64_t first, std::int64_t size, std::int64_t lines) {
  std::string block(65536, '\0');
  std::int64_t newlines = 0;
  for (std::int64_t end = size; end > first && size - end < kTailMax;) {
    const auto begin = std::max<std::int64_t>(first, end - static_cast<std::int64_t>(block.size()));
    const auto got = ::pread(fd, block.data(), static_cast<std::size_t>(end - begin), begin);
    for (auto i = got - 1; i >= 0; --i)
      if (block[static_cast<std::size_t>(i)] == '\n' && begin + i != size - 1 && ++newlines == lines)
        return begin + i + 1;
    end = begin;
  }
  return std::max<std::int64_t>(first, size - kTailMax);
}

}  // namespace

proto::LogData read_log(const std::string& path, const proto::LogRead& read, bool live) {
  proto::LogData data;
  data.request = read.request;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    // A rank that is being started has no file yet; one that never was has none at all.
    if (live)
      data.at_end = true;
    else
      data.error = "no log of " + to_string(read.key) + " on this node: " + std::strerror(errno);
    return data;
  }
  struct stat info {};
  ::fstat(fd, &info);
  const auto first = log_begin(fd);  // what stood before was cut
  data.offset = read.offset >= 0 ? std::min<std::int64_t>(std::max(read.offset, first), info.st_size)
                                 : tail_offset(fd, first, info.st_size, -std::max(read.offset, -kLinesMax));
  data.data.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(
      info.st_size - data.offset, 0, std::clamp<std::int64_t>(read.bytes_max, 0, kChunkMax))));
  const auto got = ::pread(fd, data.data.data(), data.data.size(), data.offset);
  data.data.resize(static_cast<std::size_t>(std::max<ssize_t>(0, got)));
  data.at_end = data.offset + static_cast<std::int64_t>(data.data.size()) >= info.st_size;
  data.complete = !live && data.at_end;
  ::close(fd);
  return data;
}

}  // namespace rtrain::agent
