// Strong identifiers: a node cannot be passed where a job is wanted.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

namespace rtrain {

template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::int64_t value) : value_(value) {}
  [[nodiscard]] constexpr std::int64_t value() const noexcept { return value_; }
  friend constexpr auto operator<=>(Id, Id) = default;

 private:
  std::int64_t value_ = 0;
};

template <class Tag>
[[nodiscard]] std::string to_string(Id<Tag> id) {
  return std::to_string(id.value());
}

template <class Tag>
std::ostream& operator<<(std::ostream& out, Id<Tag> id) {
  return out << id.value();
}

/// A job's number, given by the head in order of submission, from 1; never reused.
using JobId = Id<struct JobIdTag>;
/// The n-th try of a job, from 1. Every message of a rank carries it; an older attempt is refused (fencing).
using Attempt = Id<struct AttemptTag>;

}  // namespace rtrain

template <class Tag>
struct std::hash<rtrain::Id<Tag>> {
  std::size_t operator()(rtrain::Id<Tag> id) const noexcept { return std::hash<std::int64_t>{}(id.value()); }
};
