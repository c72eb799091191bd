// Server-sent events, read piece by piece as they come from the network. Pure.
#pragma once

#include "common/base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace rtrain::cli {

struct SseEvent {
  std::string name;  ///< "message" when the server names none
  std::string data;  ///< lines joined by '\n'
  std::string id;
};

/// Splits the pieces in any way: the events are the same. Comments and unknown fields are skipped, as the
/// standard says.
class SseParser {
 public:
  explicit SseParser(std::size_t event_bytes_max = 8u << 20) : event_bytes_max_(event_bytes_max) {}
  /// The events that `piece` completes. kLimit when one event is larger than allowed: the stream cannot be
  /// read on.
  [[nodiscard]] Result<std::vector<SseEvent>> feed(std::string_view piece);

 private:
  void take_line(std::string_view line, std::vector<SseEvent>& out);

  std::size_t event_bytes_max_;
  std::string line_;
  bool after_cr_ = false;  ///< a '\n' that follows belongs to the line end already seen
  bool first_line_ = true;
  bool has_data_ = false;
  SseEvent event_;
};

}  // namespace rtrain::cli
