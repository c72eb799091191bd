// head.json and agent.json, and values of their variables.
#include "tests/fuzz/fuzz.h"

#include "proto/config/config.h"

using namespace rtrain::proto;
using rtrain::fuzz::require;

namespace {

template <class Config>
void check(const Json& document) {
  Config config;
  auto table = fields(config);
  if (!apply_json(table, document).empty()) return;
  Json told = Json::object();
  for (const auto& field : table) told[field.name] = field.get();
  const auto text = dump_json(told);
  const auto json = parse_json(text);
  require(json.has_value(), "a configuration can be written");
  Config again;
  auto other = fields(again);
  require(apply_json(other, *json).empty(), "and read again");
  Json twice = Json::object();
  for (const auto& field : other) twice[field.name] = field.get();
  require(dump_json(twice) == text, "as the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = rtrain::fuzz::text_of(data, size);
  if (const auto json = parse_json(text)) {
    check<HeadConfig>(*json);
    check<AgentConfig>(*json);
    return 0;
  }
  HeadConfig head;
  AgentConfig agent;
  const std::string word(text.substr(0, text.find('\0')));
  for (auto& field : fields(head)) static_cast<void>(apply_text(field, word));
  for (auto& field : fields(agent)) static_cast<void>(apply_text(field, word));
  return 0;
}
