#include "worker/runtime/payload.h"

#include <algorithm>

namespace rtrain::runtime {
namespace {

bool is_deeper(const proto::Json& value, int levels) {
  if (!value.is_structured()) return false;
  if (levels == 0) return true;
  return std::any_of(value.begin(), value.end(),
                     [levels](const proto::Json& child) { return is_deeper(child, levels - 1); });
}

}  // namespace

Result<Done> check_payload(const proto::Json& value, const std::string& what, std::size_t bytes_max,
                           const std::string& way_out) {
  if (is_deeper(value, kDepthMax))
    return fail(Errc::kLimit, what + " is nested deeper than " + std::to_string(kDepthMax) + " levels",
                way_out);
  const auto bytes = proto::dump_json(value).size();
  if (bytes <= bytes_max) return ok();
  return fail(Errc::kLimit,
              what + " has " + std::to_string(bytes) + " bytes as JSON; at most " +
                  std::to_string(bytes_max) + " (" + std::to_string(bytes_max >> 10) + " KiB) are stored",
              way_out);
}

std::string shortened(std::string text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  const auto bytes = text.size();
  auto end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
  return text + "... (" + std::to_string(bytes) + " bytes, of which the first " + std::to_string(end) +
         " are kept; the log of the rank has all of them)";
}

}  // namespace rtrain::runtime
