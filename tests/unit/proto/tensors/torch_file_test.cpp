#include "proto/tensors/torch_file.h"

#include "proto/tensors/safetensors_file.h"
#include "tests/support/tensor_files.h"

namespace torch_file_test {

using namespace rtrain;
using namespace rtrain::tensors;
using Catch::Matchers::Contains;

namespace {

std::vector<Tensor> samples(const test::TempDir& dir) {
  return {test::make_tensor<float>(dir, "layer.weight", "F32", {2, 3}, {0, 1, 2, 3, 4, 5}),
          test::make_tensor<std::int64_t>(dir, "steps", "I64", {}, {70000}),
          test::make_tensor<std::uint8_t>(dir, "flags", "BOOL", {3}, {1, 0, 1}),
          test::make_tensor<std::uint16_t>(dir, "half", "BF16", {2}, {0x3F80, 0x4000}),
          test::make_tensor<float>(dir, "none", "F32", {0, 7}, {}),
          test::make_tensor<std::uint8_t>(dir, "eight", "F8_E4M3", {2}, {0x38, 0x40})};
}

/// An archive with this pickle and two storages of 8 bytes.
void write_archive(const std::filesystem::path& path, const std::string& pickle,
                   const std::string& version = "3\n", const std::string& order = "little") {
  auto zip = ZipWriter::create(path.string());
  REQUIRE(zip.has_value());
  for (const auto& [name, bytes] : std::map<std::string, std::string>{{"x/data.pkl", pickle},
                                                                      {"x/data/0", std::string(8, '\1')},
                                                                      {"x/data/1", std::string(8, '\2')},
                                                                      {"x/version", version},
                                                                      {"x/byteorder", order}})
    if (!bytes.empty()) REQUIRE(zip->add(name, bytes).has_value());
  REQUIRE(zip->finish().has_value());
}

std::string word(const std::string& text) {
  return std::string("\x8c") + static_cast<char>(text.size()) + text;
}
std::string tensor(const std::string& key, int count = 2, int size = 2) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + word("storage") + "ctorch\nFloatStorage\n" + word(key) +
         word("cpu") + "K" + static_cast<char>(count) + "tQK" + std::string(1, '\0') + "K" +
         static_cast<char>(size) +
         "\x85K\x01\x85\x89"
         "ccollections\nOrderedDict\n)RtR";
}

}  // namespace

TEST_CASE("torch_file: a state_dict that is written is read", "[unit][proto]") {
  const test::TempDir dir;
  const auto path = (dir / "w.pt").string();
  const auto given = samples(dir);
  REQUIRE(write_torch_file(path, given).has_value());
  const auto file = open_torch_file(path);
  REQUIRE(file.has_value());
  const auto content = content_of(*file);
  REQUIRE(content.has_value());
  CHECK(content->plain.empty());
  CHECK(content->rest.empty());
  REQUIRE(content->weights.size() == given.size());
  for (std::size_t i = 0; i < given.size(); ++i) {
    INFO(given[i].name);
    CHECK(content->weights[i].name == given[i].name);
    CHECK(content->weights[i].dtype == given[i].dtype);
    CHECK(content->weights[i].shape == given[i].shape);
    CHECK(test::numbers_of(content->weights[i]) == test::numbers_of(given[i]));
    CHECK(content->weights[i].storage % 64 == 0);
  }
}

TEST_CASE("torch_file: weights, the rest and plain values of a checkpoint", "[unit][proto]") {
  const test::TempDir dir;
  const std::string pickle = "}(" + word("epoch") + "K\x03" + word("state_dict") + "}(" + word("w") +
                             tensor("0") + word("extra") + "K\x01u" + word("opt") + "](" + "}K\x07" +
                             tensor("1") + "s" + "e" + word("raw") + "C\x02\x01\xff" + word("seen") + "\x8f" +
                             "u.";
  write_archive(dir / "c.ckpt", pickle);
  const auto file = open_torch_file((dir / "c.ckpt").string());
  REQUIRE(file.has_value());
  const auto content = content_of(*file);
  REQUIRE(content.has_value());
  CHECK(content->weights_key == "state_dict");
  REQUIRE(content->weights.size() == 1);
  CHECK(content->weights[0].name == "w");
  REQUIRE(content->rest.size() == 1);
  CHECK(content->rest[0].name == "opt.0.7");
  CHECK(content->plain == proto::Json({{"epoch", 3},
                                       {"state_dict", {{"extra", 1}}},
                                       {"opt", proto::Json::array({{{"7", {{"$tensor", "opt.0.7"}}}}})},
                                       {"raw", {{"$bytes", "01ff"}}},
                                       {"seen", proto::Json::array()}}));
  CHECK(content->unplain == std::vector<std::string>{"raw is bytes", "seen is a set"});
}

