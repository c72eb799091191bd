#include "proto/tensors/shard_index.h"

#include "tests/support/tensor_files.h"

namespace shard_index_test {

using namespace rtrain;
using namespace rtrain::tensors;

TEST_CASE("shard_index: what is no index is refused", "[unit][proto]") {
  const test::TempDir dir;
  const auto path = (dir / "model.safetensors.index.json").string();
  test::write_bytes(
      path, R"({"metadata":{},"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"1.safetensors"}})");
  const auto index = read_shard_index(path);
  REQUIRE(index.has_value());
  CHECK(index->files() == std::vector<std::string>{"1.safetensors", "2.safetensors"});
  for (const char* text :
       {"{}", "[]", "{", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"../x"}})",
        R"({"weight_map":{"a":".."}})", R"({"weight_map":{"a":"x\u0000y"}})", R"({"weight_map":{"a":""}})"}) {
    INFO(text);
    test::write_bytes(path, text);
    CHECK(read_shard_index(path).error().code() == Errc::kIo);
  }
}

TEST_CASE("shard_index: what is written is read", "[unit][proto]") {
  const auto index = parse_shard_index(shard_index_text({{"a", "x"}, {"b", "y"}, {"c", "x"}}, 12), "index");
  REQUIRE(index.has_value());
  CHECK(index->weight_map == std::map<std::string, std::string>{{"a", "x"}, {"b", "y"}, {"c", "x"}});
  CHECK(index->files() == std::vector<std::string>{"x", "y"});
}

TEST_CASE("shard_index: tensors fill one file after the other", "[unit][proto]") {
  const auto files = [](const std::vector<std::uint64_t>& bytes, std::uint64_t max) {
    return plan_shards(bytes, max).file_of;
  };
  using Files = std::vector<std::size_t>;
  CHECK(files({3, 3, 4, 1}, 10) == Files{0, 0, 0, 1});
  CHECK(files({3, 3, 4, 1}, 11) == Files{0, 0, 0, 0});
  CHECK(files({3, 20, 4, 1}, 10) == Files{0, 1, 2, 2});  // one that is larger is alone
  CHECK(files({20, 20}, 10) == Files{0, 1});
  CHECK(files({10, 0, 10}, 10) == Files{0, 0, 1});
  CHECK(plan_shards({}, 10).files == 1);
  CHECK(plan_shards({1, 2}, 10).name(0) == "model.safetensors");
  CHECK(plan_shards({9, 9}, 10).name(1) == "model-00002-of-00002.safetensors");
  CHECK(is_shard_name(plan_shards({9, 9}, 10).name(1)));
  for (const char* name : {"model.safetensors", "-of-2.safetensors", "model-1-of-.safetensors",
                           "model-a-of-2.safetensors", "model-1-of-2.bin", "1-of-2.safetensors"}) {
    INFO(name);
    CHECK_FALSE(is_shard_name(name));
  }
}

TEST_CASE("shard_index: sizes as Hugging Face writes them", "[unit][proto]") {
  CHECK(parse_shard_size("5GB").value() == kMaxShardSize);
  CHECK(parse_shard_size("200MB").value() == 200'000'000);
  CHECK(parse_shard_size("1KB").value() == 1000);
  CHECK(parse_shard_size("12").value() == 12);
  for (const char* text :
       {"", "0", "GB", "-1", "1.5GB", "5GiB", "5 GB", "99999999999999999999", "99999999TB"}) {
    INFO(text);
    CHECK(parse_shard_size(text).error().code() == Errc::kInvalidArgument);
  }
}

}  // namespace shard_index_test
