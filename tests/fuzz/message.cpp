// Frames and the messages in them: what a stranger, an agent or a rank sends.
#include "tests/fuzz/fuzz.h"

#include "proto/event/event.h"
#include "proto/message/message.h"

using namespace rtrain;
using namespace rtrain::proto;
using fuzz::require;

namespace {

void check(const Frame& frame) {
  const auto message = decode(frame);
  if (!message) {
    require(message.error().message().size() < 4096, "an error is short");
    return;
  }
  const Frame told = encode(*message);
  const auto again = decode(told);
  require(again.has_value(), "a message that was taken can be sent on");
  require(again->index() == message->index(), "as the same message");
  const Frame twice = encode(*again);
  require(twice.json == told.json && twice.body == told.body, "with the same content");
  static_cast<void>(rank_of(*message));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (!text.starts_with("RTR1")) {
    check({std::string(text), {}});
    if (const auto json = parse_json(text)) {
      if (const auto event = event_from_json(*json)) {
        const auto told = dump_json(to_json(*event));
        const auto again = event_from_json(*parse_json(told));
        require(again.has_value(), "an event that was taken can be stored");
        require(dump_json(to_json(*again)) == told, "and reads as the same");
      }
    }
    return 0;
  }
  for (const auto& limits : {FrameLimits{}, kHandshakeLimits}) {
    const auto header = decode_frame_header(text, limits);
    if (!header) continue;
    require(header->json_bytes <= limits.json_bytes_max && header->body_bytes <= limits.body_bytes_max,
            "lengths are within the limits");
    const auto rest = text.substr(kFrameHeaderBytes);
    if (rest.size() < std::size_t{header->json_bytes} + header->body_bytes) continue;
    check({std::string(rest.substr(0, header->json_bytes)),
           std::string(rest.substr(header->json_bytes, header->body_bytes))});
  }
  return 0;
}
