#include "common/base/result.h"

#include <array>
#include <cstring>

namespace rtrain {
namespace {

constexpr std::array<std::pair<Errc, std::string_view>, 11> kNames{{
    {Errc::kInvalidArgument, "invalid_argument"},
    {Errc::kNotFound, "not_found"},
    {Errc::kUnavailable, "unavailable"},
    {Errc::kUnauthenticated, "unauthenticated"},
    {Errc::kTimeout, "timeout"},
    {Errc::kConflict, "conflict"},
    {Errc::kUnplaceable, "unplaceable"},
    {Errc::kLimit, "limit"},
    {Errc::kProtocol, "protocol"},
    {Errc::kIo, "io"},
    {Errc::kInternal, "internal"},
}};

}  // namespace

std::string_view to_string(Errc code) noexcept {
  for (const auto& [value, name] : kNames)
    if (value == code) return name;
  return "internal";
}

Errc errc_from_string(std::string_view name) noexcept {
  for (const auto& [value, text] : kNames)
    if (text == name) return value;
  return Errc::kInternal;
}

Error fail_errno(std::string_view what, int error_number) {
  return {Errc::kIo, std::string(what) + ": " + std::strerror(error_number)};
}

}  // namespace rtrain
