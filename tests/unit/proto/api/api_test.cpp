#include "proto/api/api.h"
#include "tests/support/catch.h"

namespace api_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

template <class T>
void round_trip(const T& doc) {
  const std::string text = dump_json(Json(doc));
  const auto back = read_document<T>(text);
  REQUIRE(back.has_value());
  CHECK(dump_json(Json(*back)) == text);
}

JobDoc job() {
  JobDoc doc;
  doc.id = JobId(3);
  doc.name = "a";
  doc.state = "RUNNING";
  doc.submitted_ms = 1795559400123;
  doc.ranks = {{0, "n", "RUNNING", 0, 0, {1}, 5, {}}};
  doc.progress = ProgressDoc{"train", 1, 10, 2, 20, 3.5, {{"loss", 1}}};
  doc.metrics = {{"loss", 0.5}};
  return doc;
}

}  // namespace

TEST_CASE("api: documents round-trip") {
  round_trip(VersionDoc{"0.1.0", "abc", 1});
  round_trip(ErrorDoc{"invalid_argument", "wrong", "do this", {{"a.b", "unknown key", 3, 4}}});
  round_trip(SubmitReply{JobId(1), "a", "/r/a"});
  round_trip(job());
  round_trip(ResultDoc{JobId(1),
                       "a",
                       "FAILED",
                       Json::object(),
                       CheckpointRecord{"/c", 1, Json::object()},
                       "/r",
                       JobError{"signal", "m", 1, "n", 1, {std::nullopt, 9, false}, {"l"}},
                       {{"/c", 1, Json::object()}},
                       2,
                       {{"x", 1}},
                       7,
                       3});
  round_trip(MetricPoint{1, 2, 1795559400123, {{"loss", 1}}, "/c"});
  round_trip(LogDoc{1, 2, 300, 0, "text\n"});
  round_trip(
      ProfileDoc{JobId(1), 2, 20, 60, "done", {{0, "n", "done", 12, "/r/trace.json", "the fit ended"}}});
  round_trip(DebugDoc{JobId(1),
                      2,
                      1795559400123,
                      "hang",
                      "done",
                      "rank 1 has not come",
                      1,
                      {{0, "n", "answered", "all_reduce #3", 2.5, {1}, "", RankSnapshot{"train", 0, 3}},
                       {1, "n", "silent", "", 0, {}, "did not answer", std::nullopt}}});
  round_trip(NodeDoc{{"n", "10.0.0.1", {{"CPU", 4}}, {}, {{"rack", "1"}}, {}},
                     {{"CPU", 1}},
                     {0},
                     true,
                     "draining",
                     0.5,
                     true,
                     {3},
                     {JobId(1)},
                     1.5,
                     "two jobs failed",
                     1795559400123});
  round_trip(QueuedDoc{JobId(3),
                       ArrayTask{JobId(1), 2, 5, 2, 0, 4, 1},
                       4,
                       "n",
                       "ann",
                       "night",
                       7,
                       2,
                       {{"CPU", 1}},
                       1795559400123,
                       "no room",
                       1795559500123});
  round_trip(QueueDoc{.name = "night",
                      .weight = 2,
                      .share = 0.5,
                      .used = {{"CPU", 7200}},
                      .usage = 0.25,
                      .running = 1,
                      .waiting = 2,
                      .gpus = 3,
                      .cpus = 4,
                      .gpus_max = 8,
                      .jobs_max = 5,
                      .user_cpus_max = 2,
                      .users = {{"ann", 1, 2, 3, 4, {{"CPU", 7200}}, 1}}});
  round_trip(StatusDoc{"read_only",
                       "no space",
                       "an hour ahead",
                       1795559400123,
                       {3, 4},
                       {{"CPU", {1, 2}}},
                       {{"QUEUED", 100'000}},
                       {{"user", {{"exit", 2}}}},
                       {job()},
                       {}});
  round_trip(ReservationDoc{"n", {"a", "b"}, {"ann"}, 1795559400123, 1795559500123, "op", true});
  round_trip(ArrayReply{JobId(1), {JobId(1), JobId(2)}});
  round_trip(PlanDoc{true, true, {{0, "n", 0, 0, {}}}, 2, "fits"});
}

TEST_CASE("api: times are text, and null when there is none") {
  const Json json = job();
  CHECK(json.at("submitted_at") == "2026-11-24T22:30:00.123Z");
  CHECK(json.at("ended_at").is_null());
  CHECK(json.get<JobDoc>().submitted_ms == 1795559400123);
  CHECK(json.at("error").is_null());
}

TEST_CASE("api: a document that does not fit names the field") {
  const auto doc = read_document<JobDoc>(R"({"ranks": [{"pid": "x"}]})");
  REQUIRE_FALSE(doc.has_value());
  CHECK(doc.error().code() == Errc::kProtocol);
  CHECK(doc.error().message() == "unexpected document: ranks[0].pid: expected an integer, found string");
  CHECK(read_document<JobDoc>("[]").error().code() == Errc::kProtocol);
  CHECK(read_document<JobDoc>("{").error().code() == Errc::kInvalidArgument);
}

TEST_CASE("api: an error survives the way to the user") {
  const Error error = fail(Errc::kNotFound, "job 7: no such job", "rtrain list shows the jobs");
  const Error back = to_error(error_doc(error));
  CHECK(back.code() == error.code());
  CHECK(back.message() == error.message());
  CHECK(back.hint() == error.hint());
  CHECK(http_status(Errc::kNotFound) == 404);
  CHECK(http_status(Errc::kUnplaceable) == 422);
}

}  // namespace api_test