TEST_CASE("torch_file: the weights are under the key that is asked for", "[unit][proto]") {
  const test::TempDir dir;
  write_archive(dir / "c.ckpt", "}(" + word("state_dict") + "}" + word("w") + tensor("0") + "s" +
                                    word("ema") + "}(" + word("decay") + "K\x09" + word("model.avg") + "}" +
                                    word("v") + tensor("1") + "s" + "u" + word("step") + "K\x02u.");
  const auto file = open_torch_file((dir / "c.ckpt").string());
  REQUIRE(file.has_value());
  CHECK(content_of(*file)->weights.at(0).name == "w");
  const auto content = content_of(*file, "ema.model.avg");
  REQUIRE(content.has_value());
  CHECK(content->weights_key == "ema.model.avg");
  REQUIRE(content->weights.size() == 1);
  CHECK(content->weights[0].name == "v");
  REQUIRE(content->rest.size() == 1);
  CHECK(content->rest[0].name == "state_dict.w");
  CHECK(content->plain ==
        proto::Json(
            {{"state_dict", {{"w", {{"$tensor", "state_dict.w"}}}}}, {"ema", {{"decay", 9}}}, {"step", 2}}));
  for (const char* key : {"step", "ema", "ema.decay", "nothing", ".", "ema."}) {
    INFO(key);
    const auto refused = content_of(*file, key);
    REQUIRE(refused.has_error());
    CHECK(refused.error().code() == Errc::kInvalidArgument);
    CHECK_THAT(refused.error().message(), Contains("these have one: state_dict"));
  }
}

TEST_CASE("torch_file: what is no checkpoint of PyTorch is refused", "[unit][proto]") {
  const test::TempDir dir;
  const auto refuse = [&](const std::string& fault) {
    INFO(fault);
    const auto file = open_torch_file((dir / "f").string());
    REQUIRE(file.has_error());
    CHECK_THAT(file.error().message(), Contains(fault) && Contains((dir / "f").string()));
    std::filesystem::remove(dir / "f");
  };
  CHECK(open_torch_file((dir / "f").string()).error().code() == Errc::kNotFound);
  test::write_bytes(dir / "f", "hello");
  refuse("no zip archive");
  test::write_bytes(dir / "f", "\x80\x02}.");
  refuse("before 1.6");
  write_archive(dir / "f", "cposix\nsystem\n" + word("true") + "\x85R.");
  refuse("posix.system");
  write_archive(dir / "f", "N.", "");
  refuse("no member \"version\"");
  write_archive(dir / "f", "N.", "3\n", "big");
  refuse("big-endian");
  write_archive(dir / "f", tensor("7") + ".");
  refuse("storage \"7\" is not in the archive");
  write_archive(dir / "f", tensor("0", 3) + ".");
  refuse("has 8 bytes, its tensors expect 12");
  write_archive(dir / "f", tensor("0", 2, 3) + ".");
  refuse("element 2 of a storage of 2");
}

TEST_CASE("torch_file: names that read alike are refused", "[unit][proto]") {
  const test::TempDir dir;
  write_archive(dir / "f", "}(" + word("1") + "NK\x01Nu.");
  auto file = open_torch_file((dir / "f").string());
  REQUIRE(file.has_value());
  CHECK_THAT(content_of(*file).error().message(), Contains("read alike"));
  write_archive(dir / "g", "}(" + word("opt") + "}(" + word("a.b") + tensor("0") + word("a") + "}" +
                               word("b") + tensor("1") + "su" + "u.");
  file = open_torch_file((dir / "g").string());
  REQUIRE(file.has_value());
  CHECK_THAT(content_of(*file).error().message(), Contains("two tensors are named \"opt.a.b\""));
}

}  // namespace torch_file_test
