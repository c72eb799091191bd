// Short texts with a grammar of their own: times, lengths of time, arrays, dependencies, amounts, label
// selectors, positions in streams, addresses.
#include "tests/fuzz/fuzz.h"

#include "cli/moment.h"
#include "common/base/number.h"
#include "common/net/endpoint.h"
#include "proto/api/stream_position.h"
#include "proto/jobspec/jobspec.h"
#include "proto/jobspec/resources.h"

#include <cmath>

using namespace rtrain;
using namespace rtrain::proto;
using fuzz::require;

namespace {

void times(std::string_view text) {
  if (const auto at = parse_rfc3339(text))
    require(parse_rfc3339(rfc3339(*at)).value() == *at, "a time reads back");
  if (const auto at = cli::parse_moment(std::string(text), 1'795'680'000'000))
    require(*at > -1'000'000'000'000'000 && *at < 1'000'000'000'000'000, "a moment is near");
  if (const auto seconds = parse_time_limit(text))
    require(std::isfinite(*seconds) && *seconds > 0 && *seconds <= 1e9, "a time limit is a length of time");
}

void lists(std::string_view text) {
  if (const auto array = parse_array(text)) {
    require(!array->indices.empty() && array->indices.size() <= kArrayMax, "an array has a size");
    require(parse_array(to_string(*array)).value() == *array, "an array reads back");
  }
  if (const auto dependencies = parse_dependency(text))
    for (const auto& dependency : *dependencies)
      require(parse_dependency(to_string(dependency)).value().front() == dependency,
              "a dependency reads back");
}

void labels(std::string_view text) {
  if (const auto match = parse_label_match(text)) {
    require(!match->values.empty(), "a match has a value");
    require(parse_label_match(to_string(*match)).value() == *match, "a match reads back");
    const std::string value(text);
    static_cast<void>(match->holds(&value));
    static_cast<void>(match->holds(nullptr));
  }
  static_cast<void>(check_label(text, text));
}

void numbers(std::string_view text) {
  if (const auto bytes = parse_bytes(text)) require(std::isfinite(*bytes) && *bytes >= 0, "an amount is one");
  if (const auto number = finite_number(text)) require(std::isfinite(*number), "a number is one");
  if (const auto whole = whole_number(text))
    require(*whole >= -kWholeMax && *whole <= kWholeMax, "a whole number is in range");
}

void places(std::string_view text) {
  if (const auto position = parse_stream_position(text))
    require(to_string(parse_stream_position(to_string(*position)).value()) == to_string(*position),
            "a position reads back");
  static_cast<void>(net::parse_endpoint(std::string(text)));
  static_cast<void>(nearest(text, {"QUEUED", "RUNNING", "scaling_config"}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  times(text);
  lists(text);
  labels(text);
  numbers(text);
  places(text);
  return 0;
}
