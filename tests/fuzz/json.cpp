// JSON text: the fast parser against nlohmann's, and text that is written against text that is read.
#include "tests/fuzz/fuzz.h"

#include "proto/json_parser.h"
#include "proto/json_text.h"

using namespace rtrain::proto;
using rtrain::fuzz::require;

namespace {

/// Our rules on top of nlohmann's: its parser takes repeated keys and any depth, and skips a byte order mark.
bool is_rare(const JsonText& read, std::string_view text) {
  return !read.problems.empty() || text.starts_with("\xEF\xBB\xBF");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = rtrain::fuzz::text_of(data, size);
  const JsonLimits limits{1u << 20, 24};
  Json fast;
  const bool taken = read_valid_json(text, limits.depth_max, fast);
  if (taken) {
    require(Json::accept(text.begin(), text.end()), "what the fast parser takes is JSON");
    require(Json::parse(text.begin(), text.end()).dump() == fast.dump(), "both parsers read the same value");
  }
  const JsonText read = read_json_text(text, limits);
  require(taken == read.problems.empty() || is_rare(read, text) || !taken,
          "what the fast parser takes has no problems");
  require(read.problems.size() <= kProblemsMax + 1, "problems are bounded");
  for (const auto& problem : read.problems)
    require(problem.path.size() + problem.message.size() < 1000, "a problem is short");
  if (!read.problems.empty()) return 0;
  const std::string told = dump_json(read.value);
  const auto again = parse_json(told, {64u << 20});
  require(again.has_value(), "what is written can be read");
  require(dump_json(*again) == told, "and reads as the same");
  require(depth_of(read.value) <= limits.depth_max, "the depth is bounded");
  const auto places = places_in(text, limits, {"a", "a.b", "[0]", "a.b[1].c", ""});
  for (const auto& place : places) require(place.line >= 0 && place.column >= 0, "places are positive");
  return 0;
}
