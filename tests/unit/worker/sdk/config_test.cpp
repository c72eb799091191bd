#include <rtrain/config.h>

#include "tests/support/catch.h"

using rtrain::Config;
using rtrain::ConfigError;

namespace {

const Config kConfig(nlohmann::json::parse(
    R"({"lr": 0.1, "epochs": 3, "name": "cnn", "none": null, "flag": true, "optimizer": {"lr": 0.5, "betas": [0.9, 0.99]}, "a.b": 7})"));

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("config: values by dotted paths, with fallbacks", "[unit][sdk]") {
  CHECK(kConfig.value("lr", 1.0) == 0.1);
  CHECK(kConfig.value("epochs", 10) == 3);
  CHECK(kConfig.value("name", "mlp") == "cnn");
  CHECK(kConfig.value("none", 5) == 5);
  CHECK(kConfig.value("missing", "x") == "x");
  CHECK(kConfig.value("optimizer.lr", 1.0) == 0.5);
  CHECK(kConfig.value("optimizer.missing", 1.0) == 1.0);
  CHECK(kConfig.value("lr.deeper", 2) == 2);
  CHECK(kConfig.at<std::vector<double>>("optimizer.betas") == std::vector<double>{0.9, 0.99});
  CHECK(kConfig.at<int>("a.b") == 7);
  CHECK(kConfig.contains("optimizer.betas"));
  CHECK_FALSE(kConfig.contains("optimizer.gamma"));
  CHECK(kConfig.at<double>("epochs") == 3.0);
}

TEST_CASE("config: errors name the path, what was wanted and what was found", "[unit][sdk]") {
  CHECK(message_of([] { (void)kConfig.at<double>("optimizer.gamma"); }) == "train_loop_config.optimizer.gamma: is missing");
  CHECK(message_of([] { (void)kConfig.value("name", 1.0); }) == "train_loop_config.name: expected a number, found a string");
  CHECK(message_of([] { (void)kConfig.value("lr", "x"); }) == "train_loop_config.lr: expected a string, found a number");
  CHECK(message_of([] { (void)kConfig.at<std::vector<int>>("optimizer"); }) == "train_loop_config.optimizer: expected a list, found an object");
  CHECK(message_of([] { (void)kConfig.at<bool>("epochs"); }) == "train_loop_config.epochs: expected a boolean, found an integer");
}
