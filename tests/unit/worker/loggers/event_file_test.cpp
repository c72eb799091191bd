// TensorBoard's files, byte by byte, against what its own writer wrote.
#include "worker/loggers/event_file.h"

#include "tests/support/catch.h"
#include "tests/support/training.h"
#include "worker/loggers/hyperparameters.h"

#include <rtrain/loggers.h>

#include <fstream>
#include <string>

namespace event_file_test {

using namespace rtrain;
using namespace std::string_literals;
using loggers::ProtoMessage;
using rtrain::test::Folder;

namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The one event file of a folder.
std::string events_of(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) return text_of(entry.path());
  return {};
}

}  // namespace

TEST_CASE("event file: a record is length, masked CRC, bytes, masked CRC", "[unit][loggers]") {
  // What TensorBoard's RecordWriter makes of b"abc".
  CHECK(loggers::record_of("abc") ==
        "\x03\x00\x00\x00\x00\x00\x00\x00\xb0\x99\x49\x0e"
        "abc"
        "\x6e\x57\xf1\x21"s);
}

TEST_CASE("event file: messages as protobuf writes them", "[unit][loggers]") {
  CHECK(ProtoMessage().integer(2, 300).bytes() == "\x10\xac\x02");
  CHECK(ProtoMessage().integer(2, 0).bytes().empty());
  CHECK(loggers::scalar_value("a", 1.5F).bytes() ==
        "\x0a\x01"s
        "a\x15\x00\x00\xc0\x3f"s);
  CHECK(loggers::plugin_value("t", "hparams", "xy").bytes() ==
        "\x0a\x01t\x4a\x0f\x0a\x0d\x0a\x07hparams\x12\x02xy"s);
}

TEST_CASE("TensorBoardLogger: hyperparameters are the bytes of TensorBoard's plugin", "[unit][loggers]") {
  const Folder folder;
  TensorBoardLogger logger({.save_dir = folder.path(), .version = "v"});
  logger.log_hyperparams({{"lr", 0.1}, {"layers", 2}, {"name", "x"}, {"flag", true}});
  logger.finalize("success");
  const auto bytes = events_of(logger.log_dir());
  // As in Lightning's file but for the order, which is the alphabet's here.
  for (const auto& part : {"\x12\x37\x22\x08\x0a\x04"s
                           "flag \x03\"\x0a\x0a\x06layers \x03\"\x06\x0a\x02lr \x03\"\x08\x0a\x04name \x01"
                           "*\x0d\x0a\x0b\x12\x09hp_metric"s,
                           "\x0a\x0f\x0a\x02lr\x12\x09\x11\x9a\x99\x99\x99\x99\x99\xb9\x3f"s,
                           "\x0a\x0b\x0a\x04name\x12\x03\x1a\x01x"s,
                           "\x0a\x11\x0a\x04"s
                           "flag\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x3f"s,
                           "\"\x02\x08\x01"s})
    CHECK(bytes.find(part) != std::string::npos);
  CHECK(text_of(logger.log_dir() / "hparams.yaml") == "flag: true\nlayers: 2\nlr: 0.1\nname: x\n");
}

TEST_CASE("TensorBoardLogger: no file before there is something to write", "[unit][loggers]") {
  const Folder folder;
  {
    TensorBoardLogger logger({.save_dir = folder.path()});
    CHECK(logger.log_dir() == folder / "lightning_logs/version_0");
    logger.save();
    logger.finalize("success");
  }
  CHECK_FALSE(std::filesystem::exists(folder / "lightning_logs"));
  CHECK_THROWS_WITH(TensorBoardLogger({}), Catch::Contains("save_dir is empty"));
}

TEST_CASE("TensorBoardLogger: what cannot be shown is refused by name", "[unit][loggers]") {
  const Folder folder;
  TensorBoardLogger logger({.save_dir = folder.path()});
  CHECK_THROWS_WITH(logger.log_image("cat", torch::zeros({2, 4, 4}), 0),
                    Catch::Contains("log_image(\"cat\"): the image is Float of shape [2, 4, 4]"));
  CHECK_THROWS_WITH(logger.log_image("cat", torch::zeros({4, 4}, torch::kInt64), 0), Catch::Contains("Long"));
  CHECK_THROWS_WITH(logger.log_histogram("h", torch::zeros({4}, torch::kComplexFloat), 0),
                    Catch::Contains("complex"));
}

TEST_CASE("hyperparameters: flat names, and YAML that is quoted where it must be", "[unit][loggers]") {
  const nlohmann::json nested{{"opt", {{"lr", 0.1}, {"betas", {0.9, 0.999}}}},
                              {"text", "yes"},
                              {"colon", "a: b"},
                              {"plain", "two words"},
                              {"none", nullptr},
                              {"empty", nlohmann::json::object()}};
  const auto flat = loggers::flatten(nested);
  REQUIRE(flat.size() == 7);
  CHECK(flat[3].first == "opt/betas");
  CHECK(flat[4] == std::pair<std::string, nlohmann::json>{"opt/lr", 0.1});
  CHECK(loggers::text_of(flat[3].second) == "[0.9,0.999]");
  CHECK(loggers::to_yaml(nested) ==
        "colon: \"a: b\"\nempty: {}\nnone: null\nopt:\n  betas:\n  - 0.9\n  - 0.999\n  lr: 0.1\n"
        "plain: two words\ntext: \"yes\"\n");
  CHECK(loggers::to_yaml(nlohmann::json::object()) == "{}\n");
}

TEST_CASE("JSONLLogger: an object a line", "[unit][loggers]") {
  const Folder folder;
  JSONLLogger logger({.save_dir = folder.path(), .version = "v", .prefix = "p"});
  logger.log_metrics({{"loss", 0.5}, {"bad", std::numeric_limits<double>::quiet_NaN()}}, 3);
  logger.log_text("note", "hello", 4);
  std::ifstream in(logger.log_dir() / "metrics.jsonl");
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("time").get<double>() > 1.7e9);
  rows[0].erase("time");
  rows[1].erase("time");
  CHECK(rows[0] == nlohmann::json{{"step", 3}, {"p-loss", 0.5}, {"p-bad", "NaN"}});
  CHECK(rows[1] == nlohmann::json{{"step", 4}, {"text", {{"p-note", "hello"}}}});
}

}  // namespace event_file_test
