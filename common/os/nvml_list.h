// Lists of NVML, whose length is known only when they are asked for.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

namespace rtrain::os {

constexpr int kNvmlSuccess = 0, kNvmlInsufficientSize = 7;  // nvmlReturn_t

/// All rows that `ask(&count, rows)` gives, for functions with NVML's convention: `count` is the room there
/// is when it is called and the number of rows afterwards. For too little room they answer
/// NVML_ERROR_INSUFFICIENT_SIZE and the number that is needed. The list may grow between two calls, so each
/// new room has some to spare.
/// @return nothing on any other error, after five calls, and above 65,536 rows: no GPU has as many processes.
template <class Row, class Ask>
[[nodiscard]] std::optional<std::vector<Row>> nvml_list(Ask ask) {
  constexpr unsigned kRoomAtFirst = 64, kRoomToSpare = 16, kRowsMax = 65'536;
  constexpr int kCallsMax = 5;
  std::vector<Row> rows(kRoomAtFirst);
  for (int calls = 0; calls < kCallsMax; ++calls) {
    const auto room = static_cast<unsigned>(rows.size());
    auto count = room;
    const int result = ask(&count, rows.data());
    if (result == kNvmlSuccess) {
      rows.resize(std::min(count, room));
      return rows;
    }
    if (result != kNvmlInsufficientSize || count > kRowsMax) return std::nullopt;
    rows.assign(std::max(count, room) + kRoomToSpare, Row{});
  }
  return std::nullopt;
}

}  // namespace rtrain::os
