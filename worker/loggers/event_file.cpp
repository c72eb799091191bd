#include "worker/loggers/event_file.h"

#include "common/base/crc32c.h"
#include "common/os/file.h"

#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace rtrain::loggers {
namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// Protobuf and records are little-endian, whatever the machine.
template <class T>
void append_little_endian(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

/// A CRC of data that holds CRCs is weak: records carry it rotated and offset.
std::uint32_t masked_crc(std::string_view bytes) {
  Crc32c crc;
  crc.add(bytes);
  const auto value = crc.value();
  return ((value >> 15) | (value << 17)) + 0xa282ead8u;
}

ProtoMessage metadata_of(const std::string& plugin, const std::string& content) {
  return ProtoMessage().message(1, ProtoMessage().text(1, plugin).text(2, content));
}

std::string host_name() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

}  // namespace

void ProtoMessage::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtoMessage::tag(int field, int wire_type) {
  varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
}

ProtoMessage& ProtoMessage::integer(int field, std::uint64_t value) {
  if (value != 0) tag(field, kVarint), varint(value);
  return *this;
}

ProtoMessage& ProtoMessage::number_even_0(int field, double value) {
  tag(field, kFixed64);
  append_little_endian(bytes_, std::bit_cast<std::uint64_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::number(int field, double value) {
  return value == 0 ? *this : number_even_0(field, value);
}

ProtoMessage& ProtoMessage::single_even_0(int field, float value) {
  tag(field, kFixed32);
  append_little_endian(bytes_, std::bit_cast<std::uint32_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::text(int field, std::string_view value) {
  if (value.empty()) return *this;
  tag(field, kBytes);
  varint(value.size());
  bytes_ += value;
  return *this;
}

ProtoMessage& ProtoMessage::message(int field, const ProtoMessage& value) {
  tag(field, kBytes);
  varint(value.bytes_.size());
  bytes_ += value.bytes_;
  return *this;
}

ProtoMessage& ProtoMessage::packed(int field, const std::vector<double>& values) {
  std::string bytes;
  for (const double value : values) append_little_endian(bytes, std::bit_cast<std::uint64_t>(value));
  return text(field, bytes);
}

ProtoMessage scalar_value(const std::string& tag, float value) {
  return ProtoMessage().text(1, tag).single_even_0(2, value);
}

ProtoMessage histogram_value(const std::string& tag, const Histogram& h) {
  return ProtoMessage().text(1, tag).message(5, ProtoMessage()
                                                    .number(1, h.min)
                                                    .number(2, h.max)
                                                    .number(3, h.num)
                                                    .number(4, h.sum)
                                                    .number(5, h.sum_squares)
                                                    .packed(6, h.limits)
                                                    .packed(7, h.counts));
}

ProtoMessage image_value(const std::string& tag, std::int64_t height, std::int64_t width, int channels,
                         const std::string& png) {
  return ProtoMessage().text(1, tag).message(4, ProtoMessage()
                                                    .integer(1, static_cast<std::uint64_t>(height))
                                                    .integer(2, static_cast<std::uint64_t>(width))
                                                    .integer(3, static_cast<std::uint64_t>(channels))
                                                    .text(4, png));
}

ProtoMessage text_value(const std::string& tag, const std::string& text) {
  constexpr std::uint64_t kString = 7;  // DataType of TensorFlow
  const auto shape = ProtoMessage().message(2, ProtoMessage().integer(1, 1));
  const auto tensor = ProtoMessage().integer(1, kString).message(2, shape);
  auto filled = tensor;
  filled.message(8, {});  // string_val; an empty text is a value, too
  return ProtoMessage()
      .text(1, tag + "/text_summary")
      .message(8, text.empty() ? filled : ProtoMessage(tensor).text(8, text))
      .message(9, metadata_of("text", ""));
}

ProtoMessage plugin_value(const std::string& tag, const std::string& plugin, const std::string& content) {
  return ProtoMessage().text(1, tag).message(9, metadata_of(plugin, content));
}

std::string record_of(std::string_view bytes) {
  std::string record;
  append_little_endian(record, static_cast<std::uint64_t>(bytes.size()));
  append_little_endian(record, masked_crc(record));
  record += bytes;
  append_little_endian(record, masked_crc(bytes));
  return record;
}

EventFile::EventFile(const std::filesystem::path& folder) {
  static std::atomic<int> files{0};
  path_ = folder / ("events.out.tfevents." + std::to_string(os::unix_ms_now() / 1000) + "." + host_name() +
                    "." + std::to_string(::getpid()) + "." + std::to_string(files++));
  out_.open(path_, std::ios::binary | std::ios::trunc);
  add_record(ProtoMessage()
                 .number(1, static_cast<double>(os::unix_ms_now()) / 1000)
                 .text(3, "brain.Event:2")
                 .message(10, ProtoMessage().text(1, "rtrain.TensorBoardLogger")));
  flush();
}

void EventFile::add(const std::vector<ProtoMessage>& values, std::int64_t step) {
  ProtoMessage summary;
  for (const auto& value : values) summary.message(1, value);
  add_record(ProtoMessage()
                 .number(1, static_cast<double>(os::unix_ms_now()) / 1000)
                 .integer(2, static_cast<std::uint64_t>(step))
                 .message(5, summary));
}

void EventFile::add_record(const ProtoMessage& event) { waiting_ += record_of(event.bytes()); }

void EventFile::flush() {
  out_ << waiting_ << std::flush;
  if (!out_) throw std::runtime_error("TensorBoardLogger: " + path_.string() + ": " + std::strerror(errno));
  waiting_.clear();
}

}  // namespace rtrain::loggers
