// What is accepted can be read back: random documents, valid and almost valid ones.
#include "proto/jobspec/jobspec.h"
#include "tests/support/catch.h"
#include "tests/support/odd_json.h"
#include "tests/support/rounds.h"

#include <random>

namespace round_trip_test {

using namespace rtrain;
using namespace rtrain::proto;
using test::OddJson;

namespace {

/// Every field of a job file with values that are right, or nearly.
class JobMaker {
 public:
  explicit JobMaker(unsigned seed) : random_(seed) {}

  Json job() {
    Json j = Json::object();
    if (odds(90))
      j["command"] = Json::array({pick({"true", "/bin/a b", "é", "nan", "-"}), "x"});
    else
      j["train_func"] = {{"library", pick({"lib.so", "/x/l.so"})}, {"name", pick({"", "f"})}};
    maybe(j, "name", {"a", "A.b-c_1", "nan"});
    if (odds(50)) j["train_loop_config"] = odd_.value(4);
    if (odds(60)) j["scaling_config"] = scaling();
    if (odds(60)) j["run_config"] = run();
    if (odds(60)) j["scheduling"] = scheduling();
    if (odds(30))
      j["torch_config"] = {
          {"backend", pick({"auto", "gloo", "nccl"})}, {"timeout_s", number()}, {"init_timeout_s", number()}};
    if (odds(40)) j["env"] = {{pick({"A", "_b", "LONG_NAME"}), pick({"", "1", "é", "a=b\nc"})}};
    if (odds(20)) j["env_inherit"] = odds(50);
    if (odds(30)) j["working_dir"] = pick({"", "w", "/w/é"});
    if (odds(20)) j["resume_from_checkpoint"] = pick({"", "c", "/c"});
    if (odds(30)) odd_.spoil(j);
    return j;
  }

