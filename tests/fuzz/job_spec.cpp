// Job files: every error has its place and is short, and what is accepted reads back as it was.
#include "tests/fuzz/fuzz.h"

#include "proto/jobspec/jobspec.h"

using namespace rtrain::proto;
using rtrain::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto reading = read_job_spec(rtrain::fuzz::text_of(data, size));
  if (!reading.ok()) {
    require(reading.errors.size() <= 51, "errors are bounded");
    require(reading.count + 1 >= reading.errors.size(), "and counted");
    for (const auto& error : reading.errors)
      require(error.path.size() + error.message.size() < 1000, "an error is short");
    return 0;
  }
  const auto stored = reads_back(reading.spec);
  if (!stored) std::fprintf(stderr, "%s\n", stored.error().message().c_str());
  require(stored.has_value(), "what is accepted reads back as it was");
  JobSpec resolved = reading.spec;
  resolve_paths(resolved, "/jobs", "/cwd", "/home/u", "");
  if (check_resolved(resolved).empty())
    require(reads_back(resolved).has_value(), "so does what is submitted");
  static_cast<void>(resolved.scaling_config.resources());
  return 0;
}
