// --queue, --priority, --time, ...: the fields of `scheduling` as options.
#include "cli/job_file.h"
#include "cli/moment.h"

#include <charconv>
#include <iterator>

namespace rtrain::cli {

namespace {

/// "afterok:1,after:2" -> ["afterok:1","after:2"]
proto::Json dependency_list(const std::vector<std::string>& texts) {
  proto::Json list = proto::Json::array();
  for (const auto& text : texts)
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      list.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  return list;
}

/// A number where the text is one; what is no number is left to the job file's reader, which refuses it with
/// its own words.
proto::Json number_or_text(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  return text;
}

}  // namespace

std::vector<Option> scheduling_options(std::vector<Option> and_more) {
  std::vector<Option> options{
      {"queue", 0, "NAME", "the queue (scheduling.queue)"},
      {"priority", 0, "N", "-1000 to 1000, higher starts first"},
      {"time", 0, "LIMIT", "time limit of an attempt: 90m, HH:MM:SS, DD-HH:MM:SS"},
      {"begin", 0, "TIME",
       "do not start before: now+1hour, 18:30, 2026-11-26T08:00 (local time) or ...Z (UTC)"},
      {"depends-on", 0, "LIST", "wait for other jobs: afterok:12,afterany:13,after:14"},
      {"array", 0, "INDICES", "a job for each index: 0-99%10 (10 at a time), 0-15:4, 1,3,7"},
      {"hold", 0, "", "do not start it before rtrain release"},
      {"reservation", 0, "NAME", "run on what is reserved under this name"}};
  options.insert(options.end(), std::make_move_iterator(and_more.begin()),
                 std::make_move_iterator(and_more.end()));
  return options;
}

Result<std::vector<Override>> scheduling_overrides(const Arguments& args, std::int64_t now_ms) {
  std::vector<Override> overrides;
  const auto add = [&](const char* field, const proto::Json& value, const std::string& option) {
    overrides.emplace_back("scheduling." + std::string(field) + "=" + proto::dump_json(value), "--" + option);
  };
  for (const auto& [option, field] : {std::pair{"queue", "queue"},
                                      {"time", "time_limit"},
                                      {"array", "array"},
                                      {"reservation", "reservation"}})
    if (const auto text = args.text(option)) add(field, *text, option + (" " + *text));
  if (const auto text = args.text("priority")) add("priority", number_or_text(*text), "priority " + *text);
  if (args.has("depends-on")) add("depends_on", dependency_list(args.texts("depends-on")), "depends-on");
  if (const auto text = args.text("begin")) {
    auto at_ms = parse_moment(*text, now_ms);
    if (!at_ms) return at_ms.error().in("--begin");
    add("begin_at", proto::rfc3339(*at_ms), "begin " + *text);
  }
  if (args.has("hold")) add("hold", true, "hold");
  return overrides;
}

}  // namespace rtrain::cli
