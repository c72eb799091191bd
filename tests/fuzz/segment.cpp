// Metric files as a crash or a bad disk leaves them. The first byte says how: damaged as it is, or sealed
// again so that the CRC is right.
#include "tests/fuzz/fuzz.h"

#include "daemon/store/segment.h"

using namespace rtrain;
using namespace rtrain::store;
using fuzz::require;

namespace {

void scan(std::string_view text) {
  SegmentScan scan(text, kSegmentHeaderBytes);
  while (const auto record = scan.next()) {
    require(record->bytes > 0 && record->at >= kSegmentHeaderBytes, "a record has a place");
    const auto point = to_point(*record, "file");
    if (!point) continue;
    std::string again;
    encode_point(again, *point);
    seal(again);
    SegmentScan other(again, 0);
    const auto read = other.next();
    require(read.has_value(), "a point that was read can be written");
    require(read->attempt == point->attempt && read->seq == point->seq && read->time_ms == point->time_ms &&
                read->checkpoint == point->checkpoint,
            "as the same");
  }
  require(scan.offset() - kSegmentHeaderBytes <= static_cast<std::int64_t>(text.size()),
          "a scan ends within the file");
  SegmentScan skipping(text, 0);
  skipping.skip(3);
  static_cast<void>(skipping.next());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto text = fuzz::text_of(data + 1, size - 1);
  if (data[0] % 2 == 0) scan(text);
  std::string sealed;
  encode_point(sealed, {1, 2, 3, {{"loss", 0.5}}, std::string(text.substr(0, 64))});
  std::int64_t plain = 0;
  for (const char c : text.substr(0, 8)) plain = plain * 256 + static_cast<unsigned char>(c) % 128;
  encode_point(sealed, {plain, plain, plain, {{"text", std::string(text)}}, ""});
  seal(sealed);
  scan(sealed);
  return 0;
}
