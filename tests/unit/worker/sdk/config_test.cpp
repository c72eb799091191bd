#include <rtrain/config.h>

#include "tests/support/catch.h"

namespace sdk_config_test {

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
  CHECK(message_of([] { (void)kConfig.at<double>("optimizer.gamma"); }) ==
        "train_loop_config.optimizer.gamma: is missing");
  CHECK(message_of([] { (void)kConfig.at<double>("optimiser.lr"); }) ==
        "train_loop_config.optimiser.lr: is missing; did you mean optimizer.lr?");
  CHECK(message_of([] { (void)kConfig.value("name", 1.0); }) ==
        "train_loop_config.name: expected a number, found a string");
  CHECK(message_of([] { (void)kConfig.value("lr", "x"); }) ==
        "train_loop_config.lr: expected a string, found a number");
  CHECK(message_of([] { (void)kConfig.at<std::vector<int>>("optimizer"); }) ==
        "train_loop_config.optimizer: expected a list, found an object");
  CHECK(message_of([] { (void)kConfig.at<bool>("epochs"); }) ==
        "train_loop_config.epochs: expected a boolean, found an integer");
}

TEST_CASE("config: a value of another type is refused, never converted", "[unit][sdk][F33]") {
  const Config config(nlohmann::json::parse(
      R"({"fraction": 1.7, "one": 1.0, "flag": true, "off": false, "text": "0.1", "minus": -1,
    "big": 5000000000, "huge": 18446744073709551615, "tiny": 1e300, "count": 1, "mixed": [1, 2.5], "flags": [true, 1],
    "layers": {"a": 3, "b": 0.5}, "two": [1, 2], "none": null})"));
  const auto refused = [&]<class T>(const std::string& path, T) {
    return message_of([&] { (void)config.at<T>(path); });
  };
  const std::string root = "train_loop_config.";
  CHECK(refused("fraction", int()) == root + "fraction: expected a whole number, found 1.7");
  CHECK(refused("one", std::int64_t()) == root + "one: expected a whole number, found 1.0");
  CHECK(refused("flag", int()) == root + "flag: expected a whole number, found a boolean");
  CHECK(refused("off", std::size_t()) == root + "off: expected a whole number, found a boolean");
  CHECK(refused("flag", double()) == root + "flag: expected a number, found a boolean");
  CHECK(refused("text", double()) == root + "text: expected a number, found a string");
  CHECK(refused("count", bool()) == root + "count: expected a boolean, found an integer");
  CHECK(refused("fraction", bool()) == root + "fraction: expected a boolean, found a number");
  CHECK(refused("count", std::string()) == root + "count: expected a string, found an integer");
  CHECK(refused("minus", unsigned()) == root + "minus: expected a whole number, 0 or more, found -1");
  CHECK(refused("minus", std::uint8_t()) == root + "minus: expected a whole number, 0 or more, found -1");
  CHECK(refused("big", int()) ==
        root + "big: expected a whole number from -2147483648 to 2147483647, found 5000000000");
  CHECK(refused("big", std::uint16_t()) ==
        root + "big: expected a whole number from 0 to 65535, found 5000000000");
  CHECK(refused("huge", std::int64_t())
            .starts_with(root + "huge: expected a whole number from -9223372036854775808 to"));
  CHECK(refused("tiny", float()).starts_with(root + "tiny: expected a number from -3.4028234"));
  CHECK(refused("mixed", std::vector<int>()) == root + "mixed[1]: expected a whole number, found 2.5");
  CHECK(refused("flags", std::vector<bool>()) == root + "flags[1]: expected a boolean, found an integer");
  CHECK(refused("layers", std::map<std::string, int>()) ==
        root + "layers.b: expected a whole number, found 0.5");
  CHECK(refused("two", std::array<int, 3>()) == root + "two: expected a list of 3, found one of 2");
  CHECK(refused("none", int()) == root + "none: expected a whole number, found null");

  CHECK(message_of([&] { (void)config.value("fraction", 3); }) ==
        root + "fraction: expected a whole number, found 1.7");
  CHECK(config.at<std::int64_t>("big") == 5'000'000'000);
  CHECK(config.at<std::uint64_t>("huge") == 18446744073709551615U);
  CHECK(config.at<float>("count") == 1.0F);
  CHECK(config.at<double>("tiny") == 1e300);
  CHECK(config.at<std::array<double, 2>>("two") == std::array{1.0, 2.0});
  CHECK(config.at<std::optional<int>>("none") == std::nullopt);
  CHECK(config.at<std::map<std::string, double>>("layers").at("a") == 3.0);
  CHECK(config.at<nlohmann::json>("two").size() == 2);
}

TEST_CASE("config: what was never read is listed, with the nearest path that was asked for", "[unit][sdk]") {
  const auto json = nlohmann::json::parse(
      R"({"lrr": 0.1, "epochs": 3, "model": {"depth": 4, "width": 8}, "aug": {"flip": true, "crop": 4}, "a.b": 1})");
  const auto words = [](const Config& config) {
    std::string text;
    for (const auto& [path, nearest] : config.unread()) text += path + "(" + nearest + ") ";
    return text;
  };
  const Config config(json);
  CHECK(words(config) == "a.b() aug() epochs() lrr() model() ");
  (void)config.value("lr", 1e-3);
  const Config copy = config;
  (void)copy.value("epochs", 1);
  (void)copy.contains("a.b");
  (void)config.at<int>("model.depth");
  CHECK(words(config) == "aug() lrr(lr) model.width() ");
  (void)config.at<nlohmann::json>("aug");
  CHECK(words(copy) == "lrr(lr) model.width() ");
  (void)config.json();
  CHECK(words(config).empty());
  CHECK(words(Config()).empty());
}

}  // namespace sdk_config_test
