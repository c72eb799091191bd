// Documents that are not ready when they are asked for.
#pragma once

#include "cli/client.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

namespace rtrain::cli {

/// GETs a document again and again until its `state` is another one. The head bounds how long that takes.
template <class Doc>
[[nodiscard]] Result<Doc> wait_while(std::string_view state, const Client& client,
                                     const std::string& target) {
  constexpr std::chrono::milliseconds kFirstPause{20}, kLongestPause{250};
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    auto answer = client.get(target);
    if (!answer) return answer.error();
    auto doc = as<Doc>(*answer);
    if (!doc || doc->state != state) return doc;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace rtrain::cli
