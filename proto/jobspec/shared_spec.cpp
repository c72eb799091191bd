#include "proto/jobspec/shared_spec.h"

namespace rtrain::proto {
namespace {

/// A node of a map or a block of the heap, beside what it holds.
constexpr std::int64_t kNodeBytes = 64;

std::int64_t text_bytes(const std::string& text) {
  return static_cast<std::int64_t>(sizeof(std::string) + text.capacity());
}

}  // namespace

SharedSpec::SharedSpec() {
  static const auto empty = std::make_shared<const Held>();
  held_ = empty;
}

SharedSpec::SharedSpec(JobSpec spec) {
  const auto bytes = memory_bytes(spec);
  held_ = std::make_shared<const Held>(std::move(spec), bytes);
}

std::int64_t memory_bytes(const Json& value) {
  auto bytes = static_cast<std::int64_t>(sizeof(Json));
  if (const auto* text = value.get_ptr<const std::string*>())
    bytes += text_bytes(*text);
  else if (value.is_object())
    for (const auto& [key, element] : value.items())
      bytes += kNodeBytes + text_bytes(key) + memory_bytes(element);
  else if (value.is_array())
    for (const auto& element : value) bytes += memory_bytes(element);
  return bytes;
}

std::int64_t memory_bytes(const JobSpec& spec) {
  auto bytes = static_cast<std::int64_t>(sizeof(JobSpec)) + memory_bytes(spec.train_loop_config);
  for (const auto& word : spec.command) bytes += text_bytes(word);
  for (const auto& [name, value] : spec.env) bytes += kNodeBytes + text_bytes(name) + text_bytes(value);
  bytes += static_cast<std::int64_t>(spec.scheduling.depends_on.size() *
                                     sizeof(spec.scheduling.depends_on.front()));
  return bytes;
}

}  // namespace rtrain::proto
