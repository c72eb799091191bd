#include "proto/config/config.h"

#include "common/os/file.h"
#include "tests/support/catch.h"

#include <set>

namespace config_config_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

/// A shipped file names every field, each with its default.
template <class Config>
void check_file(const std::string& name) {
  const auto document = parse_json(*os::read_file(std::string(RTRAIN_SOURCE_DIR "/configs/") + name));
  REQUIRE(document.has_value());
  Config config;
  auto table = fields(config);
  for (const auto& error : apply_json(table, *document)) FAIL(to_string(error));
  Config defaults;
  const auto expected = fields(defaults);
  CHECK(document->size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(expected[i].name);
    CHECK(document->contains(expected[i].name));
    CHECK(table[i].get() == expected[i].get());
    CHECK_FALSE(expected[i].help.empty());
  }
}

std::map<std::string, std::string> errors_of(const Json& document) {
  HeadConfig config;
  auto table = fields(config);
  std::map<std::string, std::string> out;
  for (const auto& error : apply_json(table, document)) out[error.path] = error.message;
  return out;
}

}  // namespace

TEST_CASE("config: the shipped files are complete and hold the defaults") {
  check_file<HeadConfig>("head.json");
  check_file<AgentConfig>("agent.json");
}

TEST_CASE("config: all errors at once, each with its field") {
  const auto errors = errors_of({{"lisen", "127.0.0.1:1"},
                                 {"heartbeat_s", "2"},
                                 {"queue_max", 0},
                                 {"log_level", "loud"},
                                 {"listen", "127.0.0.1"},
                                 {"state_dir", 1}});
  CHECK(errors.size() == 6);
  CHECK(errors.at("lisen") == "unknown key; did you mean listen?");
  CHECK(errors.at("heartbeat_s") == "expected a number");
  CHECK(errors.at("queue_max") == "0 is out of range; it must be from 1 to 10000000");
  CHECK(errors.at("log_level") == "must be one of trace, debug, info, warn, error");
  CHECK(errors.at("listen") == "\"127.0.0.1\": the port is missing");
  CHECK(errors.at("state_dir") == "expected a string");
  CHECK(errors_of(Json::array()).contains(""));
}

TEST_CASE("config: a variable wins over the file, and a flag's text is read by its type") {
  AgentConfig config;
  auto table = fields(config);
  REQUIRE(apply_json(table, {{"node_name", "a"}, {"worker_lease_s", 3}}).empty());
  const auto getenv = [](const char* name) -> const char* {
    const std::string variable = name;
    if (variable == "RTRAIN_NODE_NAME") return "b";
    if (variable == "RTRAIN_RESOURCES") return R"({"CPU": 2, "memory": "1GiB"})";
    if (variable == "RTRAIN_PRESTART_ZYGOTE") return "maybe";
    return nullptr;
  };
  const auto errors = apply_environment(table, getenv);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].path == "RTRAIN_PRESTART_ZYGOTE");
  CHECK(config.node_name == "b");
  CHECK(config.resources == Resources{{"CPU", 2}, {"memory", 1073741824}});
  for (auto& field : table) {
    if (field.name == "worker_lease_s") {
      CHECK(apply_text(field, "7.5").empty());
      CHECK_FALSE(apply_text(field, "soon").empty());
    }
    if (field.name == "labels") CHECK(apply_text(field, R"({"rack": "r1"})").empty());
    if (field.name == "labels") CHECK(apply_text(field, "rack=r1,zone=").empty());
    if (field.name == "labels")
      CHECK(apply_text(field, "rack") ==
            R"("rack": expected an object of strings, such as {"rack": "r1"}, or rack=r1,zone=b)");
  }
  CHECK(config.worker_lease_s == 7.5);
  CHECK(config.labels.at("rack") == "r1");
}

TEST_CASE("config: a lease must be longer than two heartbeats") {
  HeadConfig config;
  CHECK(check(config).empty());
  config.lease_s = 4;
  REQUIRE(check(config).size() == 1);
  CHECK(check(config)[0].path == "lease_s");
}

}  // namespace config_config_test
