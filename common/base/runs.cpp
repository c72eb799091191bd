#include "common/base/runs.h"

namespace rtrain {

std::string runs_text(const std::vector<int>& ascending, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < ascending.size();) {
    std::size_t last = i;
    while (last + 1 < ascending.size() && ascending[last + 1] == ascending[last] + 1) ++last;
    if (!text.empty()) text += separator;
    text += std::to_string(ascending[i]);
    if (last > i) {
      text += last > i + 1 ? std::string_view("-") : separator;
      text += std::to_string(ascending[last]);
    }
    i = last + 1;
  }
  return text;
}

}  // namespace rtrain
