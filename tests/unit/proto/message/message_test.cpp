#include "proto/message/message.h"

#include "common/base/number.h"
#include "tests/support/catch.h"
#include "tests/support/odd_json.h"
#include "tests/support/rounds.h"

#include <cmath>
#include <limits>
#include <random>
#include <set>

namespace message_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

const RankKey kKey{JobId(12), Attempt(2), 3};

CheckpointRecord checkpoint() { return {"/r/checkpoint_000003", 3, {{"loss", 0.5}}, {}, true}; }

JobSpec spec() {
  auto reading = read_job_spec(
      R"({"train_func": {"library": "/x/lib.so", "name": "f"}, "train_loop_config": {"lr": 0.001},
      "scaling_config": {"num_workers": 2}, "env": {"A": "1"}})");
  REQUIRE(reading.ok());
  return reading.spec;
}

/// One filled value of each alternative.
std::vector<Message> samples() {
  return {
      Hello{1,
            "agent",
            "secret",
            NodeInfo{"a",
                     "10.0.0.1",
                     {{"CPU", 4}, {"memory", 1e12}},
                     {{0, "GPU-1", "H", 80ull << 30}},
                     {{"rack", "1"}},
                     {{"os", "x"}}},
            kKey,
            {kKey},
            77,
            "2.11.0"},
      Welcome{3.5, 0.5},
      Refused{"conflict", "a name twice"},
      Heartbeat{12.5},
      ReservePort{JobId(1), Attempt(1)},
      Launch{JobId(1),
             Attempt(2),
             spec(),
             "run",
             "/r/run",
             1790000000123,
             4,
             2,
             {{1, "a", 0, 1, {0, 3}}},
             "10.0.0.1",
             40001,
             {checkpoint()},
             4,
             ArrayTask{JobId(1), 3, 10, 2, 1, 9, 2},
             ValidatedCheckpoint{JobId(2), 1, "/r/checkpoint_000001"},
             SweepTrial{JobId(7), 12},
             {"/r/checkpoint_000003"}},
      StopAttempt{JobId(1), Attempt(2), 2.5, "cancelled"},
      LogRead{9, kKey, -20, 1000, 1.5},
      PortReserved{JobId(1), Attempt(2), 40001, "no port"},
      RankStarted{kKey, 4242},
      RankRunning{kKey},
      RankReport{kKey, 5, 1790000000123, {{"loss", 0.25}}, checkpoint(), {"/r/checkpoint_000001"}, 2},
      RankProgress{kKey, "train", 1, 10, 7, 469, 12.5, {{"loss", 1}}},
      RankEnded{kKey,
                ExitStatus{std::nullopt, 9, false},
                RankError{"signal", "killed", {"last", "words"}},
                {{"a", 1}},
                true},
      LogData{9, 100, true, true, "", std::string("raw \xff\0 bytes", 12)},
      SpawnRank{kKey,
                {"./a", "b c"},
                TrainFunc{"/x/lib.so", "f"},
                {{"PATH", "/bin"}, {"RANK", "3"}},
                "/w",
                "/s/rank-3",
                "/sys/fs/cgroup/x/1.2.3",
                7.5},
      SpawnResult{kKey, 5, "fork failed"},
      SignalRank{kKey, 15},
      SupervisedEnd{kKey, ExitStatus{3, std::nullopt, false}, 4711},
      Leaving{},
      YieldAttempt{JobId(1), Attempt(2), 30, "preempted"},
      Taken{7},
      RankDiagnosis{kKey, "train", 1, 41, 30.5, "allreduce", 83, true},
      NodeHealth{{3}, "pid 5 cannot be killed"},
      ProfileRanks{JobId(1), Attempt(2), 8, 20, {0, 3}, 60},
      RankProfile{kKey, 8, 12, "/r/profiles/trace.json", "the fit ended"},
      CheckpointValidated{
          JobId(1), Attempt(2),
          CheckpointRecord{
              "/r/checkpoint_000003",
              3,
              {{"loss", 0.5}, {"accuracy", 0.9}},
              CheckpointValidation{ValidationStatus::kValidated, {{"folds", 3}}, 60, JobId(8), ""}}},
      DebugRanks{JobId(1), Attempt(2), 8, {0, 3}},
      RankDebug{kKey, 8,
                RankSnapshot{"train",
                             1,
                             41,
                             30.5,
                             "the next batch",
                             2.5,
                             {FlightGroup{"0/1", "shard", {0, 3}, 83}},
                             {Flight{"0/1",
                                     83,
                                     "all_gather",
                                     "gather of parameters",
                                     "layers.3",
                                     "Float",
                                     {4, 8},
                                     128,
                                     "",
                                     std::nullopt,
                                     "waiting",
                                     30.25,
                                     0},
                              Flight{"0", 2, "send", "", "", "Float", {4}, 16, "", 3, "finished", 31, 0.5}},
                             {"main (train.so + 0x12)"},
                             "no signal"},
                "the rank has ended"},
      CheckpointPins{JobId(1), Attempt(2), {"/r/checkpoint_000003", "/r/best"}},
  };
}

}  // namespace

