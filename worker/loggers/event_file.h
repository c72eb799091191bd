// TensorBoard's event files, byte by byte: the few protobuf messages that they hold, and their records.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::loggers {

/// A protobuf message as it is written. Fields that have the value 0 or "" are left out, as proto3 does,
/// unless a function says otherwise.
class RTRAIN_API ProtoMessage {
 public:
  ProtoMessage& integer(int field, std::uint64_t value);
  ProtoMessage& number(int field, double value);
  ProtoMessage& number_even_0(int field, double value);
  ProtoMessage& single_even_0(int field, float value);
  ProtoMessage& text(int field, std::string_view value);
  ProtoMessage& message(int field, const ProtoMessage& value);  ///< even an empty one
  ProtoMessage& packed(int field, const std::vector<double>& values);
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value);
  void tag(int field, int wire_type);
  std::string bytes_;
};

/// Counts of values in buckets: `counts[i]` are those above `limits[i - 1]`, up to `limits[i]`.
struct Histogram {
  double min = 0, max = 0, num = 0, sum = 0, sum_squares = 0;
  std::vector<double> limits, counts;
};

/// Summary.Value, by kind.
[[nodiscard]] RTRAIN_API ProtoMessage scalar_value(const std::string& tag, float value);
[[nodiscard]] ProtoMessage histogram_value(const std::string& tag, const Histogram& histogram);
/// @param channels 1, 3 or 4. @param png the encoded image.
[[nodiscard]] ProtoMessage image_value(const std::string& tag, std::int64_t height, std::int64_t width,
                                       int channels, const std::string& png);
[[nodiscard]] ProtoMessage text_value(const std::string& tag, const std::string& text);
/// @param content a message of the plugin.
[[nodiscard]] RTRAIN_API ProtoMessage plugin_value(const std::string& tag, const std::string& plugin,
                                                   const std::string& content);

/// One events.out.tfevents file. Records wait until flush().
/// @thread one.
class EventFile {
 public:
  /// Begins a new file in `folder`, which exists. @throws std::runtime_error names the file and the cause.
  explicit EventFile(const std::filesystem::path& folder);
  /// An event with the values of one step.
  void add(const std::vector<ProtoMessage>& values, std::int64_t step);
  /// @throws std::runtime_error
  void flush();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void add_record(const ProtoMessage& event);
  std::filesystem::path path_;
  std::string waiting_;
  std::ofstream out_;
};

/// length, masked CRC-32C of the length, the bytes, masked CRC-32C of the bytes
[[nodiscard]] RTRAIN_API std::string record_of(std::string_view bytes);

}  // namespace rtrain::loggers
