// Lists of whole numbers as people read them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rtrain {

/// "0, 2-7": three and more numbers that follow each other are a run. @param ascending each number once
[[nodiscard]] std::string runs_text(const std::vector<int>& ascending, std::string_view separator = ", ");

}  // namespace rtrain