TEST_CASE("message: every alternative round-trips under its own name") {
  const auto messages = samples();
  REQUIRE(messages.size() == std::variant_size_v<Message>);
  std::set<std::string> names;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    INFO(message_name(messages[i]));
    CHECK(messages[i].index() == i);
    names.emplace(message_name(messages[i]));
    const Frame frame = encode(messages[i]);
    const auto back = decode(frame);
    REQUIRE(back.has_value());
    CHECK(back->index() == i);
    CHECK(encode(*back).json == frame.json);
    CHECK(encode(*back).body == frame.body);
  }
  CHECK(names.size() == messages.size());
}

TEST_CASE("message: no field is forgotten") {
  // A sample whose fields all differ from the default must not write what a default one writes.
  for (const auto& message : samples()) {
    const auto filled = *parse_json(encode(message).json);
    std::visit(
        [&](const auto& value) {
          const auto blank = *parse_json(encode(std::decay_t<decltype(value)>{}).json);
          for (const auto& [key, v] : filled.items())
            if (key != "type" && key != "protocol_version" && !(key == "error" && v == "")) {
              INFO(message_name(message) << "." << key);
              CHECK(v != blank.at(key));
            }
        },
        message);
  }
}

TEST_CASE("message: values arrive as they were") {
  const auto report = std::get<RankReport>(*decode(encode(samples()[11])));
  CHECK(report.key == kKey);
  CHECK(report.checkpoint->index == 3);
  CHECK(report.deleted_checkpoints == std::vector<std::string>{"/r/checkpoint_000001"});
  const auto launch = std::get<Launch>(*decode(encode(samples()[5])));
  CHECK(launch.spec.train_func->name == "f");
  CHECK(launch.spec.scaling_config.num_workers == 2);
  CHECK(launch.ranks.at(0).gpus == std::vector<int>{0, 3});
  const auto ended = std::get<RankEnded>(*decode(encode(samples()[13])));
  CHECK(ended.status.signal == 9);
  CHECK_FALSE(ended.status.exit_code.has_value());
  CHECK(ended.error->log_tail.size() == 2);
}

TEST_CASE("message: a loss that diverged is not lost on the way, nor are odd bytes a crash") {
  RankReport report{
      kKey, 1,
      1,    {{"loss", std::nan("")}, {"top", std::numeric_limits<double>::infinity()}, {"text", "\xff\xfe"}},
      {},   {}};
  const auto back = std::get<RankReport>(*decode(encode(report)));
  double loss = 0, top = 0;
  CHECK(json_number(back.metrics.at("loss"), loss));
  CHECK(std::isnan(loss));
  CHECK(json_number(back.metrics.at("top"), top));
  CHECK(std::isinf(top));
}

TEST_CASE("message: missing fields take their default, unknown ones are skipped") {
  const auto welcome = decode({R"({"type": "welcome", "lease_s": 7, "from_the_future": [1, 2]})", ""});
  REQUIRE(welcome.has_value());
  CHECK(std::get<Welcome>(*welcome).lease_s == 7);
  CHECK(std::get<Welcome>(*welcome).heartbeat_s == 2);
}

