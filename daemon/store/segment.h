// Metric points on disk: append-only files of a job, each record with its length and CRC-32.
//
//   <state_dir>/metrics/<job / 1000>/<job>/000000.seg, 000001.seg, ...
//   file:    "RTSEG1\n\0"  job i64  number of its first point i64, then records
//   record:  length u32  crc32 u32 of what follows  flags u8  attempt i64  seq i64  time i64 ms  checkpoint u32 + bytes  metrics as JSON text
//
// All numbers are little-endian. A file is what the index says of it (SegmentRow); behind that may be a
// record that a crash tore.
#pragma once

#include "common/base/id.h"
#include "proto/api/api.h"

#include <optional>
#include <string>
#include <string_view>

namespace rtrain::store {

/// A file that has reached this size is not written any more; the next begins.
inline constexpr std::int64_t kSegmentBytes = 4 << 20;
inline constexpr std::int64_t kSegmentHeaderBytes = 24;
/// No record is larger: a length above is no length.
inline constexpr std::uint32_t kRecordBytesMax = 256u << 20;

/// What the index says of a file: so much of it is there and durable.
struct SegmentRow {
  std::int64_t segment = -1;  ///< number of the file within its job, from 0; -1: there is none
  std::int64_t first = 0;     ///< number of its first point, counted over the job, from 0
  std::int64_t points = 0;
  std::int64_t bytes = 0;    ///< with the header
  std::int64_t last_at = 0;  ///< where the last record begins; 0: there is none
  [[nodiscard]] std::int64_t end() const { return first + points; }
  friend bool operator==(const SegmentRow&, const SegmentRow&) = default;
};

[[nodiscard]] std::string metrics_folder(const std::string& state_dir);
[[nodiscard]] std::string segment_folder(const std::string& state_dir, JobId id);
[[nodiscard]] std::string segment_path(const std::string& state_dir, JobId id, std::int64_t segment);
[[nodiscard]] std::string segment_header(JobId id, std::int64_t first);

/// Appends a record that is not sealed yet. Returns its size.
std::size_t encode_point(std::string& records, const proto::MetricPoint& point);
/// Says of the record at `at` that an event of the journal belongs to it: without the event the point is not
/// taken at a start.
void mark_as_event(std::string& records, std::size_t at);
/// Computes the CRC of every record.
void seal(std::string& records);

/// One record of a file that is in memory.
struct RecordView {
  std::int64_t at = 0;     ///< offset in the file
  std::int64_t bytes = 0;  ///< with length and CRC
  bool has_event = false;
  std::int64_t attempt = 0, seq = 0, time_ms = 0;
  std::string_view checkpoint, metrics;  ///< into the file's text
};
/// The error names `where` when the metrics are no JSON.
[[nodiscard]] Result<proto::MetricPoint> to_point(const RecordView& record, const std::string& where);

/// Goes through the records of a part of a file.
class SegmentScan {
 public:
  /// `text` lies at `offset` of the file, which is the beginning of a record.
  SegmentScan(std::string_view text, std::int64_t offset) : text_(text), offset_(offset) {}
  /// Nothing at the end, or at a record that is torn or damaged: then problem() says what is wrong at
  /// offset().
  [[nodiscard]] std::optional<RecordView> next();
  /// Passes over `count` records by their lengths alone.
  void skip(std::int64_t count);
  [[nodiscard]] std::int64_t offset() const { return offset_; }  ///< of the next record
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  [[nodiscard]] std::optional<std::string_view> payload();
  std::string_view text_;
  std::int64_t offset_;
  std::string problem_;
};

/// The bytes [from, to) of a file; to -1: to its end. kIo also when it is shorter than `to`.
[[nodiscard]] Result<std::string> read_range(const std::string& path, std::int64_t from, std::int64_t to);

}  // namespace rtrain::store