 private:
  bool odds(int percent) { return static_cast<int>(random_() % 100) < percent; }
  Json pick(const std::vector<const char*>& values) { return values[random_() % values.size()]; }
  void maybe(Json& object, const char* key, const std::vector<const char*>& values) {
    if (odds(40)) object[key] = pick(values);
  }
  Json number() {
    const std::vector<Json> values{0,
                                   1,
                                   2.5,
                                   1e-300,
                                   0.1,
                                   1e9,
                                   1e300,
                                   3600,
                                   86'400,
                                   -1,
                                   5e-324,
                                   1.0000000000000002,
                                   9007199254740993,
                                   123456.789};
    return values[random_() % values.size()];
  }
  Json scaling() {
    Json j = Json::object();
    const std::vector<Json> workers{
        1, 2, 100'000, Json::array({1, 4}), Json::array({2, 2}), 0, Json::array({4, 1}), -1};
    if (odds(60)) j["num_workers"] = workers[random_() % workers.size()];
    if (odds(40)) j["use_gpu"] = odds(50);
    if (odds(50))
      j["resources_per_worker"] = {
          {pick({"CPU", "GPU", "memory", "license"}),
           odds(70) ? number() : pick({"8GiB", "1.5 GB", "nan", "1e300TiB", "infGiB"})}};
    maybe(j, "placement_strategy", {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"});
    maybe(j, "accelerator_type", {"", "H100"});
    if (odds(40))
      j["label_selector"] = {{pick({"rack", "a.b/c"}), pick({"", "a", "!a", "in(a,b)", "!in(b, a, a)",
                                                             "in(,a)", "in(,)", "!", "! in(a)", "in(a"})}};
    if (odds(40)) j["elastic_resize_monitor_interval_s"] = number();
    return j;
  }
  Json run() {
    Json j = Json::object();
    maybe(j, "storage_path", {"", "/r", "~/r"});
    if (odds(40)) j["stop_grace_s"] = number();
    if (odds(40)) j["hang_timeout_s"] = number();
    if (odds(40)) j["failure_config"] = {{"max_failures", static_cast<int>(random_() % 5) - 1}};
    if (odds(40))
      j["checkpoint_config"] = {{"num_to_keep", static_cast<int>(random_() % 4)},
                                {"checkpoint_score_order", pick({"max", "min"})}};
    return j;
  }
  Json scheduling() {
    Json j = Json::object();
    maybe(j, "queue", {"default", "night"});
    if (odds(40)) j["priority"] = static_cast<int>(random_() % 2200) - 1100;
    if (odds(60))
      j["time_limit"] = odds(40) ? number()
                                 : pick({"90m", "1h30m", "nans", "infs", "1dinfs", "0.1s", "1e3s", "00:01",
                                         "1-02:03:04", "999999d", "0s", ".5m", "nan", "1.0000000000000002s"});
    maybe(j, "begin_at",
          {"2026-11-26T08:00:00Z", "2026-11-26T08:00:00.123456+01:00", "2026-02-30T00:00:00Z",
           "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59"});
    if (odds(40))
      j["depends_on"] = Json::array({pick({"afterok:1", "after:1:2:2", "afterany:9007199254740991",
                                           "afterok:9223372036854775807", "afterok:-1"}),
                                     "afterok:1"});
    maybe(
        j, "array",
        {"0", "0-9", "0-9:3%2", "1,3,7", "5-9:4", "0-1:5", "0-99999", "999999999", "1-3,2", "7,3", "0-3:1"});
    if (odds(30)) j["hold"] = odds(50);
    maybe(j, "reservation", {"r1"});
    if (odds(30)) j["preemptible"] = odds(50);
    if (odds(40)) j["preempt_grace_s"] = number();
    if (odds(30))
      j["topology"] = {{"level", pick({"node", "rack"})}, {"mode", pick({"preferred", "required"})}};
    return j;
  }

  std::mt19937 random_;
  OddJson odd_{random_};
};

}  // namespace

TEST_CASE("job spec: what is accepted reads back as it was", "[F40]") {
  JobMaker make(40);
  int accepted = 0;
  for (int i = 0; i < test::rounds(20'000); ++i) {
    const Json document = make.job();
    auto reading = read_job_spec(document);
    if (!reading.ok()) continue;
    ++accepted;
    INFO(dump_json(document));
    const auto stored = reads_back(reading.spec);
    if (!stored) FAIL(stored.error().message());
    CHECK(read_job_spec(to_json(reading.spec)).spec == reading.spec);
    CHECK(read_job_spec(std::string_view(dump_json_pretty(document))).spec == reading.spec);
  }
  CHECK(accepted > test::rounds(2000));  // else the property says little
}

TEST_CASE("job spec: no length of time is none", "[F40]") {
  for (const char* text : {"nans", "infs", "1hnanm", "nand", "infinitys", "-infs", "1dinfh"}) {
    INFO(text);
    const auto reading = read_job_spec(Json{{"command", {"true"}}, {"scheduling", {{"time_limit", text}}}});
    REQUIRE(reading.errors.size() == 1);
    CHECK(reading.errors[0].path == "scheduling.time_limit");
  }
}

TEST_CASE("job spec: the largest configuration of an array's job reads back with its index", "[F40]") {
  const Json frame{{"command", {"true"}}, {"train_loop_config", {{"text", ""}}}};
  auto reading = read_job_spec(frame);
  const auto room = (1u << 20) - dump_json(reading.spec.train_loop_config).size();
  reading.spec.train_loop_config["text"] = std::string(room, 'x');
  CHECK(reads_back(reading.spec).has_value());
  reading.spec.train_loop_config["array_index"] = 999'999'999;
  CHECK(reads_back(reading.spec).has_value());
  reading.spec.train_loop_config["text"] = std::string(room + 1, 'x');
  CHECK_FALSE(reads_back(reading.spec).has_value());
}

TEST_CASE("job spec: a configuration nested as deep as it may be, and one level deeper", "[F41]") {
  for (const int levels : {kUserDepthMax - 1, kUserDepthMax}) {
    Json deep = 1;
    for (int i = 1; i < levels; ++i) deep = Json::array({deep});
    const Json document{{"command", {"true"}}, {"train_loop_config", {{"deep", deep}}}};
    for (const auto& reading :
         {read_job_spec(document), read_job_spec(std::string_view(dump_json(document)))}) {
      CHECK(reading.ok() == (levels < kUserDepthMax));
      if (reading.ok())
        CHECK(reads_back(reading.spec).has_value());
      else
        CHECK_THAT(to_string(reading.errors[0]), Catch::Matchers::Contains("nested deeper than"));
    }
  }
}

TEST_CASE("job spec: the errors of a file are bounded in number and length", "[F42]") {
  std::string text = "{\"command\": [\"true\"], \"env\": {\"OK\": \"1\"";
  for (int i = 0; i < 50'000; ++i) text += ",\n\"K" + std::to_string(i) + "\": " + std::to_string(i);
  text += "}, \"" + std::string(100'000, 'u') + "\": 1, \"name\": \"" + std::string(100'000, '?') + "\"}";
  const auto reading = read_job_spec(std::string_view(text));
  CHECK(reading.count == 50'002);
  REQUIRE(reading.errors.size() == 51);
  CHECK(reading.errors.front().path == "env.K0");
  CHECK(reading.errors.front().line == 2);
  CHECK(to_string(reading.errors.back()) == "... and 49952 more");
  std::size_t bytes = 0;
  for (const auto& error : reading.errors) bytes += error.path.size() + error.message.size();
  CHECK(bytes < 51 * 800);
  const auto unknown =
      read_job_spec(std::string_view("{\"command\": [\"true\"], \"" + std::string(100'000, 'u') + "\": 1}"));
  REQUIRE(unknown.errors.size() == 1);
  CHECK(unknown.errors[0].path.size() < 300);
}

TEST_CASE("job spec: a job waits for a bounded number of others", "[F42]") {
  std::string many = "afterok";
  for (int i = 1; i <= 10'001; ++i) many += ":" + std::to_string(i);
  const auto refused = read_job_spec(Json{{"command", {"true"}}, {"scheduling", {{"depends_on", {many}}}}});
  REQUIRE(refused.errors.size() == 1);
  CHECK_THAT(to_string(refused.errors[0]), Catch::Matchers::Contains("more than 10000 jobs"));
  Json single = Json::array();
  for (int i = 1; i <= 10'001; ++i) single.push_back("afterok:" + std::to_string(i));
  CHECK_FALSE(read_job_spec(Json{{"command", {"true"}}, {"scheduling", {{"depends_on", single}}}}).ok());
  single.erase(10'000);
  CHECK(read_job_spec(Json{{"command", {"true"}}, {"scheduling", {{"depends_on", single}}}}).ok());
}

}  // namespace round_trip_test