TEST_CASE("message: errors name the message and the field") {
  const std::pair<const char*, const char*> cases[] = {
      {R"([])", "a message without a type"},
      {R"({"type": 1})", "a message without a type"},
      {R"({"type": "dance"})", "unknown message \"dance\""},
      {R"({"type": "welcome", "lease_s": "x"})", "welcome.lease_s: expected a number, found string"},
      {R"({"type": "rank_started", "key": {"job": 1, "attempt": 1, "rank": 0}, "pid": 1.5})",
       "rank_started.pid: expected an integer, found a number with a fraction"},
      {R"({"type": "rank_started", "key": {"job": 1, "attempt": 1, "rank": 0}, "pid": 18446744073709551615})",
       "rank_started.pid: the number 18446744073709551615 is too large"},
      {R"({"type": "rank_started", "key": {"job": 1, "attempt": 1, "rank": 3000000000}})",
       "rank_started.key.rank: the number 3000000000 is too large"},
      {R"({"type": "rank_started", "key": []})", "rank_started.key: expected an object, found array"},
      {R"({"type": "hello", "role": "agent", "node": {"gpus": [{}, {"index": "0"}]}})",
       "hello.node.gpus[1].index: expected an integer, found string"},
      {R"({"type": "hello", "role": "agent", "node": {"resources": {"CPU": null}}})",
       "hello.node.resources.CPU: expected a number, found null"},
      {R"({"type": "spawn_rank", "key": {"job": 1, "attempt": 1, "rank": 0}, "env": [["A"]]})",
       "spawn_rank.env[0]: expected an array of two, found array"},
      {R"({"type": "rank_ended", "key": {"job": 1, "attempt": 1, "rank": 0}, "status": {"lost": 1}})",
       "rank_ended.status.lost: expected true or false, found number"},
      {R"({"type": "launch", "job": 1, "attempt": 1, "spec": {"comand": ["x"]}})",
       "launch.spec: not a valid job spec: "},
  };
  for (const auto& [json, expected] : cases) {
    INFO(json);
    const auto message = decode({json, ""});
    REQUIRE_FALSE(message.has_value());
    CHECK(message.error().code() == Errc::kProtocol);
    CHECK_THAT(message.error().message(), Catch::Matchers::StartsWith(expected));
  }
  CHECK(decode({R"({"type": "heartbeat"})", "body"}).error().message() ==
        "heartbeat: a body is not expected with this message");
}

TEST_CASE("message: without the fields that make it up it is refused", "[F53]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"type": "hello"})", "hello.role: missing"},
      {R"({"type": "rank_started"})", "rank_started.key: missing"},
      {R"({"type": "rank_report", "key": {"job": 1, "rank": 0}})", "rank_report.key.attempt: missing"},
      {R"({"type": "launch", "job": 1, "attempt": 1, "run_dir": "/r", "ranks": []})", "launch.spec: missing"},
      {R"({"type": "launch", "job": 1, "attempt": 1, "spec": null})", "launch.spec: not a valid job spec: "},
      {R"({"type": "rank_ended", "key": {"job": 1, "attempt": 1, "rank": 0}})", "rank_ended.status: missing"},
      {R"({"type": "signal_rank", "key": {"job": 1, "attempt": 1, "rank": 0}})",
       "signal_rank.signal: missing"},
  };
  for (const auto& [json, expected] : cases) {
    INFO(json);
    const auto message = decode({json, ""});
    REQUIRE_FALSE(message.has_value());
    CHECK_THAT(message.error().message(), Catch::Matchers::StartsWith(expected));
  }
}

TEST_CASE("message: no whole number is so large that a sum with it overflows", "[F53]") {
  const std::string key = R"("key": {"job": 1, "attempt": 1, "rank": 0})";
  const auto refused = [](const std::string& json) {
    INFO(json);
    const auto message = decode({json, ""});
    REQUIRE_FALSE(message.has_value());
    return message.error().message();
  };
  for (const char* number : {"9223372036854775807", "-9223372036854775808", "9007199254740992", "-1"}) {
    const std::string n = number;
    CHECK_THAT(refused(R"({"type": "rank_report", )" + key + R"(, "seq": )" + n + "}"),
               Catch::Matchers::StartsWith("rank_report.seq: the number " + n));
    CHECK_THAT(refused(R"({"type": "rank_report", )" + key + R"(, "checkpoint": {"path": "/c", "index": )" +
                       n + "}}"),
               Catch::Matchers::StartsWith("rank_report.checkpoint.index: the number " + n));
    CHECK_THAT(refused(R"({"type": "taken", "count": )" + n + "}"),
               Catch::Matchers::StartsWith("taken.count: the number " + n));
  }
  CHECK_THAT(
      refused(R"({"type": "rank_started", "key": {"job": 9007199254740992, "attempt": 1, "rank": 0}})"),
      Catch::Matchers::Contains("key.job: the number 9007199254740992"));
  CHECK_THAT(refused(R"({"type": "port_reserved", "job": 1, "attempt": 1, "port": 65536})"),
             Catch::Matchers::Contains("port: the number 65536 is not from 0 to 65535"));
  const auto largest = decode({R"({"type": "rank_report", )" + key + R"(, "seq": 4503599627370495})", ""});
  REQUIRE(largest.has_value());
  CHECK(std::get<RankReport>(*largest).seq == kWholeMax / 2);
}

TEST_CASE("message: numbers that are none are refused, and none is written", "[F40]") {
  for (const char* number : {"\"NaN\"", "\"Infinity\"", "\"nan\"", "1e999", "NaN", "null"}) {
    INFO(number);
    CHECK_FALSE(decode({std::string(R"({"type": "welcome", "lease_s": )") + number + "}", ""}).has_value());
  }
  const auto back = decode(encode(
      RankProgress{kKey, "train", 0, 1, 0, 1, std::numeric_limits<double>::infinity(), Json::object()}));
  REQUIRE(back.has_value());
  CHECK(std::get<RankProgress>(*back).steps_per_s == 0);
}

