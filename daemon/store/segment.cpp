#include "daemon/store/segment.h"

#include <bit>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace rtrain::store {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the files are little-endian and are written as memory holds them");

constexpr std::size_t kFrame = 8;   // length, CRC
constexpr std::size_t kFixed = 29;  // flags, attempt, seq, time, length of the checkpoint's path
constexpr std::uint8_t kHasEvent = 1;
constexpr std::string_view kMagic{"RTSEG1\n\0", 8};

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}
template <class T>
T get(std::string_view in, std::size_t at) {
  T value;
  std::memcpy(&value, in.data() + at, sizeof(T));
  return value;
}
std::uint32_t crc_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

}  // namespace

std::string metrics_folder(const std::string& state_dir) { return state_dir + "/metrics"; }

std::string segment_folder(const std::string& state_dir, JobId id) {
  return metrics_folder(state_dir) + "/" + std::to_string(id.value() / 1000) + "/" + to_string(id);
}

std::string segment_path(const std::string& state_dir, JobId id, std::int64_t segment) {
  std::string number = std::to_string(segment);
  if (number.size() < 6) number.insert(0, 6 - number.size(), '0');
  return segment_folder(state_dir, id) + "/" + number + ".seg";
}

std::string segment_header(JobId id, std::int64_t first) {
  std::string header(kMagic);
  put(header, id.value());
  put(header, first);
  return header;
}

std::size_t encode_point(std::string& records, const proto::MetricPoint& point) {
  const std::string metrics = proto::dump_json(point.metrics);
  const std::size_t length = kFixed + point.checkpoint.size() + metrics.size();
  put(records, static_cast<std::uint32_t>(length));
  put(records, std::uint32_t{0});
  put(records, std::uint8_t{0});
  put(records, point.attempt);
  put(records, point.seq);
  put(records, point.time_ms);
  put(records, static_cast<std::uint32_t>(point.checkpoint.size()));
  records += point.checkpoint;
  records += metrics;
  return kFrame + length;
}

void mark_as_event(std::string& records, std::size_t at) {
  records[at + kFrame] = static_cast<char>(kHasEvent);
}

void seal(std::string& records) {
  for (std::size_t at = 0; at < records.size();) {
    const auto length = get<std::uint32_t>(records, at);
    const std::uint32_t crc = crc_of(std::string_view(records).substr(at + kFrame, length));
    std::memcpy(records.data() + at + 4, &crc, sizeof crc);
    at += kFrame + length;
  }
}

Result<proto::MetricPoint> to_point(const RecordView& record, const std::string& where) {
  auto metrics = proto::parse_json(record.metrics, {kRecordBytesMax, 1000});
  if (!metrics)
    return fail(Errc::kIo, where + ", offset " + std::to_string(record.at) +
                               ": the metrics are no JSON: " + metrics.error().message());
  return proto::MetricPoint{record.attempt, record.seq, record.time_ms, std::move(*metrics),
                            std::string(record.checkpoint)};
}

std::optional<std::string_view> SegmentScan::payload() {
  if (text_.empty() || !problem_.empty()) return std::nullopt;
  if (text_.size() < kFrame + kFixed) return problem_ = "a record is cut off", std::nullopt;
  const auto length = get<std::uint32_t>(text_, 0);
  if (length < kFixed || length > kRecordBytesMax) return problem_ = "no record begins here", std::nullopt;
  if (text_.size() - kFrame < length) return problem_ = "a record is cut off", std::nullopt;
  return text_.substr(kFrame, length);
}

std::optional<RecordView> SegmentScan::next() {
  const auto bytes = payload();
  if (!bytes) return std::nullopt;
  if (crc_of(*bytes) != get<std::uint32_t>(text_, 4))
    return problem_ = "the CRC of a record is wrong", std::nullopt;
  const auto path = get<std::uint32_t>(*bytes, 25);
  if (path > bytes->size() - kFixed) return problem_ = "a record contradicts itself", std::nullopt;
  RecordView record;
  record.at = offset_;
  record.bytes = static_cast<std::int64_t>(kFrame + bytes->size());
  record.has_event = (get<std::uint8_t>(*bytes, 0) & kHasEvent) != 0;
  record.attempt = get<std::int64_t>(*bytes, 1);
  record.seq = get<std::int64_t>(*bytes, 9);
  record.time_ms = get<std::int64_t>(*bytes, 17);
  record.checkpoint = bytes->substr(kFixed, path);
  record.metrics = bytes->substr(kFixed + path);
  text_.remove_prefix(kFrame + bytes->size());
  offset_ += record.bytes;
  return record;
}

void SegmentScan::skip(std::int64_t count) {
  for (; count > 0; --count) {
    const auto bytes = payload();
    if (!bytes) return;
    text_.remove_prefix(kFrame + bytes->size());
    offset_ += static_cast<std::int64_t>(kFrame + bytes->size());
  }
}

Result<std::string> read_range(const std::string& path, std::int64_t from, std::int64_t to) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return fail(Errc::kNotFound, path + ": no such file");
    return fail_errno("open " + path, errno);
  }
  struct stat status {};
  if (::fstat(fd, &status) != 0) status.st_size = 0;
  const std::int64_t end = to < 0 ? static_cast<std::int64_t>(status.st_size) : to;
  if (end > static_cast<std::int64_t>(status.st_size) || from > end) {
    ::close(fd);
    return fail(Errc::kIo, path + ": has " + std::to_string(status.st_size) + " bytes instead of " +
                               std::to_string(std::max(from, end)));
  }
  std::string text(static_cast<std::size_t>(end - from), '\0');
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::pread(fd, text.data() + done, text.size() - done,
                              static_cast<off_t>(from + static_cast<std::int64_t>(done)));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const auto error = n < 0 ? fail_errno("read " + path, errno)
                               : fail(Errc::kIo, path + ": became shorter while it was read");
      ::close(fd);
      return error;
    }
    done += static_cast<std::size_t>(n);
  }
  ::close(fd);
  return text;
}

}  // namespace rtrain::store
