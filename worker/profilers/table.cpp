#include "worker/profilers/table.h"

#include <charconv>

namespace rtrain::profilers {

std::string digits5(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::general, 5).ptr};
}

}  // namespace rtrain::profilers
