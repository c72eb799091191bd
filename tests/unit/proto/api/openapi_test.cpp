// The OpenAPI file, the comment of api.h and the documents themselves say the same.
#include "common/os/file.h"
#include "proto/api/api.h"
#include "tests/support/catch.h"

#include <regex>
#include <set>

namespace openapi_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

Json openapi() {
  const auto document = parse_json(*os::read_file(RTRAIN_SOURCE_DIR "/proto/api/openapi.json"));
  REQUIRE(document.has_value());
  return *document;
}

void check_references(const Json& node, const Json& document) {
  if (node.is_object() && node.contains("$ref")) {
    const auto target = node.at("$ref").get<std::string>();
    INFO(target);
    CHECK(document.contains(Json::json_pointer(target.substr(1))));
  }
  if (node.is_structured())
    for (const auto& child : node) check_references(child, document);
}

std::set<std::string> keys(const Json& object) {
  std::set<std::string> out;
  for (const auto& [key, value] : object.items()) out.insert(key);
  return out;
}

}  // namespace

TEST_CASE("openapi: it names each route of api.h and no other") {
  const std::string header = *os::read_file(RTRAIN_SOURCE_DIR "/proto/api/api.h");
  std::set<std::string> of_header, of_file;
  const std::regex route("//   (GET|POST|DELETE) +(/[^ ?\\[]*)");
  for (auto it = std::sregex_iterator(header.begin(), header.end(), route); it != std::sregex_iterator();
       ++it)
    of_header.insert((*it)[1].str() + " " + (*it)[2].str());
  const Json document = openapi();
  for (const auto& [path, methods] : document.at("paths").items())
    for (const auto& [method, operation] : methods.items()) {
      of_file.insert((method == "get" ? "GET " : method == "post" ? "POST " : "DELETE ") + path);
      CHECK(operation.contains("operationId"));
      CHECK(operation.contains("responses"));
    }
  CHECK(of_header.size() >= 11);
  CHECK(of_header == of_file);
}

TEST_CASE("openapi: every reference has its target") {
  const Json document = openapi();
  check_references(document, document);
}

TEST_CASE("openapi: the fields of each document are those that are written") {
  const Json schemas = openapi().at("components").at("schemas");
  JobDoc job;
  job.ranks.emplace_back();
  job.array.emplace();
  job.validates.emplace();
  job.validations.emplace_back();
  job.sweep.emplace();
  CheckpointRecord checkpoint;
  checkpoint.validation.emplace();
  ProfileDoc profile;
  profile.ranks.emplace_back();
  RankSnapshot snapshot;
  snapshot.groups.emplace_back();
  snapshot.flights.emplace_back().peer = 1;
  DebugDoc debug;
  debug.culprit = 0;
  debug.ranks.emplace_back().snapshot = snapshot;
  const std::pair<const char*, Json> documents[] = {
      {"Version", VersionDoc{}},
      {"Error", ErrorDoc{}},
      {"SubmitReply", SubmitReply{}},
      {"Job", job},
      {"Result", ResultDoc{}},
      {"MetricPoint", MetricPoint{}},
      {"Log", LogDoc{}},
      {"Node", NodeDoc{}},
      {"Plan", PlanDoc{}},
      {"Progress", ProgressDoc{}},
      {"Rank", Json(job).at("ranks")[0]},
      {"ExitStatus", ExitStatus{}},
      {"JobError", JobError{}},
      {"Checkpoint", checkpoint},
      {"CheckpointValidation", Json(checkpoint).at("validation")},
      {"ValidatedCheckpoint", Json(job).at("validates")},
      {"SweepTrial", Json(job).at("sweep")},
      {"Validation", Json(job).at("validations")[0]},
      {"Gpu", GpuInfo{}},
      {"ArrayTask", Json(job).at("array")},
      {"ArrayReply", ArrayReply{}},
      {"Queued", QueuedDoc{}},
      {"Queue", QueueDoc{}},
      {"QueueUser", QueueUserDoc{}},
      {"Status", StatusDoc{}},
      {"Reservation", ReservationDoc{}},
      {"Sweep", SweepDoc{}},
      {"Trial", TrialDoc{}},
      {"Profile", profile},
      {"ProfiledRank", Json(profile).at("ranks")[0]},
      {"Debug", debug},
      {"DebuggedRank", Json(debug).at("ranks")[0]},
      {"RankSnapshot", snapshot},
      {"FlightGroup", Json(snapshot).at("groups")[0]},
      {"Flight", Json(snapshot).at("flights")[0]}};
  for (const auto& [name, document] : documents) {
    INFO(name);
    CHECK(keys(schemas.at(name).at("properties")) == keys(document));
  }
}

}  // namespace openapi_test
