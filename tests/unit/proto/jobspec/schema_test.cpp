// The JSON Schema and the reader say the same.
#include "common/os/file.h"
#include "proto/jobspec/object_reader.h"
#include "tests/support/catch.h"

#if __has_include(<valijson/adapters/nlohmann_json_adapter.hpp>)
#define RTRAIN_HAS_VALIJSON 1
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#endif

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

namespace schema_test {

using namespace rtrain;
using namespace rtrain::proto;
namespace fs = std::filesystem;

namespace {

Json schema() { return *parse_json(job_schema()); }

/// The keys of each closed object of the schema, by path.
void collect(const Json& node, const std::string& path, std::map<std::string, std::set<std::string>>& out) {
  if (node.value("additionalProperties", Json(true)) != false) return;
  for (const auto& [key, child] : node.at("properties").items()) {
    out[path].insert(key);
    if (child.value("type", Json()) == "object") collect(child, path.empty() ? key : path + "." + key, out);
  }
}

std::vector<fs::path> job_files() {
  std::vector<fs::path> files;
  const fs::path folder = RTRAIN_SOURCE_DIR "/configs/jobs";
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
  return files;
}

}  // namespace

TEST_CASE("job schema: it is what stands in the source tree") {
  CHECK(job_schema() == *os::read_file(RTRAIN_SOURCE_DIR "/proto/jobspec/job.schema.json"));
}

TEST_CASE("job schema: its keys are the reader's keys, at every level") {
  std::map<std::string, std::set<std::string>> of_schema, of_reader;
  collect(schema(), "", of_schema);
  for (const auto& [path, keys] : job_spec_keys()) of_reader[path] = {keys.begin(), keys.end()};
  CHECK(of_schema == of_reader);
}

TEST_CASE("job schema: its defaults are the reader's") {
  const Json canonical = to_json(read_job_spec(R"({"command": ["true"]})").spec);
  const auto check = [&](const Json& node, const Json& value, auto&& self) -> void {
    for (const auto& [key, child] : node.at("properties").items()) {
      INFO(key);
      if (child.contains("properties") && key != "resources_per_worker" && value.contains(key))
        self(child, value.at(key), self);
      else if (child.contains("default") && value.contains(key))
        CHECK(child.at("default") == value.at(key));
    }
  };
  check(schema(), canonical, check);
}

TEST_CASE("job files: the reader takes every one that ships") {
  for (const auto& file : job_files()) {
    INFO(file.string());
    const auto reading = read_job_spec(*os::read_file(file.string()));
    for (const auto& error : reading.errors) UNSCOPED_INFO(to_string(error));
    CHECK(reading.ok());
  }
}

#ifdef RTRAIN_HAS_VALIJSON
namespace {

class Checker {
 public:
  Checker() : document_(schema_test::schema()) {
    valijson::adapters::NlohmannJsonAdapter adapter(document_);
    valijson::SchemaParser(valijson::SchemaParser::kDraft7).populateSchema(adapter, schema_);
  }
  bool accepts(const Json& job) {
    valijson::Validator validator;
    const valijson::adapters::NlohmannJsonAdapter target(job);
    return validator.validate(schema_, target, nullptr);
  }

 private:
  Json document_;
  valijson::Schema schema_;
};

}  // namespace

TEST_CASE("job schema: it takes the job files that ship and every canonical form") {
  Checker checker;
  for (const auto& file : job_files()) {
    INFO(file.string());
    const Json job = *parse_json(*os::read_file(file.string()));
    CHECK(checker.accepts(job));
    CHECK(checker.accepts(to_json(read_job_spec(job).spec)));
  }
  CHECK(checker.accepts(to_json(
      read_job_spec(
          R"({"train_func": {"library": "x"}, "scaling_config": {"use_gpu": true, "resources_per_worker": {"GPU": 2, "memory": "8GiB"}}})")
          .spec)));
}

TEST_CASE("job schema: it refuses most broken files that are JSON at all") {
  // What one key alone cannot show (use_gpu against GPU, reserved variables, sizes) only the reader sees.
  const std::set<std::string> beyond{"lower_case_resources",
                                     "gpu_without_use_gpu",
                                     "use_gpu_with_no_gpu",
                                     "reserved_env",
                                     "nul_in_env",
                                     "repeated_keys",
                                     "tpu",
                                     "command_with_a_number",
                                     "empty_range_of_workers"};
  Checker checker;
  int refused = 0;
  for (const auto& entry : fs::directory_iterator(RTRAIN_SOURCE_DIR "/tests/golden/jobspec")) {
    if (entry.path().extension() != ".json") continue;
    const auto job = parse_json(*os::read_file(entry.path().string()), {.depth_max = kUserDepthMax});
    const std::string name = entry.path().stem().string().substr(3);
    if (!job || beyond.contains(name)) continue;
    INFO(name);
    CHECK_FALSE(checker.accepts(*job));
    ++refused;
  }
  CHECK(refused >= 20);
}
#endif

}  // namespace schema_test