TEST_CASE("message: what is largest fits into its envelope", "[F41]") {
  auto launch = std::get<Launch>(samples()[5]);
  Json deep = 1;
  for (int i = 1; i < kUserDepthMax - 1; ++i) deep = Json::array({deep});
  launch.spec.train_loop_config = {{"deep", deep}, {"text", std::string((1u << 20) - 400, 'x')}};
  launch.spec.env = {{"BIG", std::string((3u << 19) - 4096, 'e')}};
  REQUIRE(reads_back(launch.spec).has_value());
  const auto frame = encode(launch);
  CHECK(frame.json.size() < kFrameJsonBytesMax / 2);
  const auto back = decode(frame);
  REQUIRE(back.has_value());
  CHECK(std::get<Launch>(*back).spec == launch.spec);

  RankReport report{kKey, 1, 1, {{"deep", deep}}, CheckpointRecord{"/c", 0, {{"deep", deep}}}, {}};
  const auto heard = decode(encode(report));
  REQUIRE(heard.has_value());
  CHECK(std::get<RankReport>(*heard).metrics == report.metrics);
  CHECK(std::get<RankReport>(*heard).checkpoint->metrics == report.checkpoint->metrics);
  for (int i = 0; i < 100; ++i) deep = Json::array({deep});
  report.metrics["deep"] = deep;
  CHECK(decode(encode(report)).has_value());  // cut where it is too deep, and readable
}

TEST_CASE("message: what is accepted reads back as it was", "[F40]") {
  std::mt19937 random(41);
  test::OddJson odd(random);
  int accepted = 0;
  for (int i = 0; i < test::rounds(20'000); ++i) {
    const auto messages = samples();
    const auto& message = messages[random() % messages.size()];
    auto json = *parse_json(encode(message).json);
    odd.spoil(json);
    if (random() % 4 == 0) odd.spoil(json);
    const auto heard = decode({dump_json(json), ""});
    if (!heard) continue;
    ++accepted;
    INFO(dump_json(json));
    const auto told = encode(*heard);
    const auto again = decode(told);
    if (!again) FAIL(again.error().message());
    CHECK(encode(*again).json == told.json);
  }
  CHECK(accepted > test::rounds(2000));
}

TEST_CASE("exit status: told in words") {
  CHECK(to_string(ExitStatus{3, std::nullopt, false}) == "exited with code 3");
  CHECK(to_string(ExitStatus{std::nullopt, 9, false}) == "was killed by signal 9 (Killed)");
  CHECK(to_string(ExitStatus{std::nullopt, std::nullopt, true}) ==
        "was lost: there is no record of how it ended");
  CHECK_FALSE(ExitStatus{}.success());
  CHECK(to_string(kKey) == "12.2.3");
}

TEST_CASE("message: a snapshot of any size fits into a frame after bound()") {
  RankDebug answer{kKey, 1, {}, {}};
  auto& snapshot = answer.snapshot;
  const std::string text(4000, '\x01');
  snapshot.stage = snapshot.place = snapshot.stack_error = text;
  snapshot.idle_s = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 300; ++i) {
    FlightGroup group{text, text, std::vector<int>(1000, 1 << 30), 1};
    group.ranks.back() = 0;
    snapshot.groups.push_back(group);
    Flight flight;
    flight.group = flight.operation = flight.purpose = flight.unit = flight.dtype = flight.detail = text;
    flight.state = std::string(4000, '"');
    flight.seq = i;
    flight.shape.assign(1000, std::numeric_limits<std::int64_t>::max());
    snapshot.flights.push_back(flight);
    snapshot.stack.push_back(text);
  }
  bound(snapshot);
  CHECK(encode(answer).json.size() < FrameLimits{}.json_bytes_max);
  CHECK(snapshot.flights.size() == SnapshotBounds::kFlights);
  CHECK(snapshot.flights.front().seq == 44);  // the last ones stay
  CHECK(snapshot.flights.front().shape.size() == SnapshotBounds::kDimensions);
  CHECK(snapshot.groups.size() == SnapshotBounds::kGroups);
  CHECK(snapshot.groups.front().ranks == std::vector<int>{0, 1 << 30});
  CHECK(snapshot.stack.size() == SnapshotBounds::kFrames);
  CHECK(snapshot.place == std::string(SnapshotBounds::kTextBytes, ' ') + "...");
  CHECK(snapshot.idle_s == 0);
}

}  // namespace message_test
